//! One pod in the list.

use super::failed::named_cause;
use super::timeline::STEPS;
use super::wishes::ask;
use super::{Pod, PodStatus, SetupState, Wish};
use crate::ids::PodId;
use crate::ui::clock::Ago;
use crate::ui::icon::Icon;
use crate::ui::status::{PodMark, Status};
use leptos::prelude::*;
use std::collections::HashMap;

#[component]
pub fn PodRow(id: PodId, all: Memo<HashMap<PodId, Pod>>, news: RwSignal<HashMap<PodId, Pod>>) -> impl IntoView {
    let pod = Memo::new(move |_| all.with(|all| all.get(&id).cloned()));
    let menu = format!("row-{id}");
    let owner = Owner::current();
    let wish = Callback::new(move |wish: Wish| {
        let show = move |pod: Pod| drop(news.try_update(|news| news.insert(pod.id, pod)));
        let act = move || ask(id, wish, move || pod.try_get_untracked().flatten(), show);
        if let Some(owner) = &owner {
            owner.with(act);
        }
    });
    let name = move || pod.with(|pod| pod.as_ref().map(|pod| pod.name.clone()).unwrap_or_default());
    let status = Memo::new(move |_| pod.with(|pod| pod.as_ref().map(|pod| pod.status)));
    let address = Memo::new(move |_| pod.with(|pod| pod.as_ref().map(Pod::address).unwrap_or_default()));
    view! {
        <tr>
            <th scope="row" class="name">
                <a class="rowlink" href=move || address.get()>
                    {name}
                </a>
            </th>
            <td class="c-state">
                <div>{move || pod.with(|pod| pod.as_ref().map(state))}</div>
            </td>
            <td class="c-repo">{move || pod.with(|pod| pod.as_ref().map(source))}</td>
            <td class="c-tier mid">{move || pod.with(|pod| pod.as_ref().map(|pod| pod.tier.as_str()))}</td>
            <td class="c-who">
                {move || {
                    pod.with(|pod| {
                        pod.as_ref()
                            .map(|pod| {
                                let face: String = pod.owner.chars().take(1).collect();
                                view! {
                                    <span class="who">
                                        <span class="face" aria-hidden="true">
                                            {face}
                                        </span>
                                        {pod.owner.clone()}
                                    </span>
                                }
                            })
                    })
                }}
            </td>
            <td class="c-when num dim">{move || pod.with(|pod| pod.as_ref().map(|pod| view! { <Ago at=pod.updated_at /> }))}</td>
            <td class="c-acts">
                <div class="acts">
                    {move || pod.with(|pod| pod.as_ref().map(|pod| quick(pod, wish)))}
                    <button
                        type="button"
                        class="btn quiet small icon"
                        popovertarget=menu.clone()
                        aria-label=move || format!("Actions for {}", name())
                    >
                        <Icon name="more" />
                    </button>
                </div>
                <div class="menu" id=menu.clone() popover="auto">
                    {move || status.get().map(|status| more(id, &address.get(), status, wish))}
                </div>
            </td>
        </tr>
    }
}

/// Status, and beside it what the set-up or the cause is.
fn state(pod: &Pod) -> AnyView {
    let step = |key: Option<&String>| {
        key.map(|key| STEPS.iter().find(|(step, _, _)| step == key).map_or_else(|| key.clone(), |(_, label, _)| (*label).to_owned()))
    };
    let mark = view! { <PodMark status=pod.status /> };
    if !pod.reachable && pod.host.is_some() {
        return view! {
            {mark}
            <span class="remark">
                <Status kind="slow" shape="s-slow" word="Host not heard" />
            </span>
        }
        .into_any();
    }
    let aside = match (pod.status, pod.setup.state) {
        (PodStatus::Failed, _) => pod.failure.as_ref().map(|failure| {
            let words = named_cause(&failure.step, &failure.message);
            view! { <span class="dim" title=words.clone()>{words.clone()}</span> }.into_any()
        }),
        (PodStatus::Queued, _) => pod.waiting_for.clone().map(|reason| {
            let words = format!("waiting for room: {reason}");
            view! { <span class="dim" title=words.clone()>{words.clone()}</span> }.into_any()
        }),
        (PodStatus::Running, SetupState::Failed) => {
            let cause = named_cause(pod.setup.step.as_deref().unwrap_or_default(), pod.setup.message.as_deref().unwrap_or_default());
            Some(
                view! {
                    <span class="remark" title=format!("Set-up failed: {cause}")>
                        <Status kind="failed" shape="s-failed" word="Set-up failed:" />
                        " "
                        <span class="dim">{cause.clone()}</span>
                    </span>
                }
                .into_any(),
            )
        }
        (PodStatus::Running, SetupState::AwaitingApproval) => Some(
            view! {
                <span class="remark">
                    <Status kind="waiting" shape="s-waiting" word="Set-up waits for you" />
                </span>
            }
            .into_any(),
        ),
        (PodStatus::Running, SetupState::Running) => {
            let words = step(pod.setup.step.as_ref()).unwrap_or_default();
            Some(
                view! {
                    <span class="remark">
                        <Status kind="provisioning" shape="s-provisioning" word="Setting up" />
                        " "
                        <span class="dim">{words}</span>
                    </span>
                }
                .into_any(),
            )
        }
        (PodStatus::Running, SetupState::None | SetupState::Done) => pod.secrets_outdated.then(|| {
            view! {
                <span class="remark" title="Restart it to bring the latest">
                    <Status kind="slow" shape="s-slow" word="Older secrets" />
                </span>
            }
            .into_any()
        }),
        _ => None,
    };
    view! {
        {mark}
        {aside}
    }
    .into_any()
}

fn source(pod: &Pod) -> AnyView {
    let Some(repository) = pod.repository.clone() else {
        return view! { <span class="repo dim">"No repository"</span> }.into_any();
    };
    let short = repository.trim_start_matches("https://").to_owned();
    view! {
        <span class="repo" title=repository>
            <Icon name="repo" />
            <span>{short}</span>
            {pod.branch.clone().map(|branch| view! { <span class="dim branch">{branch}</span> })}
        </span>
    }
    .into_any()
}

/// The one thing that is most likely wanted.
fn quick(pod: &Pod, wish: Callback<Wish>) -> AnyView {
    let href = pod.address();
    match (pod.status, pod.setup.state) {
        (PodStatus::Failed, _) => view! {
            <button type="button" class="btn quiet small" on:click=move |_| wish.run(Wish::Retry)>
                <Icon name="again" />
                "Retry"
            </button>
        }
        .into_any(),
        (PodStatus::Stopped, _) => view! {
            <button type="button" class="btn quiet small" on:click=move |_| wish.run(Wish::Start)>
                <Icon name="play" />
                "Start"
            </button>
        }
        .into_any(),
        (PodStatus::Running, SetupState::AwaitingApproval | SetupState::Failed) => view! {
            <a class="btn quiet small" href=href>
                <Icon name="log" />
                "Review"
            </a>
        }
        .into_any(),
        (PodStatus::Running, _) => view! {
            <a class="btn quiet small icon" href=format!("{href}#terminal") aria-label=format!("Terminal of {}", pod.name)>
                <Icon name="term" />
            </a>
        }
        .into_any(),
        _ => ().into_any(),
    }
}

fn more(id: PodId, address: &str, status: PodStatus, wish: Callback<Wish>) -> impl IntoView + use<> {
    let runs = status == PodStatus::Running;
    let act = move |words: &'static str, icon: &'static str, what: Wish| {
        view! {
            <button type="button" popovertarget=format!("row-{id}") popovertargetaction="hide" on:click=move |_| wish.run(what)>
                <Icon name=icon />
                {words}
            </button>
        }
    };
    view! {
        <a href=format!("{address}#terminal")>
            <Icon name="term" />
            "Open terminal"
        </a>
        <a href=format!("{address}#log")>
            <Icon name="log" />
            "Show log"
        </a>
        <hr />
        {runs.then(|| act("Restart pod", "again", Wish::Restart))}
        {(!matches!(status, PodStatus::Stopped | PodStatus::Stopping)).then(|| act("Stop pod", "stop", Wish::Stop))}
        {(!runs).then(|| act("Start pod", "play", Wish::Start))}
        <hr />
        <a class="danger" href=format!("{address}?delete")>
            <Icon name="trash" />
            "Delete pod…"
        </a>
    }
}
