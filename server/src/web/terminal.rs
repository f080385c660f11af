//! A terminal over a WebSocket: bytes both ways as binary messages, everything else as JSON texts.
//!
//! From the browser: `{"resize":{"cols":80,"rows":24}}`, and `{"ack_out":N}` after it has shown N bytes: no more than
//! 1 MiB goes out unshown, so a slow reader holds the pod's writing back and fills nobody's memory.
//! To the browser: `{"ack":N}` at first and whenever the terminal has taken more of its input (null: nothing is known of
//! this client, count from zero), `{"exit":{"code":0}}`, `{"closed":{"reason":"…","final":true}}`, where `final` says that
//! coming back is in vain. The pod counts: a client that comes back with the `client` it chose, to whichever server, learns
//! what was taken and sends the rest again, so nothing that was typed is lost or typed twice.

use super::{
    AppState,
    guard::{self, Reach, Why},
    limits::Slot,
};
use axum::extract::ws::{Message, WebSocket};
use bytes::Bytes;
use futures::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use pinacle_app::{
    AppError, ErrorCode,
    backend::{Caller, TerminalConnection, TerminalInput, TerminalOutput, TerminalSize},
    ids::{PodId, UserId},
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::VecDeque, ops::RangeInclusive, time::Duration};
use tokio::sync::{mpsc, watch};

/// Bytes of output that may be on their way without having been shown.
const MOST_UNSHOWN: u64 = 1 << 20;
/// Bytes of one message from the browser: a large paste.
pub const MOST_MESSAGE: usize = 1 << 20;
/// Bytes of input that wait for the pod: a client that has more unacknowledged than this is disconnected.
const MOST_WAITING: usize = 4 << 20;
/// Bytes of input that are handed on at once.
const CHUNK: usize = 32 << 10;
const COLS: RangeInclusive<u16> = 2..=1000;
const ROWS: RangeInclusive<u16> = 1..=1000;
pub const PING: Duration = Duration::from_secs(20);
/// Without a word, not even the answer to a ping, for so long, the browser is gone.
pub const SILENCE: Duration = Duration::from_secs(60);
/// How long what was handed on may take to leave for the pod, once a terminal's socket closes.
const LEAVE: Duration = Duration::from_secs(5);
/// The same where the browser has gone, whom that holds up no more: longer than a pod may take to open a terminal.
const ALONE: Duration = Duration::from_secs(20);
/// And once there is no right to it any more: who has lost it is shown out.
const SHOWN_OUT: Duration = Duration::from_secs(1);
/// A message that is not taken within this long: the browser is gone.
pub const SEND_DEADLINE: Duration = Duration::from_secs(60);

pub fn size(cols: Option<u16>, rows: Option<u16>) -> Result<TerminalSize, AppError> {
    let (cols, rows) = (cols.unwrap_or(80), rows.unwrap_or(24));
    if !COLS.contains(&cols) {
        return Err(AppError::field("cols", "From 2 to 1000."));
    }
    if !ROWS.contains(&rows) {
        return Err(AppError::field("rows", "From 1 to 1000."));
    }
    Ok(TerminalSize { cols, rows })
}

/// What the browser may say as text.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Said {
    Resize { cols: u16, rows: u16 },
    AckOut(u64),
}

/// One terminal on one socket, until either ends. `counts`: the client comes back, and acknowledges what it has shown.
pub async fn attach(
    state: AppState,
    caller: Caller,
    pod: PodId,
    socket: WebSocket,
    connection: TerminalConnection,
    counts: bool,
    slot: Slot<UserId>,
) {
    let _held = slot;
    let (sink, mut stream) = socket.split();
    let (tell_shown, told_shown) = watch::channel(0);
    let TerminalConnection { input, mut output } = connection;
    let mut writing = Writing { sink, shown: told_shown, counts };
    let reason = tokio::select! {
        reason = read(&mut stream, input, tell_shown) => reason,
        reason = writing.run(&mut output) => reason,
        reason = guard::ended(state, caller, Reach::Pod(pod)) => End::Right(reason),
    };
    // Nothing is handed on any more: what was leaves for the pod, which says how much of it was taken. A server that stops waits for this.
    let taken = async {
        let mut taken = None;
        while let Some(output) = output.recv().await {
            if let TerminalOutput::Typed(Some(bytes)) = output {
                taken = Some(bytes);
            }
        }
        taken
    };
    let leave = match &reason {
        End::Right(why) if why.is_final() => SHOWN_OUT,
        End::Gone => ALONE,
        End::Exit(_) | End::Closed(_) | End::Right(_) => LEAVE,
    };
    let taken = tokio::time::timeout(leave, taken).await.unwrap_or_else(|_| {
        tracing::warn!("what was typed last may not have left for the pod");
        None
    });
    let last = match reason {
        End::Gone => return,
        End::Exit(code) => json!({ "exit": { "code": code } }),
        End::Closed(reason) => json!({ "closed": { "reason": reason } }),
        End::Right(why) => json!({ "closed": { "reason": why.words(), "final": why.is_final() } }),
    };
    if let Some(bytes) = taken
        && writing.tell(json!({ "ack": bytes })).await.is_err()
    {
        return;
    }
    // A browser that has gone in the meantime needs no goodbye.
    if writing.tell(last).await.is_ok() {
        close(writing.sink, stream).await;
    }
}

/// Says goodbye, and reads what the browser still says until it has, too: a socket that is closed with something unread resets its
/// connection, and takes with it what was not delivered yet.
pub async fn close(mut sink: SplitSink<WebSocket, Message>, mut stream: SplitStream<WebSocket>) {
    let closing = async {
        sink.close().await?;
        while let Some(message) = stream.next().await {
            message?;
        }
        Ok::<(), axum::Error>(())
    };
    if !matches!(tokio::time::timeout(SEND_DEADLINE, closing).await, Ok(Ok(()))) {
        tracing::debug!("a socket did not close");
    }
}

/// Says why it could not be opened on a socket of its own: a browser does not get to see an HTTP error there.
pub async fn refuse(socket: WebSocket, error: AppError) {
    let (mut sink, stream) = socket.split();
    let last = Message::text(json!({ "closed": { "reason": error.message } }).to_string());
    match sink.send(last).await {
        Ok(()) => close(sink, stream).await,
        Err(error) => tracing::debug!(%error, "a terminal's socket was gone before it could be told why"),
    }
}

/// Refusals that a person sees in the terminal; the others are answers to the request itself.
pub fn is_shown(error: &AppError) -> bool {
    matches!(error.code, ErrorCode::WrongState | ErrorCode::Unavailable | ErrorCode::Internal)
}

enum End {
    /// The browser went away.
    Gone,
    Exit(Option<i32>),
    Closed(String),
    /// The right to it has ended, or the server stops.
    Right(Why),
}

/// Input is taken in while the pod is not ready for it, up to a limit: what the client says of the output it has shown
/// comes on the same way, and a pod that waits for that would otherwise wait for ever.
async fn read(stream: &mut SplitStream<WebSocket>, input: mpsc::Sender<TerminalInput>, tell_shown: watch::Sender<u64>) -> End {
    let mut waiting = Waiting::default();
    loop {
        let message = tokio::select! {
            permit = input.reserve(), if !waiting.inputs.is_empty() => {
                let Ok(permit) = permit else { return End::Closed("The terminal has ended.".to_owned()) };
                if let Some(input) = waiting.next() {
                    permit.send(input);
                }
                continue;
            }
            message = tokio::time::timeout(SILENCE, stream.next()) => message,
        };
        let message = match message {
            Ok(Some(Ok(message))) => message,
            Ok(Some(Err(error))) => {
                tracing::debug!(%error, "a terminal's socket broke");
                return End::Gone;
            }
            Ok(None) | Err(_) => return End::Gone,
        };
        match message {
            Message::Binary(mut data) => {
                while !data.is_empty() {
                    waiting.push(TerminalInput::Data(data.split_to(data.len().min(CHUNK))));
                }
            }
            Message::Text(text) => match serde_json::from_str(&text) {
                Ok(Said::Resize { cols, rows }) if COLS.contains(&cols) && ROWS.contains(&rows) => {
                    waiting.push(TerminalInput::Resize(TerminalSize { cols, rows }));
                }
                Ok(Said::AckOut(bytes)) => drop(tell_shown.send_replace(bytes)),
                Ok(Said::Resize { .. }) | Err(_) => return End::Closed("A message that is none of a terminal's.".to_owned()),
            },
            Message::Close(_) => {
                let rest = async {
                    while let Some(next) = waiting.next() {
                        input.send(next).await?;
                    }
                    Ok::<_, mpsc::error::SendError<_>>(())
                };
                if !matches!(tokio::time::timeout(LEAVE, rest).await, Ok(Ok(()))) {
                    tracing::debug!("what was typed last did not leave for the pod");
                }
                return End::Gone;
            }
            Message::Ping(_) | Message::Pong(_) => {}
        }
        if waiting.is_too_much() {
            return End::Closed("The pod does not take more input. Reconnect to go on.".to_owned());
        }
    }
}

/// Input on its way to the pod, in order.
#[derive(Default)]
struct Waiting {
    inputs: VecDeque<TerminalInput>,
    bytes: usize,
}

impl Waiting {
    fn push(&mut self, input: TerminalInput) {
        // Of two sizes that wait, the last one counts.
        if let (TerminalInput::Resize(_), Some(last @ TerminalInput::Resize(_))) = (&input, self.inputs.back_mut()) {
            *last = input;
            return;
        }
        self.bytes += Self::weight(&input);
        self.inputs.push_back(input);
    }

    fn next(&mut self) -> Option<TerminalInput> {
        let input = self.inputs.pop_front()?;
        self.bytes -= Self::weight(&input);
        Some(input)
    }

    fn is_too_much(&self) -> bool {
        self.bytes > MOST_WAITING
    }

    /// An input of one byte takes room, too.
    fn weight(input: &TerminalInput) -> usize {
        const ENTRY: usize = 64;
        match input {
            TerminalInput::Data(data) => ENTRY + data.len(),
            TerminalInput::Resize(_) => ENTRY,
        }
    }
}

struct Writing {
    sink: SplitSink<WebSocket, Message>,
    shown: watch::Receiver<u64>,
    /// Whether the client acknowledges what it has shown.
    counts: bool,
}

impl Writing {
    async fn run(&mut self, output: &mut mpsc::Receiver<TerminalOutput>) -> End {
        let mut ping = tokio::time::interval(PING);
        let mut sent = 0u64;
        loop {
            let may_send = self.may_send(sent);
            let done = tokio::select! {
                changed = self.shown.changed() => {
                    // The reading side holds the other end for as long as this runs.
                    if changed.is_err() { return End::Gone }
                    Ok(())
                }
                output = output.recv(), if may_send => match output {
                    Some(TerminalOutput::Data(data)) => {
                        sent += data.len() as u64;
                        self.feed(Message::Binary(data)).await
                    }
                    Some(TerminalOutput::Typed(bytes)) => self.feed(text(json!({ "ack": bytes }))).await,
                    Some(TerminalOutput::Exit { code }) => return End::Exit(code),
                    Some(TerminalOutput::Closed { reason }) => return End::Closed(reason),
                    None => return End::Closed("The connection to the pod was lost.".to_owned()),
                },
                _ = ping.tick() => self.feed(Message::Ping(Bytes::new())).await,
            };
            // What is there already goes out with it: with an echo, that its key was taken.
            let goes_on = self.may_send(sent) && !output.is_empty();
            if done.is_err() || (!goes_on && self.flush().await.is_err()) {
                return End::Gone;
            }
        }
    }

    fn may_send(&self, sent: u64) -> bool {
        !self.counts || sent.saturating_sub(*self.shown.borrow()) < MOST_UNSHOWN
    }

    async fn tell(&mut self, value: Value) -> Result<(), Lost> {
        self.feed(text(value)).await?;
        self.flush().await
    }

    async fn feed(&mut self, message: Message) -> Result<(), Lost> {
        in_time(self.sink.feed(message)).await
    }

    async fn flush(&mut self) -> Result<(), Lost> {
        in_time(self.sink.flush()).await
    }
}

fn text(value: Value) -> Message {
    Message::text(value.to_string())
}

async fn in_time(sending: impl Future<Output = Result<(), axum::Error>>) -> Result<(), Lost> {
    match tokio::time::timeout(SEND_DEADLINE, sending).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Lost),
    }
}

/// The socket took nothing any more.
struct Lost;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_a_size_or_an_acknowledgement() {
        assert_eq!(serde_json::from_str::<Said>(r#"{"resize":{"cols":80,"rows":24}}"#).unwrap(), Said::Resize { cols: 80, rows: 24 });
        assert_eq!(serde_json::from_str::<Said>(r#"{"ack_out":12}"#).unwrap(), Said::AckOut(12));
        assert!(serde_json::from_str::<Said>(r#"{"ack_out":-1}"#).is_err());
        assert!(serde_json::from_str::<Said>(r#"{"exec":"id"}"#).is_err());
        assert!(size(Some(1), None).is_err() && size(None, Some(0)).is_err());
        assert_eq!(size(None, None).unwrap(), TerminalSize { cols: 80, rows: 24 });
    }
}
