//! Pods that run with what was before a change, and one press that restarts them all.

use super::api::{RestartOutdated, restart_outdated};
use super::{OutdatedPod, SecretsView};
use crate::ids::TeamId;
use crate::ui::clock::Ago;
use crate::ui::icon::Icon;
use crate::ui::live::offline_reason;
use crate::ui::once::Busy;
use crate::ui::status::Status;
use crate::ui::time::count;
use crate::ui::toast::Notice;
use leptos::prelude::*;
use leptos::server_fn::ServerFn;

/// Pods, and secrets, that are named; the rest is counted.
const NAMED: usize = 5;

/// `a`, `a and b`, `a, b and 3 more`.
pub fn enumerate(names: &[String]) -> String {
    let mut parts: Vec<String> = names.iter().take(NAMED).cloned().collect();
    if names.len() > NAMED {
        parts.push(format!("{} more", names.len() - NAMED));
    }
    match parts.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        Some((last, _)) => last.clone(),
        None => String::new(),
    }
}

#[component]
pub fn Outdated(shown: RwSignal<SecretsView>, again: Callback<()>) -> impl IntoView {
    let pods = Memo::new(move |_| shown.with(|view| view.outdated.clone()));
    let team = Memo::new(move |_| shown.with(|view| view.team.id));
    move || {
        let pods = pods.get();
        (!pods.is_empty()).then(|| view! { <Note pods team=team.get() again /> })
    }
}

#[component]
fn Note(pods: Vec<OutdatedPod>, team: TeamId, again: Callback<()>) -> impl IntoView {
    let notice = Notice::here();
    let offline = offline_reason();
    let busy = Busy::default();
    let restart = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        if offline.get_untracked().is_some() {
            return;
        }
        busy.run(async move {
            match restart_outdated(team).await {
                Ok(pods) => notice.say(format!("Restarting {}.", enumerate(&pods.into_iter().map(|pod| pod.name).collect::<Vec<_>>()))),
                Err(error) => notice.say(error.message),
            }
            again.run(());
        });
    };
    let mut secrets: Vec<String> = pods.iter().flat_map(|pod| pod.secrets.clone()).collect();
    secrets.sort_unstable();
    secrets.dedup();
    let latest = pods.iter().map(|pod| pod.changed_at).max();
    let verb = if pods.len() == 1 { " still runs with what was before " } else { " still run with what was before " };
    let number = pods.len() as u64;
    let names: Vec<String> = pods.into_iter().map(|pod| pod.name).collect();
    view! {
        <div class="note slow" role="status">
            <p>
                <Status kind="slow" shape="s-slow" word="Older values" />
                " "
                <b>{enumerate(&names)}</b>
                {verb}
                <code>{enumerate(&secrets)}</code>
                " changed "
                {latest.map(|at| view! { <Ago at /> })}
                "."
            </p>
            <form class="acts" method="post" action=RestartOutdated::PATH on:submit=restart>
                <input type="hidden" name="team" value=team.to_string() />
                <button
                    type="submit"
                    class="btn small"
                    aria-disabled=move || (busy.is_busy() || offline.get().is_some()).then_some("true")
                    title=move || offline.get()
                >
                    <Icon name="again" />
                    {format!("Restart {}", count(number, "pod", "pods"))}
                </button>
            </form>
        </div>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_said_as_people_say_them() {
        let names = |number: usize| (1..=number).map(|n| format!("p{n}")).collect::<Vec<_>>();
        assert_eq!(enumerate(&names(1)), "p1");
        assert_eq!(enumerate(&names(2)), "p1 and p2");
        assert_eq!(enumerate(&names(3)), "p1, p2 and p3");
        assert_eq!(enumerate(&names(7)), "p1, p2, p3, p4, p5 and 2 more");
    }
}
