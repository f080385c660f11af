//! The page of one pod: what needs somebody first, then the terminal, then what happened.

use super::api::view_pod;
use super::approve::Approve;
use super::delete::DELETE;
use super::facts::Facts;
use super::failed::{MachineFailed, SetupFailed};
use super::feed::Feed;
use super::files::Files;
use super::happened::Happened;
use super::head::PodHead;
use super::log::Log;
use super::open_in::OpenIn;
use super::processes::Processes;
use super::terminal::Terminals;
use super::timeline_view::TimelineView;
use super::wishes::{WishButton, ask};
use super::{PodStart, PodStatus, Wish};
use crate::error::AppError;
use crate::ids::PodId;
use crate::ui::clock::Ago;
use crate::ui::dialog::open;
use crate::ui::keys::{is_free_letter, on_key};
use crate::ui::problem::Problem;
use crate::ui::refusal::bear;
use crate::ui::status::Status;
use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::hooks::{use_params_map, use_query_map};

#[component]
pub fn PodPage() -> impl IntoView {
    let params = use_params_map();
    let start = Resource::new(
        move || params.with(|params| (params.get("id").and_then(|id| id.parse::<PodId>().ok()), params.get("team"))),
        |(id, team)| async move {
            let start = view_pod(id.ok_or_else(AppError::not_found)?).await?;
            // Another team's address is no address of this pod.
            if team.is_some_and(|team| team != start.pod.team) { Err(AppError::not_found()) } else { Ok(start) }
        },
    );
    view! {
        <Suspense fallback=|| view! { <main id="main" class="pod" aria-busy="true"></main> }>
            {move || Suspend::new(async move {
                match start.await {
                    Ok(start) => view! { <ThePod start /> }.into_any(),
                    Err(error) => view! { <Problem error what="This pod" /> }.into_any(),
                }
            })}
        </Suspense>
    }
}

#[component]
fn ThePod(start: PodStart) -> impl IntoView {
    let feed = Feed::new(start);
    let pod = feed.pod;
    let jump = RwSignal::new(None::<&'static str>);
    let status = Memo::new(move |_| pod.with(|pod| pod.status));
    // While it is made or has failed, the timeline leads; once it runs, the terminal does.
    let terminal_first = Memo::new(move |_| matches!(status.get(), PodStatus::Running | PodStatus::Failed));
    listen_to_keys(feed);
    // The list's menu leads here to ask: with the whole page behind the question.
    let query = use_query_map();
    Effect::new(move || {
        if query.with(|query| query.get("delete").is_some()) {
            open(DELETE);
        }
    });
    // The head is put together when the page's own signals may be gone: it has what they were at first.
    let titled = |pod: &super::Pod| format!("{} · {}", pod.name, pod.status.label());
    let title = pod.with_untracked(titled);
    view! {
        <Title text=move || pod.try_with(titled).unwrap_or_else(|| title.clone()) />
        <main id="main" class="pod">
            <PodHead feed />
            <div class="split">
                <div>
                    <Standing feed />
                    <MachineFailed feed />
                    <SetupFailed feed />
                    <Approve pod />
                    <div class:later=move || terminal_first.get() && attention(feed)>
                        <TimelineView feed jump=Callback::new(move |step| jump.set(Some(step))) />
                    </div>
                    <Show when=move || !matches!(status.get(), PodStatus::Deleting | PodStatus::Deleted)>
                        <Terminals feed />
                    </Show>
                    <Processes feed />
                    <Log feed jump />
                </div>
                <aside aria-label="About this pod">
                    <OpenIn pod />
                    <Facts feed />
                    <Files feed />
                    <Happened feed />
                </aside>
            </div>
        </main>
    }
}

/// Whether something above the terminal asks for an answer, so that the timeline steps back.
fn attention(feed: Feed) -> bool {
    use super::SetupState::{AwaitingApproval, Failed};
    feed.pod.with(|pod| matches!(pod.setup.state, AwaitingApproval | Failed))
}

/// One line for a pod that is not on its way anywhere.
#[component]
fn Standing(feed: Feed) -> impl IntoView {
    let pod = feed.pod;
    move || {
        let now = pod.get();
        match now.status {
            PodStatus::Stopped => Some(
                view! {
                    <div class="note">
                        <p>
                            <Status kind="stopped" shape="s-stopped" word="Stopped" />
                            " "
                            <Ago at=now.updated_at />
                            ". Its disk is kept; terminals begin anew."
                        </p>
                        <div class="acts">
                            <WishButton pod wish=Wish::Start icon="play" words=format!("Start pod {}", now.name) class="btn primary" />
                        </div>
                    </div>
                }
                .into_any(),
            ),
            PodStatus::Queued => now.waiting_for.map(|reason| {
                view! {
                    <div class="note slow">
                        <p>
                            <Status kind="queued" shape="s-queued" word="Waiting for room:" />
                            " "
                            {reason}
                            ". It goes on by itself as soon as there is some, and gives up after 10 minutes."
                        </p>
                    </div>
                }
                .into_any()
            }),
            PodStatus::Deleting => Some(
                view! {
                    <div class="note">
                        <p>
                            <Status kind="deleting" shape="s-deleting" word="Deleting:" />
                            " its disk, terminals and keys are being removed from the host."
                        </p>
                    </div>
                }
                .into_any(),
            ),
            PodStatus::Deleted => Some(
                view! {
                    <div class="note">
                        <p>
                            <Status kind="deleting" shape="s-deleting" word="Deleted:" />
                            " nothing of it is left on a host. This page goes when you leave it."
                        </p>
                        <div class="acts">
                            <a class="btn" href="/">
                                "All pods"
                            </a>
                        </div>
                    </div>
                }
                .into_any(),
            ),
            PodStatus::Running if now.secrets_outdated => Some(
                view! {
                    <div class="note slow">
                        <p>
                            <Status kind="slow" shape="s-slow" word="Older secrets:" />
                            " some were changed since this pod was started. A restart brings the latest; terminals begin anew."
                        </p>
                        <div class="acts">
                            <WishButton pod wish=Wish::Restart icon="again" words="Restart pod" class="btn small" />
                        </div>
                    </div>
                }
                .into_any(),
            ),
            _ => None,
        }
    }
}

fn listen_to_keys(feed: Feed) {
    let pod = feed.pod;
    let owner = Owner::current();
    on_key(move |event| {
        if !is_free_letter(&event) {
            return;
        }
        let wish = |wish| {
            let act = move || ask(feed.id, wish, move || pod.try_get_untracked(), move |new| drop(pod.try_set(new)));
            if let Some(owner) = &owner {
                owner.with(act);
            }
        };
        let running = pod.with_untracked(|pod| pod.status == PodStatus::Running);
        match event.key().as_str() {
            "t" => {
                event.prevent_default();
                into_terminal();
            }
            "l" => {
                if let Some(log) = document().get_element_by_id("log") {
                    log.scroll_into_view();
                }
            }
            "R" if running => wish(Wish::Restart),
            "S" if running => wish(Wish::Stop),
            _ => {}
        }
    });
}

fn into_terminal() {
    use wasm_bindgen::JsCast;
    let element = document().query_selector("pinacle-terminal").ok().flatten();
    if let Some(element) = element.and_then(|element| element.dyn_into::<web_sys::HtmlElement>().ok()) {
        element.scroll_into_view();
        bear("The focus", element.focus());
    }
}
