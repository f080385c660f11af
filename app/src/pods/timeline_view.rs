//! The timeline on a pod's page: folded to its strip when all is done, open while something is under way.

use super::feed::Feed;
use super::summary::{Outcome, Run};
use super::timeline::{StepState, Timeline};
use super::timeline_strip::Strip;
use super::timeline_table::TimelineTable;
use super::{PodStatus, SetupState};
use crate::ui::clock::{Clock, now_millis};
use crate::ui::icon::Icon;
use leptos::prelude::*;
use std::time::Duration;

/// How often the leading edge grows.
const FRAME: Duration = Duration::from_millis(200);
/// So long after all is done the timeline folds by itself; a page that is opened later begins with it folded.
const FOLDED_AFTER_MS: i64 = 60_000;

/// `jump` is told the step whose first log line is wanted.
#[component]
pub fn TimelineView(feed: Feed, jump: Callback<&'static str>) -> impl IntoView {
    let clock = Clock::here();
    let timeline = feed.timeline();
    let going = Memo::new(move |_| timeline.with(|line| line.steps.iter().any(|step| step.state == StepState::Now)));
    let now = RwSignal::new(clock.now_untracked());
    Effect::new(move || {
        if going.get() {
            let ticking = set_interval_with_handle(move || now.set(now_millis()), FRAME);
            on_cleanup(move || {
                if let Ok(handle) = ticking {
                    handle.clear();
                }
            });
        }
    });
    let run = Memo::new(move |_| timeline.with(|line| feed.pod.with(|pod| Run::at(line, pod.status, pod.setup.state, now.get()))));
    let wanted = Memo::new(move |_| {
        run.with(|run| {
            run.as_ref().is_none_or(|run| {
                let began = timeline.with(|line| line.began_at).unwrap_or(0);
                run.outcome() != Outcome::Ready || clock.now() - began - i64::from(run.elapsed) < FOLDED_AFTER_MS
            })
        })
    });
    let open = RwSignal::new(wanted.get_untracked());
    // Who has folded or opened it is not overruled.
    let touched = StoredValue::new(false);
    Effect::new(move || {
        let wanted = wanted.get();
        if !touched.get_value() {
            open.set(wanted);
        }
    });
    let source = feed.pod.with_untracked(|pod| {
        let tier = pod.tier.as_str();
        match &pod.repository {
            Some(repository) => format!("pods of {repository} on {tier}"),
            None => format!("empty pods on {tier}"),
        }
    });
    view! {
        <Show when=move || run.with(Option::is_some)>
            <details class="panel timeline" id="timeline" open=move || open.get()>
                <summary on:click=move |_| touched.set_value(true)>
                    <h2>
                        <span class="chev">
                            <Icon name="chev" />
                        </span>
                        "Provisioning"
                    </h2>
                    <span class="tally">{move || strong(run.get().map(|run| run.tally()).unwrap_or_default())}</span>
                    {move || run.get().map(|run| view! { <Strip run /> })}
                    <span class="tally end">{move || strong(run.get().map(|run| run.forecast()).unwrap_or_default())}</span>
                </summary>
                {move || run.get().map(|run| view! { <TimelineTable run jump /> })}
                <Key run=run source=source.clone() />
            </details>
        </Show>
        <p class="sr" role="status">
            {move || run.get().filter(|run| run.outcome() != Outcome::Going || run.going).map(|run| announced(&run))}
        </p>
    }
}

/// A run that is over, without the rest of a page.
#[component]
pub fn TimelineExample(timeline: Timeline) -> impl IntoView {
    let now = timeline.began_at.unwrap_or(0);
    Run::at(&timeline, PodStatus::Running, SetupState::Done, now).map(|run| view! { <TimelineTable run /> })
}

/// Only what changes when a step does, so that the growing figures are not read out.
fn announced(run: &Run) -> String {
    match (run.outcome(), run.current()) {
        (Outcome::Ready, _) => "Ready".to_owned(),
        (Outcome::Going, Some((at, step))) => format!("{}, step {} of {}", step.label, at + 1, run.steps.len()),
        (Outcome::Waiting, Some((_, step))) => format!("{} waits for you", step.label),
        (Outcome::PutOff, _) => run.tally().concat(),
        (Outcome::FailedMachine | Outcome::FailedSetup, Some((_, step))) => format!("{} failed", step.label),
        _ => String::new(),
    }
}

/// Every second part is strong.
fn strong(parts: Vec<String>) -> impl IntoView {
    parts.into_iter().enumerate().map(|(at, part)| if at % 2 == 1 { view! { <b>{part}</b> }.into_any() } else { part.into_any() }).collect_view()
}

/// What the bars mean, and what "usual" is.
#[component]
fn Key(run: Memo<Option<Run>>, source: String) -> impl IntoView {
    let known = Memo::new(move |_| run.with(|run| run.as_ref().is_some_and(|run| run.steps.iter().any(|step| step.usual.is_some()))));
    let going = Memo::new(move |_| run.with(|run| run.as_ref().is_some_and(|run| run.going)));
    let waits = Memo::new(move |_| run.with(|run| run.as_ref().is_some_and(|run| run.outcome() == Outcome::Waiting)));
    view! {
        <div class="key">
            <Show when=move || known.get()>
                <span>
                    <svg width="20" height="8" aria-hidden="true">
                        <rect class="took" width="20" height="8"></rect>
                    </svg>
                    "took"
                </span>
                <span>
                    <svg width="20" height="14" aria-hidden="true">
                        <rect class="left" y="3" width="20" height="8"></rect>
                        <line class="tick" x1="19" x2="19" y2="14"></line>
                    </svg>
                    "usual"
                </span>
                <Show
                    when=move || going.get()
                    fallback=|| {
                        view! {
                            <span>
                                <svg width="20" height="8" aria-hidden="true">
                                    <rect class="over" width="20" height="8"></rect>
                                </svg>
                                "over"
                            </span>
                            <span>
                                <svg width="20" height="8" aria-hidden="true">
                                    <rect class="over slow" width="20" height="8"></rect>
                                </svg>
                                "over by more than half"
                            </span>
                        }
                    }
                >
                    <span>
                        <svg width="20" height="8" aria-hidden="true">
                            <rect class="will" x=".5" y=".5" width="19" height="7"></rect>
                        </svg>
                        "expected"
                    </span>
                </Show>
            </Show>
            <p>
                {move || {
                    if known.get() {
                        format!("Usual is the median of the last 20 {source}.")
                    } else {
                        "No usual times yet: they come from past runs of the same repository and tier.".to_owned()
                    }
                }}
                {move || waits.get().then_some(" The clock stands still while it waits.")}
            </p>
        </div>
    }
}
