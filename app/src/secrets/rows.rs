//! The secrets of one name: the one that a pod gets, and the one that it beats.

use super::change::{Changing, Verb};
use super::storeys::Storeys;
use super::{Reach, Reaching};
use crate::ui::clock::Ago;
use crate::ui::icon::Icon;
use leptos::prelude::*;

#[component]
pub fn Rows(group: Vec<Reaching>, team: String, owns: Memo<bool>, changing: Changing) -> impl IntoView {
    view! { <tbody>{group.into_iter().map(|one| view! { <Row one team=team.clone() owns changing /> }).collect_view()}</tbody> }
}

fn why(reach: Reach) -> &'static str {
    match reach {
        Reach::Only => "the only one",
        Reach::Wins => "repository wins over team",
        Reach::Beaten => "not used here",
    }
}

#[component]
fn Row(one: Reaching, team: String, owns: Memo<bool>, changing: Changing) -> impl IntoView {
    let Reaching { secret, reach } = one;
    let beaten = reach == Reach::Beaten;
    let of_repository = secret.project_ref.is_some();
    let whose = secret.project_ref.clone().unwrap_or(team);
    let spoken = format!("{} of {whose}", secret.name);
    let menu = format!("secret-{}", secret.id);
    let used = match secret.last_used.clone() {
        Some(used) if used.is_there => view! {
            <a href=format!("/pods/{}", used.pod_id)>{used.pod}</a>
            " "
            <span class="dim">
                <Ago at=used.at />
            </span>
        }
        .into_any(),
        Some(used) => view! {
            <span class="dim" title="Deleted since">
                {used.pod}
                " "
                <Ago at=used.at />
            </span>
        }
        .into_any(),
        None => view! { <span class="dim">"no pod yet"</span> }.into_any(),
    };
    let acts = {
        let secret = secret.clone();
        move || {
            let (menu, secret) = (menu.clone(), secret.clone());
            let act = move |verb: Verb| {
                let secret = secret.clone();
                move |_: leptos::ev::MouseEvent| changing.begin(verb, secret.clone())
            };
            view! {
                <div class="acts">
                    <button type="button" class="btn quiet small" aria-label=format!("Replace {spoken}") on:click=act.clone()(Verb::Replace)>
                        "Replace"
                    </button>
                    <button type="button" class="btn quiet small icon" popovertarget=menu.clone() aria-label=format!("Actions for {spoken}")>
                        <Icon name="more" />
                    </button>
                </div>
                <div class="menu" id=menu.clone() popover="auto">
                    <button type="button" popovertarget=menu.clone() popovertargetaction="hide" on:click=act.clone()(Verb::Rename)>
                        "Rename…"
                    </button>
                    <hr />
                    <button type="button" class="danger" popovertarget=menu.clone() popovertargetaction="hide" on:click=act(Verb::Delete)>
                        <Icon name="trash" />
                        "Delete secret…"
                    </button>
                </div>
            }
        }
    };
    view! {
        <tr class=if beaten { "beaten same" } else { "" }>
            <th scope="row" class="name">
                <code class=if beaten { "mono" } else { "" }>{secret.name.clone()}</code>
            </th>
            <td class="c-from">
                <Storeys of_repository reach words=whose />
            </td>
            <td class=if beaten { "c-why" } else { "mid c-why" }>{why(reach)}</td>
            <td class="c-used">{used}</td>
            <td class="mid c-when">
                <Ago at=secret.changed_at />
                {secret.changed_by.clone().map(|by| view! { <span class="dim">{format!(" by {by}")}</span> })}
            </td>
            <td class="c-acts">
                <Show when=move || owns.get()>{acts.clone()}</Show>
            </td>
        </tr>
    }
}
