//! What happened to a pod, newest first: beside its page while something of it needs somebody.

use super::feed::Feed;
use super::timeline::{Part, STEPS};
use super::{EventKind, PodEvent, PodStatus, SetupState};
use crate::ui::clock::Clock;
use crate::ui::time::{clock_time, exact, machine, millis, short_day};
use leptos::prelude::*;
use time::OffsetDateTime;

const SHOWN: usize = 8;
const DAY_MS: i64 = 24 * 3600 * 1000;

#[component]
pub fn Happened(feed: Feed) -> impl IntoView {
    let clock = Clock::here();
    let wanted = Memo::new(move |_| {
        feed.pod.with(|pod| pod.status == PodStatus::Failed || matches!(pod.setup.state, SetupState::Failed | SetupState::AwaitingApproval))
    });
    let lines = Memo::new(move |_| {
        let mut lines = feed.marks.with(|marks| lines(marks));
        feed.pod.with(|pod| lines.push((pod.created_at, format!("Created by {}", pod.owner))));
        lines.truncate(SHOWN);
        lines
    });
    view! {
        <Show when=move || wanted.get()>
            <section class="sec" aria-labelledby="h-runs">
                <header>
                    <h2 id="h-runs">"What happened"</h2>
                </header>
                <dl class="facts">
                    {move || {
                        let today = clock.now_untracked().div_euclid(DAY_MS);
                        lines
                            .get()
                            .into_iter()
                            .map(|(at, words)| {
                                let shown = if millis(at).div_euclid(DAY_MS) == today { clock_time(at) } else { short_day(at) };
                                view! {
                                    <div>
                                        <dt>
                                            <time datetime=machine(at) title=exact(at)>
                                                {shown}
                                            </time>
                                        </dt>
                                        <dd>{words}</dd>
                                    </div>
                                }
                            })
                            .collect_view()
                    }}
                </dl>
            </section>
        </Show>
    }
}

/// Changes of status, and what the set-up came to; newest first.
fn lines(marks: &[PodEvent]) -> Vec<(OffsetDateTime, String)> {
    let mut lines: Vec<(OffsetDateTime, String)> = Vec::new();
    let mut failed_at = None;
    for event in marks {
        let known = STEPS.iter().find(|(step, _, _)| *step == event.step);
        let outcome = event.data.as_ref().and_then(|data| data.get("outcome")).and_then(|outcome| outcome.as_str());
        let words = match (event.kind, outcome, known) {
            (EventKind::End, Some("failed"), Some((_, label, Part::Setup))) => Some(format!("Set-up failed at {label}")),
            (EventKind::End, Some("failed"), _) => {
                failed_at = Some(known.map_or_else(|| event.step.clone(), |(_, label, _)| (*label).to_owned()));
                None
            }
            (EventKind::End, Some("wait"), _) => Some("Set-up waits for approval".to_owned()),
            // Waiting for room comes and goes with every try.
            (EventKind::Status, ..) if event.text == PodStatus::Queued.as_str() => None,
            (EventKind::Status, ..) => PodStatus::parse(&event.text).map(|status| match (status, failed_at.take()) {
                (PodStatus::Failed, Some(step)) => format!("Failed at {step}"),
                (PodStatus::Running, _) => "Running, terminal open".to_owned(),
                (status, _) => status.label().to_owned(),
            }),
            _ => None,
        };
        lines.extend(words.map(|words| (event.at, words)));
    }
    lines.reverse();
    // What is tried again and again is said once, when it was last tried.
    lines.dedup_by(|later, kept| later.1 == kept.1);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(second: i64, step: &str, kind: EventKind, text: &str, outcome: Option<&str>) -> PodEvent {
        let at = OffsetDateTime::from_unix_timestamp(second).unwrap();
        let data = outcome.map(|outcome| serde_json::json!({ "outcome": outcome }));
        PodEvent { seq: second, at, generation: 1, step: step.into(), kind, stream: None, text: text.into(), data }
    }

    #[test]
    fn what_failed_is_named_and_what_is_tried_again_is_said_once() {
        let marks = [
            event(1, "status", EventKind::Status, "provisioning", None),
            event(2, "status", EventKind::Status, "queued", None),
            event(3, "status", EventKind::Status, "provisioning", None),
            event(4, "sandbox", EventKind::End, "no answer", Some("failed")),
            event(5, "status", EventKind::Status, "failed", None),
            event(6, "status", EventKind::Status, "running", None),
            event(7, "install", EventKind::End, "exit code 1", Some("failed")),
        ];
        let words: Vec<String> = lines(&marks).into_iter().map(|(_, words)| words).collect();
        assert_eq!(words, ["Set-up failed at Install", "Running, terminal open", "Failed at Sandbox", "Provisioning"]);
    }
}
