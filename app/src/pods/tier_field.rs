//! The table of tiers with their price, as a choice.

use super::Tier;
use leptos::prelude::*;

#[component]
pub fn TierField(tier: RwSignal<String>, name: &'static str) -> impl IntoView {
    view! {
        <fieldset class="group">
            <legend>"Tier"</legend>
            <div class="pick">
                <table>
                    <caption class="sr">"Tiers and what they cost a month"</caption>
                    <thead>
                        <tr>
                            <th scope="col">"Tier"</th>
                            <th scope="col" class="num">
                                "CPU"
                            </th>
                            <th scope="col" class="num">
                                "Memory"
                            </th>
                            <th scope="col" class="num">
                                "Disk"
                            </th>
                            <th scope="col" class="num">
                                "Month"
                            </th>
                        </tr>
                    </thead>
                    <tbody>
                        {Tier::ALL
                            .into_iter()
                            .map(|one| {
                                let chosen = move || tier.with(|tier| tier == one.as_str());
                                view! {
                                    <tr>
                                        <th scope="row">
                                            <label>
                                                <input
                                                    type="radio"
                                                    name=name
                                                    value=one.as_str()
                                                    checked=tier.with_untracked(|tier| tier == one.as_str())
                                                    prop:checked=chosen
                                                    on:change=move |_| tier.set(one.as_str().to_owned())
                                                />
                                                {one.as_str()}
                                            </label>
                                        </th>
                                        <td class="num">{one.cores()}</td>
                                        <td class="num">{format!("{} GB", one.memory_gb())}</td>
                                        <td class="num">{format!("{} GB", one.disk_gb())}</td>
                                        <td class="num">{format!("${}", one.dollars())}</td>
                                    </tr>
                                }
                            })
                            .collect_view()}
                    </tbody>
                </table>
            </div>
        </fieldset>
    }
}
