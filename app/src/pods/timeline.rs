//! The provisioning timeline: folded from a pod's events, the same on the server and in the browser.

use super::{EventKind, PodEvent};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The two results of provisioning, never mixed: the machine, and the set-up of what runs on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    Machine,
    Setup,
}

/// Names each step once, so that `ALL` can't lack one.
macro_rules! job_steps {
    ($($step:ident $key:literal),* $(,)?) => {
        /// Every step that a pod's job takes. One that is not named here can't be begun.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum JobStep {
            $($step),*
        }

        impl JobStep {
            pub const ALL: &[Self] = &[$(Self::$step),*];

            /// As events and failures have it.
            pub const fn key(self) -> &'static str {
                match self {
                    $(Self::$step => $key),*
                }
            }
        }
    };
}

job_steps!(
    Reserve "reserve",
    Address "address",
    Layer "layer",
    Sandbox "sandbox",
    Keys "keys",
    Clone "clone",
    Install "install",
    Processes "processes",
    Health "health",
    Stop "stop",
    Delete "delete",
);

/// Every step on the way to a pod that is ready, in order: key, words for a person, part.
pub const STEPS: [(&str, &str, Part); 9] = [
    (JobStep::Reserve.key(), "Reserve a host", Part::Machine),
    (JobStep::Address.key(), "Address", Part::Machine),
    (JobStep::Layer.key(), "Layer", Part::Machine),
    (JobStep::Sandbox.key(), "Sandbox", Part::Machine),
    (JobStep::Keys.key(), "Keys and secrets", Part::Machine),
    (JobStep::Clone.key(), "Clone", Part::Setup),
    (JobStep::Install.key(), "Install", Part::Setup),
    (JobStep::Processes.key(), "Processes", Part::Setup),
    (JobStep::Health.key(), "Health", Part::Setup),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    Next,
    Now,
    Done,
    Failed,
    /// Waits for approval.
    Wait,
    /// Put off: it is begun again without anybody's doing, as when there is no room yet.
    Later,
}

/// How long a step usually takes: the median of the last 20 runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsualTime {
    pub step: String,
    pub milliseconds: u32,
    /// How many past runs it is the median of.
    pub runs: u32,
}

/// One step of the latest run. Times in milliseconds since the run began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRun {
    pub step: &'static str,
    pub label: &'static str,
    pub part: Part,
    pub state: StepState,
    /// What with: the host's name, the address, the command.
    pub what: String,
    pub began: Option<u32>,
    pub took: Option<u32>,
    pub usual: Option<u32>,
    /// Sequence number of its first event, for the link into the log.
    pub first_seq: Option<i64>,
}

/// The latest run of a pod's provisioning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    /// Milliseconds since the Unix epoch; None before the first event.
    pub began_at: Option<i64>,
    pub steps: Vec<StepRun>,
    /// When the machine was ready, in milliseconds since the run began.
    pub running_after: Option<u32>,
}

impl Timeline {
    /// Folds the events of the run that began last. `has_setup`: whether the pod has a repository.
    pub fn fold(events: &[PodEvent], usual: &[UsualTime], has_setup: bool) -> Self {
        // A run begins with the first of all steps.
        let first = events.iter().rposition(|e| e.kind == EventKind::Begin && e.step == STEPS[0].0);
        let run = first.map_or(&[][..], |first| &events[first..]);
        let mut began_at = run.first().map(milliseconds);
        // Since when nothing is done until somebody says so.
        let mut still = None::<i64>;
        let mut steps: Vec<StepRun> = STEPS
            .iter()
            .filter(|(_, _, part)| has_setup || *part == Part::Machine)
            .map(|&(step, label, part)| StepRun {
                step,
                label,
                part,
                state: StepState::Next,
                what: String::new(),
                began: None,
                took: None,
                usual: usual.iter().find(|u| u.step == step).map(|u| u.milliseconds),
                first_seq: None,
            })
            .collect();
        let mut running_after = None;
        for event in run {
            // The clock stands still meanwhile: as if the run had begun later by that.
            if event.kind == EventKind::Begin {
                began_at = began_at.map(|began| began + still.take().map_or(0, |since| milliseconds(event) - since));
            }
            let since = |e: &PodEvent| began_at.map(|t| u32::try_from(milliseconds(e) - t).unwrap_or(0));
            if event.kind == EventKind::Status && event.text == "running" {
                running_after = since(event);
            }
            let Some(step) = steps.iter_mut().find(|s| s.step == event.step) else { continue };
            match event.kind {
                EventKind::Begin => {
                    step.state = StepState::Now;
                    step.what = event.text.clone();
                    step.began = since(event);
                    step.took = None;
                    step.first_seq = Some(event.seq);
                }
                EventKind::End => {
                    let data = event.data.as_ref();
                    let outcome = data.and_then(|d| d.get("outcome")).and_then(|o| o.as_str()).unwrap_or("ok");
                    step.state = match outcome {
                        "ok" => StepState::Done,
                        "wait" => StepState::Wait,
                        "later" => StepState::Later,
                        _ => StepState::Failed,
                    };
                    // Why it waits or has failed stands above; here it would be cut off.
                    match step.state {
                        StepState::Wait => step.what.clear(),
                        StepState::Failed if !step.what.is_empty() => {}
                        _ if event.text.is_empty() => {}
                        _ => step.what = event.text.clone(),
                    }
                    still = matches!(step.state, StepState::Wait | StepState::Failed).then(|| milliseconds(event));
                    step.took = since(event).zip(step.began).map(|(end, began)| end.saturating_sub(began));
                }
                EventKind::Output | EventKind::Status => {}
            }
        }
        Self { began_at, steps, running_after }
    }

    /// The step that is under way, waits, was put off or failed last.
    pub fn current(&self) -> Option<&StepRun> {
        self.steps.iter().rev().find(|s| matches!(s.state, StepState::Now | StepState::Wait | StepState::Later | StepState::Failed))
    }

    /// Milliseconds until it is ready, as the usual times have it; None without past runs.
    pub fn left(&self, elapsed: u32) -> Option<u32> {
        let mut left = 0;
        for step in &self.steps {
            match step.state {
                StepState::Next => left += step.usual?,
                StepState::Now => left += step.usual?.saturating_sub(elapsed.saturating_sub(step.began?)),
                _ => {}
            }
        }
        Some(left)
    }
}

fn milliseconds(event: &PodEvent) -> i64 {
    i64::try_from(event.at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::OffsetDateTime;

    fn event(seq: i64, ms: i64, generation: i64, step: &str, kind: EventKind, text: &str) -> PodEvent {
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).unwrap();
        PodEvent { seq, at, generation, step: step.into(), kind, stream: None, text: text.into(), data: None }
    }

    #[test]
    fn the_latest_run_is_folded_and_older_ones_are_left_out() {
        let events = [
            event(1, 0, 1, "reserve", EventKind::Begin, ""),
            event(2, 50, 1, "reserve", EventKind::End, "host-a"),
            // Booted again without another wish, as after a crash of its host.
            event(3, 1000, 1, "reserve", EventKind::Begin, ""),
            event(4, 1040, 1, "reserve", EventKind::End, "host-b"),
            event(5, 1040, 1, "address", EventKind::Begin, "10.88.0.2"),
        ];
        let usual = [UsualTime { step: "address".into(), milliseconds: 300, runs: 3 }];
        let line = Timeline::fold(&events, &usual, false);
        assert_eq!(line.steps.len(), 5);
        assert_eq!((line.steps[0].what.as_str(), line.steps[0].took, line.steps[0].state), ("host-b", Some(40), StepState::Done));
        assert_eq!((line.steps[1].began, line.steps[1].state, line.steps[1].usual), (Some(40), StepState::Now, Some(300)));
        assert_eq!(line.current().unwrap().step, "address");
    }

    #[test]
    fn the_clock_stands_still_while_somebody_is_waited_for() {
        let mut asked = event(3, 1000, 1, "install", EventKind::End, "Nothing of this repository runs before you approve its plan.");
        asked.data = Some(serde_json::json!({ "outcome": "wait" }));
        let mut events =
            vec![event(1, 0, 1, "reserve", EventKind::Begin, ""), event(2, 900, 1, "install", EventKind::Begin, "waits for approval"), asked];
        assert_eq!(Timeline::fold(&events, &[], true).current().map(|step| (step.state, step.what.as_str())), Some((StepState::Wait, "")));
        events.push(event(4, 60_000, 2, "install", EventKind::Begin, "npm ci"));
        events.push(event(5, 60_500, 2, "install", EventKind::End, ""));
        let line = Timeline::fold(&events, &[], true);
        let install = line.steps.iter().find(|step| step.step == "install").unwrap();
        assert_eq!((install.began, install.took, install.what.as_str(), line.began_at), (Some(1000), Some(500), "npm ci", Some(59_000)));
    }

    #[test]
    fn a_step_that_is_put_off_has_not_failed() {
        let mut end = event(2, 30, 1, "reserve", EventKind::End, "no host has room for dev.large");
        end.data = Some(serde_json::json!({ "outcome": "later" }));
        let events = [event(1, 0, 1, "reserve", EventKind::Begin, ""), end];
        let line = Timeline::fold(&events, &[], true);
        assert_eq!((line.steps[0].state, line.steps[0].what.as_str()), (StepState::Later, "no host has room for dev.large"));
        // Taken up again, it is a run of its own.
        let again =
            [&events[..], &[event(3, 5000, 1, "reserve", EventKind::Begin, ""), event(4, 5020, 1, "reserve", EventKind::End, "host-a")]].concat();
        assert_eq!(Timeline::fold(&again, &[], true).steps[0].state, StepState::Done);
    }
}
