//! The head of a pod's page: what it is, how it is, and what can be done with it now.

use super::delete::{DELETE, DeleteDialog};
use super::feed::Feed;
use super::rename::{RENAME, RenameDialog};
use super::wishes::WishButton;
use super::{Pod, PodStatus, Wish};
use crate::teams::place::pods_of;
use crate::ui::clock::{Ago, Since};
use crate::ui::dialog::Opens;
use crate::ui::icon::Icon;
use crate::ui::status::{PodMark, Remark};
use leptos::prelude::*;

#[component]
pub fn PodHead(feed: Feed) -> impl IntoView {
    let pod = feed.pod;
    let status = Memo::new(move |_| pod.with(|pod| pod.status));
    view! {
        <div class="head">
            <div>
                <h1>
                    <a href=move || pod.with(|pod| pods_of(Some(&pod.team)))>"Pods"</a>
                    <span class="dim" aria-hidden="true">
                        "/"
                    </span>
                    <span>{move || pod.with(|pod| pod.name.clone())}</span>
                    {move || view! { <PodMark status=status.get() /> }}
                    {move || view! { <Remark pod=pod.get() /> }}
                </h1>
                <p class="sub">{move || pod.with(about)}</p>
            </div>
            <div class="acts">
                {move || buttons(pod, status.get())}
                <button
                    type="button"
                    class="btn icon"
                    popovertarget="more"
                    aria-label="More actions"
                    hidden=move || matches!(status.get(), PodStatus::Deleting | PodStatus::Deleted)
                >
                    <Icon name="more" />
                </button>
            </div>
        </div>
        <div class="menu" id="more" popover="auto">
            <Opens dialog=RENAME class="">
                <Icon name="server" />
                "Rename or change tier…"
            </Opens>
            <hr />
            <Opens dialog=DELETE class="danger">
                <Icon name="trash" />
                "Delete pod…"
            </Opens>
        </div>
        <RenameDialog pod />
        <DeleteDialog pod />
    }
}

fn buttons(pod: RwSignal<Pod>, status: PodStatus) -> AnyView {
    match status {
        PodStatus::Running => view! {
            <WishButton pod wish=Wish::Restart icon="again" words="Restart" />
            <WishButton pod wish=Wish::Stop icon="stop" words="Stop" />
        }
        .into_any(),
        PodStatus::Queued | PodStatus::Provisioning | PodStatus::Starting => {
            view! { <WishButton pod wish=Wish::Stop icon="stop" words="Stop" /> }.into_any()
        }
        PodStatus::Stopping => view! { <WishButton pod wish=Wish::Start icon="play" words="Start" /> }.into_any(),
        PodStatus::Failed => view! { <WishButton pod wish=Wish::Retry icon="again" words="Retry" /> }.into_any(),
        PodStatus::Stopped | PodStatus::Deleting | PodStatus::Deleted => ().into_any(),
    }
}

fn about(pod: &Pod) -> AnyView {
    let repository = pod.repository.clone().map(|repository| {
        let address = if repository.starts_with("https://") { repository.clone() } else { format!("https://github.com/{repository}") };
        view! {
            <span>
                <Icon name="repo" />
                <a href=address rel="external noopener">
                    {repository}
                </a>
            </span>
        }
    });
    let commit = pod.commit.clone().map(|commit| {
        let short = commit.get(..7).unwrap_or(&commit).to_owned();
        view! {
            <span class="dim">"at"</span>
            <span class="mono" title=commit>
                {short}
            </span>
        }
    });
    let branch = (pod.branch.is_some() || commit.is_some()).then(|| {
        view! {
            <span>
                <Icon name="branch" />
                {pod.branch.clone().unwrap_or_else(|| "default branch".to_owned())}
                {commit}
            </span>
        }
    });
    let when = match (pod.status, pod.running_since) {
        (PodStatus::Running, Some(since)) => view! { "up " <Since at=since /> }.into_any(),
        (PodStatus::Failed, _) => view! { "failed " <Ago at=pod.updated_at /> }.into_any(),
        (PodStatus::Stopped, _) => view! { "stopped " <Ago at=pod.updated_at /> }.into_any(),
        _ => view! { "created " <Ago at=pod.created_at /> }.into_any(),
    };
    view! {
        {repository}
        {branch}
        <span>{pod.tier.as_str()}</span>
        <span class="dim">{when}</span>
    }
    .into_any()
}
