//! Asking something of a pod: shown at once, put back with a note if it is refused. Without JavaScript the same
//! buttons are forms.

use super::api::{WishPod, wish_pod};
use super::{Desired, Pod, PodStatus, Wish};
use crate::ids::PodId;
use crate::ui::icon::Icon;
use crate::ui::live::offline_reason;
use crate::ui::toast::Notice;
use leptos::prelude::*;
use leptos::server_fn::ServerFn;
use leptos::task::spawn_local;

/// A pod as it will look while a wish is on its way.
fn expected(pod: &mut Pod, wish: Wish) {
    (pod.status, pod.desired) = match wish {
        Wish::Start | Wish::Retry => (PodStatus::Starting, Desired::Running),
        Wish::Restart if pod.status == PodStatus::Running => (PodStatus::Stopping, Desired::Running),
        Wish::Restart => (PodStatus::Starting, Desired::Running),
        Wish::Stop => (PodStatus::Stopping, Desired::Stopped),
        Wish::Delete => (PodStatus::Deleting, Desired::Deleted),
    };
    pod.behind = true;
}

/// Asks for it; `seen` shows the pod meanwhile and is put back if the answer is no.
pub fn ask(id: PodId, wish: Wish, seen: impl Fn() -> Option<Pod> + 'static, show: impl Fn(Pod) + 'static) {
    let notice = Notice::here();
    ask_with(notice, id, wish, seen, show);
}

fn ask_with(notice: Notice, id: PodId, wish: Wish, seen: impl Fn() -> Option<Pod> + 'static, show: impl Fn(Pod) + 'static) {
    let before = seen();
    // What takes away is not shown before it is agreed to.
    if let Some(mut pod) = before.clone().filter(|_| wish != Wish::Delete) {
        expected(&mut pod, wish);
        show(pod);
    }
    spawn_local(async move {
        match wish_pod(id, wish).await {
            // News may have come before the answer.
            Ok(pod) if seen().is_some_and(|known| known.updated_at > pod.updated_at) => {}
            Ok(pod) => show(pod),
            Err(error) => {
                if let Some(pod) = before {
                    show(pod);
                }
                notice.say(error.message);
            }
        }
    });
}

fn value(wish: Wish) -> &'static str {
    match wish {
        Wish::Start => "start",
        Wish::Stop => "stop",
        Wish::Restart => "restart",
        Wish::Retry => "retry",
        Wish::Delete => "delete",
    }
}

/// A button that asks for `wish`, as a form of its own.
#[component]
pub fn WishButton(
    pod: RwSignal<Pod>,
    wish: Wish,
    icon: &'static str,
    #[prop(into)] words: String,
    #[prop(default = "btn")] class: &'static str,
) -> impl IntoView {
    let id = pod.with_untracked(|pod| pod.id);
    let notice = Notice::here();
    let offline = offline_reason();
    let send = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        if offline.get_untracked().is_none() {
            ask_with(notice, id, wish, move || pod.try_get_untracked(), move |new| drop(pod.try_set(new)));
        }
    };
    view! {
        <form method="post" action=WishPod::PATH on:submit=send>
            <input type="hidden" name="id" value=id.to_string() />
            <input type="hidden" name="wish" value=value(wish) />
            <button type="submit" class=class aria-disabled=move || offline.get().map(|_| "true") title=move || offline.get()>
                <Icon name=icon />
                {words}
            </button>
        </form>
    }
}
