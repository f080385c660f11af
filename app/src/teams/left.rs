//! Pods whose owners have left: the team's owners are offered to take them over.

use super::api::take_over_pods;
use super::page::Shown;
use crate::ui::once::Busy;
use crate::ui::toast::Notice;
use leptos::prelude::*;

/// Pods that are named; the rest is counted.
const NAMED: usize = 5;

#[component]
pub fn LeftPods(shown: Shown) -> impl IntoView {
    let notice = Notice::here();
    let busy = Busy::default();
    let left = Memo::new(move |_| shown.all.with(|all| all.team.left_pods.clone()));
    let take = move |_| {
        let id = shown.id();
        busy.run(async move {
            match take_over_pods(id).await {
                Ok(count) => {
                    notice.say(format!("{} yours now.", if count == 1 { "1 pod is".to_owned() } else { format!("{count} pods are") }));
                    shown.changed();
                }
                Err(error) => notice.say(error.message),
            }
        });
    };
    let names = move || {
        left.with(|left| {
            let named: Vec<String> = left.iter().take(NAMED).map(|pod| format!("{} of {}", pod.name, pod.owner)).collect();
            let more = left.len().saturating_sub(NAMED);
            if more > 0 { format!("{} and {more} more", named.join(", ")) } else { named.join(", ") }
        })
    };
    view! {
        <Show when=move || !left.with(Vec::is_empty)>
            <div class="note">
                <p>
                    <b>{move || left.with(|left| if left.len() == 1 { "A pod has lost its owner: ".to_owned() } else { format!("{} pods have lost their owners: ", left.len()) })}</b>
                    {names} ". The team uses them as before; to start or change one, an owner takes it over first."
                </p>
                <Show when=move || shown.is_owner()>
                    <div class="acts">
                        <button type="button" class="btn small" on:click=take aria-disabled=move || busy.is_busy().then_some("true")>
                            {move || left.with(|left| format!("Take over {}", if left.len() == 1 { "the pod" } else { "the pods" }))}
                        </button>
                    </div>
                </Show>
            </div>
        </Show>
    }
}
