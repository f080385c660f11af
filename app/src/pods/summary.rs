//! The latest run in words and figures: what the timeline draws and its summary says.

use super::timeline::{Part, StepRun, StepState, Timeline};
use super::{PodStatus, SetupState};
use crate::ui::time::{seconds, short_seconds};

/// A run at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    pub steps: Vec<StepRun>,
    /// Milliseconds since it began; stands still while nothing is under way.
    pub elapsed: u32,
    pub running_after: Option<u32>,
    pub going: bool,
    /// What the step that was put off waits for; None where no step was.
    pub put_off: Option<PutOff>,
    /// Where each step is expected to begin and end, for those that have not ended.
    pub expected: Vec<Option<(u32, u32)>>,
}

/// Why a step that was put off has not gone on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutOff {
    /// No host has room; the reason, as placement gives it.
    Room(String),
    /// Another wish came before it was done.
    Newer,
    /// It is tried again by itself.
    Soon,
}

/// How a run came out so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Going,
    /// Waits for an answer of the user's.
    Waiting,
    /// Waits for something else: room on a host, the next try.
    PutOff,
    FailedMachine,
    FailedSetup,
    Ready,
}

impl Run {
    /// None before the run has begun. `now` in milliseconds since the Unix epoch.
    pub fn at(timeline: &Timeline, status: PodStatus, setup: SetupState, now: i64) -> Option<Self> {
        let began_at = timeline.began_at?;
        let mut steps = timeline.steps.clone();
        if setup == SetupState::AwaitingApproval && !steps.iter().any(|step| step.state == StepState::Wait) {
            let waits = steps.iter_mut().find(|step| step.part == Part::Setup && step.step != "clone" && step.state == StepState::Next);
            if let Some(step) = waits {
                step.state = StepState::Wait;
            }
        }
        // A worker that died in the middle says no end: what is stopped is not under way.
        if matches!(status, PodStatus::Stopped | PodStatus::Deleted) {
            steps.iter_mut().filter(|step| step.state == StepState::Now).for_each(|step| step.state = StepState::Later);
        }
        // What was put off until the pod was given up.
        if status == PodStatus::Failed {
            steps.iter_mut().filter(|step| step.state == StepState::Later).for_each(|step| step.state = StepState::Failed);
        }
        let going = steps.iter().any(|step| step.state == StepState::Now) && status != PodStatus::Failed;
        let ended = steps.iter().filter_map(|step| Some(step.began? + step.took?)).max().unwrap_or(0);
        let began = steps.iter().filter_map(|step| step.began).max().unwrap_or(0);
        let elapsed = if going { u32::try_from(now - began_at).unwrap_or(0).max(ended).max(began) } else { ended.max(began) };
        let expected = expected(&steps, elapsed, going);
        let put_off = steps.iter().rev().find(|step| step.state == StepState::Later).map(|step| match status {
            PodStatus::Stopping | PodStatus::Stopped | PodStatus::Deleting | PodStatus::Deleted => PutOff::Newer,
            _ if step.step == "reserve" && !step.what.is_empty() => PutOff::Room(step.what.clone()),
            _ => PutOff::Soon,
        });
        Some(Self { steps, elapsed, running_after: timeline.running_after, going, put_off, expected })
    }

    pub fn outcome(&self) -> Outcome {
        let last = |state| self.steps.iter().rev().find(|step| step.state == state);
        match () {
            () if self.going => Outcome::Going,
            () if last(StepState::Wait).is_some() => Outcome::Waiting,
            () if last(StepState::Later).is_some() => Outcome::PutOff,
            () => match last(StepState::Failed).map(|step| step.part) {
                Some(Part::Machine) => Outcome::FailedMachine,
                Some(Part::Setup) => Outcome::FailedSetup,
                None if self.steps.iter().any(|step| step.state == StepState::Next && !self.is_skipped(step)) => Outcome::Going,
                None => Outcome::Ready,
            },
        }
    }

    /// Not done in this run: a later step has begun, as when a pod starts again and its clone is kept.
    pub fn is_skipped(&self, step: &StepRun) -> bool {
        let at = self.steps.iter().position(|other| other.step == step.step).unwrap_or(0);
        step.state == StepState::Next && self.steps[at..].iter().any(|later| later.began.is_some())
    }

    /// Sum of the usual times of the steps that count; None without past runs of any of them.
    pub fn usual(&self) -> Option<u32> {
        let counted: Vec<&StepRun> = self.steps.iter().filter(|step| !self.is_skipped(step)).collect();
        counted.iter().map(|step| step.usual).sum::<Option<u32>>().filter(|sum| *sum > 0)
    }

    pub fn usual_of(&self, part: Part) -> Option<u32> {
        self.steps.iter().filter(|step| step.part == part && !self.is_skipped(step)).map(|step| step.usual).sum()
    }

    /// The later of where it is expected to end and where it usually ends.
    pub fn until(&self) -> u32 {
        let expected = self.expected.iter().flatten().map(|(_, end)| *end).max().unwrap_or(0);
        self.elapsed.max(expected).max(self.usual().unwrap_or(0))
    }

    /// Milliseconds until it is ready; None without past runs.
    pub fn left(&self) -> Option<u32> {
        let open = self.steps.iter().filter(|step| matches!(step.state, StepState::Now | StepState::Next) && !self.is_skipped(step));
        open.map(|step| step.usual).collect::<Option<Vec<u32>>>()?;
        let end = self.expected.iter().flatten().map(|(_, end)| *end).max()?;
        Some(end.saturating_sub(self.elapsed))
    }

    pub fn current(&self) -> Option<(usize, &StepRun)> {
        let acts = |step: &StepRun| matches!(step.state, StepState::Now | StepState::Wait | StepState::Later | StepState::Failed);
        self.steps.iter().enumerate().rev().find(|(_, step)| acts(step))
    }

    /// Parts of the sentence in the summary; every second one is strong.
    pub fn tally(&self) -> Vec<String> {
        let label = self.current().map_or("", |(_, step)| step.label).to_owned();
        let running = self.running_after.map(short_seconds);
        let place = self.current().map(|(at, _)| format!(", step {} of {}", at + 1, self.steps.len())).unwrap_or_default();
        match (self.outcome(), running) {
            (Outcome::Ready, Some(running)) if self.steps.iter().any(|step| step.part == Part::Setup) => {
                vec!["Running after ".into(), running, ", ready after ".into(), short_seconds(self.elapsed)]
            }
            (Outcome::Ready, _) => vec!["Ready after ".into(), short_seconds(self.elapsed)],
            (Outcome::FailedMachine, _) => vec!["Failed at ".into(), label, " after ".into(), short_seconds(self.elapsed)],
            (Outcome::FailedSetup, Some(running)) => vec!["Running after ".into(), running, ", set-up failed at ".into(), label],
            (Outcome::FailedSetup, None) => vec!["Set-up failed at ".into(), label],
            (Outcome::Waiting, Some(running)) => vec!["Running after ".into(), running, ", ".into(), label, " waits for you".into()],
            (Outcome::Waiting, None) => vec!["".into(), label, " waits for you".into()],
            (Outcome::PutOff, _) => match self.put_off.clone().unwrap_or(PutOff::Soon) {
                PutOff::Room(reason) => vec!["Waiting for room: ".into(), reason],
                PutOff::Newer => vec!["Interrupted at ".into(), label],
                PutOff::Soon => vec!["".into(), label, " is tried again in a moment".into()],
            },
            (Outcome::Going, _) if label.is_empty() => vec!["Goes on in a moment".into()],
            (Outcome::Going, Some(running)) => vec!["Running after ".into(), running, ", now ".into(), label, place],
            (Outcome::Going, None) => vec!["Now ".into(), label, place],
        }
    }

    /// What stands at the summary's end, in the same way.
    pub fn forecast(&self) -> Vec<String> {
        match self.outcome() {
            Outcome::Going => match self.left() {
                Some(left) => vec!["ready in about ".into(), format!("{} s", left.div_ceil(1000))],
                None => Vec::new(),
            },
            Outcome::Waiting => self.current().map(|(at, _)| format!("step {} of {}", at + 1, self.steps.len())).into_iter().collect(),
            _ => self.usual().map(|usual| format!("usual {}", short_seconds(usual))).into_iter().collect(),
        }
    }

    /// What the strip shows, in words.
    pub fn spoken(&self) -> String {
        let words = self.tally().concat();
        format!("{} steps. {words}. {} s so far", self.steps.len(), seconds(self.elapsed))
    }
}

/// Walks over the steps with their usual times: what is under way ends when it usually does or now, and pushes the rest
/// to the right.
fn expected(steps: &[StepRun], elapsed: u32, going: bool) -> Vec<Option<(u32, u32)>> {
    let mut cursor = 0;
    let mut known = going;
    steps
        .iter()
        .map(|step| match (step.state, step.began, step.usual) {
            (StepState::Now, Some(began), usual) => {
                cursor = elapsed.max(began + usual.unwrap_or(0));
                known &= usual.is_some();
                Some((began, cursor))
            }
            (StepState::Next, None, Some(usual)) if known && cursor > 0 => {
                let begin = cursor;
                cursor += usual;
                Some((begin, cursor))
            }
            (StepState::Next, None, None) => {
                known = false;
                None
            }
            (_, Some(began), _) => {
                cursor = began + step.took.unwrap_or(0);
                None
            }
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: &'static str, state: StepState, began: Option<u32>, took: Option<u32>, usual: u32) -> StepRun {
        StepRun { step, label: step, part: Part::Machine, state, what: String::new(), began, took, usual: Some(usual), first_seq: None }
    }

    #[test]
    fn a_step_that_overruns_pushes_the_rest_to_the_right() {
        let steps = [
            step("a", StepState::Done, Some(0), Some(100), 100),
            step("b", StepState::Now, Some(100), None, 200),
            step("c", StepState::Next, None, None, 50),
        ];
        assert_eq!(expected(&steps, 150, true), [None, Some((100, 300)), Some((300, 350))]);
        assert_eq!(expected(&steps, 900, true), [None, Some((100, 900)), Some((900, 950))]);
        let run = Run { steps: steps.to_vec(), elapsed: 900, running_after: None, going: true, put_off: None, expected: expected(&steps, 900, true) };
        assert_eq!((run.left(), run.until(), run.usual()), (Some(50), 950, Some(350)));
        assert_eq!(run.tally().concat(), "Now b, step 2 of 3");
    }

    #[test]
    fn a_pod_without_room_waits_and_has_not_failed() {
        let mut reserve = step("reserve", StepState::Later, Some(0), Some(20), 50);
        reserve.what = "no host has room for dev.large".into();
        let line = Timeline { began_at: Some(0), steps: vec![reserve, step("address", StepState::Next, None, None, 300)], running_after: None };
        let at = |status| Run::at(&line, status, SetupState::None, 90_000).unwrap();
        let queued = at(PodStatus::Queued);
        assert_eq!((queued.outcome(), queued.elapsed), (Outcome::PutOff, 20));
        assert_eq!(queued.tally().concat(), "Waiting for room: no host has room for dev.large");
        assert_eq!(at(PodStatus::Stopped).tally().concat(), "Interrupted at reserve");
        assert_eq!(at(PodStatus::Failed).outcome(), Outcome::FailedMachine, "it is waited for no longer");
    }
}
