//! Status: a shape, a word, and colour last.

use super::icon::Shape;
use crate::pods::{Pod, PodStatus, SetupState};
use leptos::prelude::*;

/// A mark: class of the sheet, shape of the sprite, the word.
#[component]
pub fn Status(kind: &'static str, shape: &'static str, #[prop(into)] word: String) -> impl IntoView {
    view! {
        <span class=format!("status {kind}")>
            <Shape name=shape />
            {word}
        </span>
    }
}

fn shape(status: PodStatus) -> &'static str {
    match status {
        PodStatus::Queued => "s-queued",
        PodStatus::Provisioning | PodStatus::Starting => "s-provisioning",
        PodStatus::Running => "s-running",
        PodStatus::Stopping => "s-stopping",
        PodStatus::Stopped => "s-stopped",
        PodStatus::Failed => "s-failed",
        PodStatus::Deleting | PodStatus::Deleted => "s-deleting",
    }
}

/// What its machine is.
#[component]
pub fn PodMark(status: PodStatus) -> impl IntoView {
    view! { <Status kind=status.as_str() shape=shape(status) word=status.label() /> }
}

/// The same without its word, beside a name in a list of results.
#[component]
pub fn PodShape(status: PodStatus) -> impl IntoView {
    view! { <Status kind=status.as_str() shape=shape(status) word="" /> }
}

/// What stands beside the status, never instead of it: the set-up, or that the host is not heard.
#[component]
pub fn Remark(pod: Pod) -> impl IntoView {
    if !pod.reachable && pod.host.is_some() {
        return view! { <Status kind="slow" shape="s-slow" word="Not heard" /> }.into_any();
    }
    if pod.status != PodStatus::Running {
        return ().into_any();
    }
    match pod.setup.state {
        SetupState::Running => view! { <Status kind="provisioning" shape="s-provisioning" word="Setting up" /> }.into_any(),
        SetupState::AwaitingApproval => view! { <Status kind="waiting" shape="s-waiting" word="Set-up waits for you" /> }.into_any(),
        SetupState::Failed => view! { <Status kind="failed" shape="s-failed" word="Set-up failed" /> }.into_any(),
        SetupState::None | SetupState::Done if pod.secrets_outdated => {
            view! { <Status kind="slow" shape="s-slow" word="Older secrets" /> }.into_any()
        }
        SetupState::None | SetupState::Done => ().into_any(),
    }
}
