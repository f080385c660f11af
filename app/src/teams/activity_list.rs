//! What was done in the team, newest first: by kind, and as a file.

use super::activity::{Activity, ActivityKind, ActivityQuery};
use super::api::team_activity;
use super::page::Shown;
use crate::ui::clock::Ago;
use crate::ui::icon::Icon;
use crate::ui::list::{Column, List};
use crate::ui::live::LiveMark;
use crate::ui::once::Busy;
use crate::ui::toast::Notice;
use leptos::prelude::*;
use leptos_router::NavigateOptions;
use leptos_router::hooks::use_navigate;

const COLUMNS: [Column; 4] = [Column::Text("When"), Column::Text("Who"), Column::Text("What"), Column::Text("From")];
/// Markup as text: what stands in a `noscript` is never hydrated.
const APPLY: &str = r#"<button class="btn small">Apply</button>"#;

#[component]
pub fn ActivityList(shown: Shown) -> impl IntoView {
    let notice = Notice::here();
    let navigate = use_navigate();
    let address = shown.all.with_untracked(|all| all.team.team.address());
    let here = address.clone();
    let choose = move |event: leptos::ev::Event| {
        let kind = event_target_value(&event);
        let to = if kind.is_empty() { here.clone() } else { format!("{here}?kind={kind}") };
        navigate(&to, NavigateOptions { replace: true, scroll: false, ..NavigateOptions::default() });
    };
    let file = move || {
        let kind = shown.kind.get();
        let query = if kind.is_empty() { String::new() } else { format!("?kind={kind}") };
        format!("/live/teams/{}/activity.csv{query}", shown.id())
    };
    let busy = Busy::default();
    let older = move |_| {
        let Some(cursor) = shown.all.with_untracked(|all| all.activity.next_cursor.clone()) else { return };
        let (id, kind) = (shown.id(), shown.kind.get_untracked());
        busy.run(async move {
            match team_activity(id, ActivityQuery::older(&kind, cursor)).await {
                Ok(page) => drop(shown.all.try_update(|all| all.activity.append(page))),
                Err(error) => notice.say(error.message),
            }
        });
    };
    view! {
        <section class="sec" id="activity" aria-labelledby="h-act">
            <header>
                <h2 id="h-act">"Activity"</h2>
                <form class="acts" method="get" action=address>
                    <label class="sr" for="kind">
                        "Kind"
                    </label>
                    <select class="select bare" id="kind" name="kind" prop:value=move || shown.kind.get() on:change=choose>
                        <option value="" selected=shown.kind.with_untracked(String::is_empty)>
                            "Everything"
                        </option>
                        {ActivityKind::ALL
                            .map(|kind| {
                                view! {
                                    <option value=kind.as_str() selected=shown.kind.with_untracked(|chosen| chosen == kind.as_str())>
                                        {kind.label()}
                                    </option>
                                }
                            })
                            .collect_view()}
                    </select>
                    <noscript inner_html=APPLY></noscript>
                    <a class="btn small" href=file download="activity.csv" rel="external">
                        <Icon name="down" />
                        "CSV"
                    </a>
                </form>
            </header>
            <List
                class="acted"
                caption="Who did what, newest first. Kept for good, can’t be changed."
                columns=&COLUMNS
                foot=move || {
                    view! {
                        <Show when=move || shown.all.with(|all| all.activity.items.is_empty())>
                            <div class="nothing">
                                <p>"Nothing of this kind was done yet."</p>
                            </div>
                        </Show>
                        <div class="more">
                            <Show when=move || shown.all.with(|all| all.activity.next_cursor.is_some())>
                                <button type="button" class="btn small" on:click=older>
                                    "Show older"
                                </button>
                            </Show>
                            <LiveMark />
                        </div>
                    }
                }
            >
                <For each=move || shown.all.with(|all| all.activity.items.clone()) key=|done| done.seq let:done>
                    <Row shown done />
                </For>
            </List>
        </section>
    }
}

#[component]
fn Row(shown: Shown, done: Activity) -> impl IntoView {
    let who = if done.actor.is_empty() { "command line".to_owned() } else { done.actor.clone() };
    let face: String = who.chars().take(1).collect();
    let words = done.words().to_owned();
    let from = done.origin();
    let slug = shown.all.with_untracked(|all| all.team.team.slug.clone());
    let object = match (done.action.split('.').next(), done.object_id) {
        _ if done.object.is_empty() => ().into_any(),
        // Where it is gone, its page says so.
        (Some("pod"), Some(id)) if done.action != "pod.delete" => view! {
            " "
            <a href=format!("/teams/{slug}/pods/{id}")>{done.object.clone()}</a>
        }
        .into_any(),
        (Some("secret"), _) => view! {
            " "
            <code>{done.object.clone()}</code>
        }
        .into_any(),
        _ => view! {
            " "
            <b>{done.object.clone()}</b>
        }
        .into_any(),
    };
    // What goes on with a comma stands right behind the name.
    let detail = match done.detail.as_str() {
        "" => String::new(),
        detail => format!(" {detail}"),
    };
    view! {
        <tr>
            <td class="mid">
                <Ago at=done.at />
            </td>
            <th scope="row">
                <span class="who">
                    <span class="face" aria-hidden="true">
                        {face}
                    </span>
                    {who}
                </span>
            </th>
            <td data-full>{words} {object} {detail}</td>
            <td class="dim" data-full>
                {from}
            </td>
        </tr>
    }
}
