//! One run of a pod's job: what it may write, its log, and the ways in which it may halt.

use crate::{
    control::ControlPlane,
    hosts::{self, HostTarget, link::LinkError},
    news::{self, Change},
    pods::{
        event_store::{self, MAX_TEXT, NewEvent},
        store::{self, Observed, PodRow, Seen},
    },
    queue::JobContext,
    ssh::SshError,
};
use pinacle_app::{
    ids::{HostId, PodId},
    pods::{EventKind, EventStream, Failure, timeline::JobStep},
};
use pinacle_host::protocol::HostErrorCode;
use serde_json::json;
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

/// Of one step's output, this much from its beginning and as much from its end is kept, in bytes.
const KEEP_EACH: usize = 512 << 10;
/// Of its last output, this much goes into a failure, in bytes.
pub const FAILURE_OUTPUT: usize = 8 << 10;

/// Code of a failure that is the host's silence, and goes with it.
pub const UNREACHABLE: &str = "host_unreachable";

/// Why a run does not go on.
#[derive(Clone, Debug)]
pub enum Halt {
    /// A newer lease works on this pod: stop at once.
    Lost,
    /// A newer wish came: look at the row again.
    Newer,
    /// Not now: no room, or too many jobs on the host. Not a failure.
    Later { after: Duration, why: Option<String> },
    /// Trying again may help.
    Again(Failure),
    /// Trying again will not help.
    Final(Failure),
    /// The database did not take it; what failed is the same for every step.
    Database(Arc<sqlx::Error>),
}

impl From<sqlx::Error> for Halt {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}

/// Its message has no NUL, as little as an output may: both are stored.
pub fn failure(step: &str, code: &str, message: impl Into<String>, remedy: &str) -> Failure {
    Failure {
        step: step.to_owned(),
        code: code.to_owned(),
        message: storable(&message.into()),
        output: String::new(),
        tried: String::new(),
        remedy: remedy.to_owned(),
    }
}

/// What a host's refusal or silence means for the step that met it.
pub fn halt(step: &str, error: LinkError) -> Halt {
    match error {
        LinkError::Host(error) => {
            let (code, remedy) = match error.code {
                HostErrorCode::StaleFence => return Halt::Lost,
                HostErrorCode::NoSpace => ("no_space", "The host's disk is full: an operator has to make room, or delete a pod there."),
                HostErrorCode::WrongInstallation => {
                    ("wrong_installation", "The host belongs to another installation: an operator has to join it again.")
                }
                HostErrorCode::WrongProtocol => ("wrong_protocol", "The host runs another version: an operator has to update it."),
                HostErrorCode::NoSuchPod => ("layer_lost", "The host has lost this pod's disk. Delete the pod and create it again."),
                HostErrorCode::Invalid => ("refused", "This is a fault of ours. It has been logged."),
                HostErrorCode::Timeout => ("timeout", "Retry; if it stays, an operator should look at the host."),
                HostErrorCode::NotRunning | HostErrorCode::NotFound | HostErrorCode::Failed => {
                    ("host_error", "Retry; if it stays, an operator should look at the host.")
                }
            };
            let again = matches!(error.code, HostErrorCode::Timeout | HostErrorCode::NotRunning | HostErrorCode::NotFound | HostErrorCode::Failed);
            let failure = Failure { output: storable(&error.output), ..failure(step, code, error.message, remedy) };
            if again { Halt::Again(failure) } else { Halt::Final(failure) }
        }
        LinkError::Ssh(SshError::HostKeyChanged { fingerprint, .. }) => Halt::Final(failure(
            step,
            "host_key_changed",
            format!("The host shows another key than the one it joined with ({fingerprint})."),
            "An operator has to find out why, and trust the new key on the hosts page if it is right.",
        )),
        LinkError::Timeout(limit) => Halt::Again(failure(
            step,
            "timeout",
            format!("The host had not done it after {} s.", limit.as_secs()),
            "Retry; if it stays, an operator should look at the host.",
        )),
        error => {
            Halt::Again(failure(step, UNREACHABLE, format!("The host does not answer: {error}."), "The pod goes on by itself when its host is back."))
        }
    }
}

/// What a run is about, and the fence of all that it writes.
pub struct Run<'a> {
    pub control: &'a ControlPlane,
    pub context: &'a JobContext,
    pub pod: PodId,
    /// The wish that this run answers.
    pub generation: i64,
}

impl Run<'_> {
    pub fn lease(&self) -> i64 {
        self.context.lease
    }

    /// The host that has the pod's layer; what a lost host had is lost with it.
    pub async fn host_unless_lost(&self, row: &PodRow) -> Result<Option<HostTarget>, Halt> {
        match row.host_id.filter(|_| row.host_state.as_deref() != Some("lost")) {
            Some(id) => Ok(hosts::store::target(&self.control.db, HostId(id)).await?),
            None => Ok(None),
        }
    }

    /// Halts where a newer wish has come since the run began.
    pub async fn still_wished(&self) -> Result<(), Halt> {
        match store::get(&self.control.db, self.pod).await? {
            Some(row) if row.generation > self.generation => Err(Halt::Newer),
            Some(_) => Ok(()),
            None => Err(Halt::Lost),
        }
    }

    /// Returns when a newer wish came; waits for ever otherwise.
    pub async fn newer_wish(&self) -> Halt {
        let mut changes = self.control.news.subscribe();
        loop {
            match self.still_wished().await {
                // The database is away: the work goes on, and its own writes say so.
                Ok(()) | Err(Halt::Database(_)) => {}
                Err(halt) => return halt,
            }
            let mut relevant = false;
            while !relevant {
                match changes.next().await {
                    Some(Change::Pod { pod, .. }) => relevant = pod == self.pod,
                    Some(change) => relevant = change == Change::Missed,
                    None => std::future::pending().await,
                }
            }
        }
    }

    async fn log(&self, events: Vec<NewEvent>) -> Result<(), Halt> {
        let mut tx = self.control.db.begin().await?;
        if !event_store::append(&mut tx, self.pod, self.lease(), &events).await? {
            return Err(Halt::Lost);
        }
        news::notify(&mut tx, Change::Events(self.pod)).await?;
        tx.commit().await?;
        Ok(())
    }

    fn event(&self, step: &str, kind: EventKind, text: &str, data: Option<serde_json::Value>) -> NewEvent {
        NewEvent { generation: self.generation, step: step.to_owned(), kind, stream: None, text: cut(&storable(text), MAX_TEXT).to_owned(), data }
    }

    /// A line of the log that belongs to a step but to no run of it.
    pub async fn note(&self, step: JobStep, text: &str, data: serde_json::Value) -> Result<(), Halt> {
        let event = self.event(step.key(), EventKind::Output, text, Some(data));
        self.log(vec![NewEvent { stream: Some(EventStream::Stderr), ..event }]).await
    }

    /// Begins a step; `what` says what with.
    pub async fn begin(&self, step: JobStep, what: &str) -> Result<Step<'_>, Halt> {
        self.log(vec![self.event(step.key(), EventKind::Begin, what, None)]).await?;
        Ok(Step {
            run: self,
            step,
            began: Instant::now(),
            head: 0,
            tail: VecDeque::new(),
            tail_bytes: 0,
            left_out: 0,
            last: String::new(),
            partial: Default::default(),
        })
    }

    /// A step whose work is one future; its text, when it is done, says what came of it.
    pub async fn step<T>(&self, step: JobStep, what: &str, work: impl Future<Output = Result<(T, String), Halt>>) -> Result<T, Halt> {
        self.step_since(Instant::now(), step, what, work).await
    }

    /// As `step`, for work that began before its step was written.
    pub async fn step_since<T>(
        &self,
        began: Instant,
        step: JobStep,
        what: &str,
        work: impl Future<Output = Result<(T, String), Halt>>,
    ) -> Result<T, Halt> {
        let begun = Step { began, ..self.begin(step, what).await? };
        match work.await {
            Ok((value, text)) => {
                begun.end("ok", &text).await?;
                Ok(value)
            }
            Err(halt) => {
                match &halt {
                    Halt::Again(failure) | Halt::Final(failure) => begun.end("failed", &failure.message).await?,
                    Halt::Later { why: Some(why), .. } => begun.end("later", why).await?,
                    Halt::Later { .. } | Halt::Newer => begun.end("later", "").await?,
                    Halt::Lost | Halt::Database(_) => {}
                }
                Err(halt)
            }
        }
    }

    /// Writes an observation, and a status event where the status changes.
    pub async fn observe(&self, seen: Seen<'_>) -> Result<(), Halt> {
        let mut tx = self.control.db.begin().await?;
        match store::observe(&mut tx, self.pod, self.lease(), seen).await? {
            Observed::Lost => return Err(Halt::Lost),
            Observed::Written => {}
            Observed::NewStatus(status) => {
                let event = self.event("status", EventKind::Status, status.as_str(), None);
                event_store::append(&mut tx, self.pod, self.lease(), &[event]).await?;
                news::notify(&mut tx, Change::Events(self.pod)).await?;
            }
        }
        crate::pods::tell(&mut tx, self.pod).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// A step that is under way: its output goes to the log, the head as it comes, the tail at its end.
pub struct Step<'a> {
    run: &'a Run<'a>,
    step: JobStep,
    began: Instant,
    /// Bytes that were written as they came.
    head: usize,
    tail: VecDeque<(EventStream, String)>,
    tail_bytes: usize,
    left_out: usize,
    last: String,
    /// Bytes at the end of a piece that are not whole characters yet, of standard output and of standard error.
    partial: [Vec<u8>; 2],
}

impl Step<'_> {
    pub fn name(&self) -> &'static str {
        self.step.key()
    }

    /// Takes a piece of output.
    pub async fn output(&mut self, stream: EventStream, bytes: &[u8]) -> Result<(), Halt> {
        let text = decode(&mut self.partial[usize::from(stream == EventStream::Stderr)], bytes);
        if text.is_empty() {
            return Ok(());
        }
        self.last.push_str(&text);
        keep_end(&mut self.last, FAILURE_OUTPUT);
        for piece in pieces(&text) {
            if self.head + piece.len() <= KEEP_EACH {
                self.head += piece.len();
                self.run.log(vec![self.line(stream, piece)]).await?;
                continue;
            }
            self.head = KEEP_EACH;
            self.tail_bytes += piece.len();
            self.tail.push_back((stream, piece.to_owned()));
            while self.tail_bytes > KEEP_EACH {
                let Some((_, old)) = self.tail.pop_front() else { break };
                self.tail_bytes -= old.len();
                self.left_out += old.len();
            }
        }
        Ok(())
    }

    fn line(&self, stream: EventStream, text: &str) -> NewEvent {
        NewEvent { stream: Some(stream), ..self.run.event(self.step.key(), EventKind::Output, text, None) }
    }

    /// The last of its output, at most 8 KiB.
    pub fn last_output(&self) -> &str {
        &self.last
    }

    /// Ends the step. `outcome` is `ok`, `failed`, `wait` or `later`.
    pub async fn end(self, outcome: &str, text: &str) -> Result<(), Halt> {
        let mut events = Vec::new();
        if self.left_out > 0 {
            events.push(self.line(EventStream::Stderr, &format!("… {} KiB left out …\n", self.left_out >> 10)));
        }
        events.extend(self.tail.iter().map(|(stream, text)| self.line(*stream, text)));
        let milliseconds = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        events.push(self.run.event(self.step.key(), EventKind::End, text, Some(json!({ "outcome": outcome, "ms": milliseconds }))));
        self.run.log(events).await
    }
}

/// Without NUL, which Postgres can't hold.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Whole minutes as minutes, the rest as seconds.
pub fn words(limit: Duration) -> String {
    match limit.as_secs() {
        seconds if seconds >= 120 && seconds % 60 == 0 => format!("{} minutes", seconds / 60),
        seconds => format!("{seconds} seconds"),
    }
}

/// Whole characters as they come; NUL and what is no UTF-8 are replaced.
fn decode(partial: &mut Vec<u8>, bytes: &[u8]) -> String {
    partial.extend_from_slice(bytes);
    let whole = match std::str::from_utf8(partial) {
        // An incomplete character at the very end waits for the next piece.
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => partial.len(),
    };
    let rest = partial.split_off(whole);
    let text = storable(&String::from_utf8_lossy(partial));
    *partial = rest;
    text
}

/// At most `limit` bytes of the beginning, cut between characters.
fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

fn keep_end(text: &mut String, limit: usize) {
    if text.len() > limit {
        let from = text.ceil_char_boundary(text.len() - limit);
        text.drain(..from);
    }
}

fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let piece = cut(rest, MAX_TEXT);
        rest = &rest[piece.len()..];
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_split_between_pieces_arrives_whole() {
        let mut partial = Vec::new();
        let euro = "€".as_bytes();
        assert_eq!(decode(&mut partial, &euro[..2]), "");
        assert_eq!(decode(&mut partial, &euro[2..]), "€");
        assert_eq!(decode(&mut partial, b"a\0\xffb"), "a\u{fffd}\u{fffd}b");
        assert!(partial.is_empty());
    }

    #[test]
    fn long_output_is_cut_into_rows_between_characters() {
        let text = "€".repeat(10_000);
        let cut: Vec<&str> = pieces(&text).collect();
        assert!(cut.iter().all(|p| p.len() <= MAX_TEXT));
        assert_eq!(cut.concat(), text);
    }

    #[test]
    fn the_end_of_an_output_is_what_a_failure_shows() {
        let mut text = "x".repeat(FAILURE_OUTPUT) + "end";
        keep_end(&mut text, FAILURE_OUTPUT);
        assert!(text.len() == FAILURE_OUTPUT && text.ends_with("end"));
    }
}
