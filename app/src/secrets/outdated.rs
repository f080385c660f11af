//! Pods that run with what was before a change, and one press that restarts them all.

use super::api::{RestartOutdated, restart_outdated};
use super::{OutdatedPod, Restarted, SecretsView};
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
/// Reasons that a notice gives.
const MOST_REASONS: usize = 3;

/// `a`, `a and b`, `a, b and 3 more`.
pub fn enumerate(names: &[String]) -> String {
    enumerate_of(names, names.len())
}

/// As `enumerate`, where `names` are the first of so many.
fn enumerate_of(names: &[String], total: usize) -> String {
    let mut parts: Vec<String> = names.iter().take(NAMED).cloned().collect();
    if total > parts.len() {
        parts.push(format!("{} more", total - parts.len()));
    }
    match parts.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        Some((last, _)) => last.clone(),
        None => String::new(),
    }
}

impl Restarted {
    /// What was restarted, and what was not and why.
    pub fn words(&self) -> String {
        let mut said = Vec::new();
        if !self.restarted.is_empty() {
            let names: Vec<String> = self.restarted.iter().map(|pod| pod.name.clone()).collect();
            said.push(format!("Restarting {}.", enumerate(&names)));
        }
        let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
        for pod in &self.refused {
            match reasons.iter_mut().find(|(why, _)| *why == pod.why) {
                Some((_, names)) => names.push(pod.name.clone()),
                None => reasons.push((pod.why.as_str(), vec![pod.name.clone()])),
            }
        }
        let stay = |number: usize| if number == 1 { "stays as it is" } else { "stay as they are" };
        said.extend(reasons.iter().take(MOST_REASONS).map(|(why, names)| format!("{} {}: {why}", enumerate(names), stay(names.len()))));
        let unsaid: usize = reasons.iter().skip(MOST_REASONS).map(|(_, names)| names.len()).sum();
        if unsaid > 0 {
            said.push(format!("{unsaid} more {}.", stay(unsaid)));
        }
        if said.is_empty() { "No pod runs with older values any more.".to_owned() } else { said.join(" ") }
    }
}

#[component]
pub fn Outdated(shown: RwSignal<SecretsView>, again: Callback<()>) -> impl IntoView {
    let pods = Memo::new(move |_| shown.with(|view| (view.outdated.clone(), view.outdated_total)));
    let team = Memo::new(move |_| shown.with(|view| view.team.id));
    move || {
        let (pods, total) = pods.get();
        (!pods.is_empty()).then(|| view! { <Note pods total team=team.get() again /> })
    }
}

#[component]
fn Note(pods: Vec<OutdatedPod>, total: u32, team: TeamId, again: Callback<()>) -> impl IntoView {
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
                Ok(restarted) => notice.say(restarted.words()),
                Err(error) => notice.say(error.message),
            }
            again.run(());
        });
    };
    let mut secrets: Vec<String> = pods.iter().flat_map(|pod| pod.secrets.clone()).collect();
    secrets.sort_unstable();
    secrets.dedup();
    let latest = pods.iter().map(|pod| pod.changed_at).max();
    let verb = if total == 1 { " still runs with what was before " } else { " still run with what was before " };
    let names: Vec<String> = pods.into_iter().map(|pod| pod.name).collect();
    view! {
        <div class="note slow" role="status">
            <p>
                <Status kind="slow" shape="s-slow" word="Older values" />
                " "
                <b>{enumerate_of(&names, total as usize)}</b>
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
                    {format!("Restart {}", count(u64::from(total), "pod", "pods"))}
                </button>
            </form>
        </div>
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ids::PodId, secrets::RefusedPod};
    use time::OffsetDateTime;
    use uuid::Uuid;

    #[test]
    fn names_are_said_as_people_say_them() {
        let names = |number: usize| (1..=number).map(|n| format!("p{n}")).collect::<Vec<_>>();
        assert_eq!(enumerate(&names(1)), "p1");
        assert_eq!(enumerate(&names(2)), "p1 and p2");
        assert_eq!(enumerate(&names(3)), "p1, p2 and p3");
        assert_eq!(enumerate(&names(7)), "p1, p2, p3, p4, p5 and 2 more");
        assert_eq!(enumerate_of(&names(6), 120), "p1, p2, p3, p4, p5 and 115 more");
    }

    #[test]
    fn a_restart_says_what_stays_and_why() {
        let id = PodId(Uuid::nil());
        let restarted = |name: &str| OutdatedPod { id, name: name.into(), secrets: Vec::new(), changed_at: OffsetDateTime::UNIX_EPOCH };
        let refused = |name: &str, why: &str| RefusedPod { id, name: name.into(), why: why.into() };
        let mut all = Restarted { restarted: vec![restarted("a"), restarted("b")], refused: Vec::new() };
        assert_eq!(all.words(), "Restarting a and b.");
        all.refused = vec![refused("c", "Why.")];
        assert_eq!(all.words(), "Restarting a and b. c stays as it is: Why.");
        all.restarted.clear();
        all.refused.extend([refused("d", "Two."), refused("e", "Why."), refused("f", "Three."), refused("g", "Four."), refused("h", "Five.")]);
        let words = "c and e stay as they are: Why. d stays as it is: Two. f stays as it is: Three. 2 more stay as they are.";
        assert_eq!(all.words(), words);
        assert_eq!(Restarted::default().words(), "No pod runs with older values any more.");
    }
}
