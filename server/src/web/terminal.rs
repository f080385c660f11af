//! A terminal over a WebSocket: bytes both ways as binary messages, everything else as JSON texts.
//!
//! From the browser: `{"resize":{"cols":80,"rows":24}}`, and `{"ack_out":N}` after it has shown N bytes: no more than
//! 1 MiB goes out unshown, so a slow reader holds the pod's writing back and fills nobody's memory.
//! To the browser: `{"ack":N}` at first and whenever more of its input has been handed on (null: nothing is known of
//! this client, count from zero), `{"exit":{"code":0}}`, `{"closed":{"reason":"…","final":true}}`, where `final` says that
//! coming back is in vain. A client that comes back with the `client` it chose sends again only what was not acknowledged,
//! so nothing that was typed is lost or typed twice. That holds across a restart, too: what is not acknowledged before
//! `closed` was not handed on.

use super::{
    AppState,
    guard::{self, Reach, Why},
    limits::Slot,
};
use axum::extract::ws::{Message, WebSocket};
use bytes::Bytes;
use futures::{SinkExt, Stream, StreamExt, stream::SplitSink};
use pinacle_app::{
    AppError, ErrorCode,
    backend::{Caller, TerminalConnection, TerminalInput, TerminalOutput},
    ids::{PodId, UserId},
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    collections::{HashMap, VecDeque},
    ops::RangeInclusive,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

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
/// A message that is not taken within this long: the browser is gone.
pub const SEND_DEADLINE: Duration = Duration::from_secs(60);
/// Clients whose input is counted; the one that was longest away goes first.
const MOST_CLIENTS: usize = 1024;

pub fn size(cols: Option<u16>, rows: Option<u16>) -> Result<(u16, u16), AppError> {
    let (cols, rows) = (cols.unwrap_or(80), rows.unwrap_or(24));
    if !COLS.contains(&cols) {
        return Err(AppError::field("cols", "From 2 to 1000."));
    }
    if !ROWS.contains(&rows) {
        return Err(AppError::field("rows", "From 1 to 1000."));
    }
    Ok((cols, rows))
}

/// Who types: a page that reconnects is the same client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientKey {
    pub user: UserId,
    pub pod: PodId,
    pub terminal: String,
    pub client: Uuid,
}

/// How much of whose input was handed on.
#[derive(Default)]
pub struct Clients {
    known: Mutex<HashMap<ClientKey, Known>>,
}

struct Known {
    count: Arc<Mutex<Count>>,
    /// Rises with every connection of any client: the lowest was longest away.
    used: u64,
}

#[derive(Default)]
struct Count {
    /// Rises with every connection of this client; an older one hands nothing on any more.
    connection: u64,
    bytes: u64,
}

/// One connection's share in its client's count.
pub struct Typed {
    count: Arc<Mutex<Count>>,
    connection: u64,
}

impl Clients {
    /// This connection's count, and what the client had handed on before; None if it is not known.
    pub fn connect(&self, key: ClientKey) -> (Typed, Option<u64>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let used = known.values().map(|known| known.used).max().unwrap_or(0) + 1;
        if known.len() >= MOST_CLIENTS && !known.contains_key(&key) {
            let oldest = known.iter().min_by_key(|(_, known)| known.used).map(|(key, _)| key.clone());
            oldest.map(|oldest| known.remove(&oldest));
        }
        let is_known = known.contains_key(&key);
        let entry = known.entry(key).or_insert_with(|| Known { count: Arc::default(), used });
        entry.used = used;
        let count = entry.count.clone();
        let (connection, bytes) = {
            let mut count = count.lock().unwrap_or_else(PoisonError::into_inner);
            count.connection += 1;
            (count.connection, count.bytes)
        };
        (Typed { count, connection }, is_known.then_some(bytes))
    }
}

impl Typed {
    /// Hands on, and counts, in one step. None: another connection of this client has taken over.
    fn hand_on(&self, permit: mpsc::Permit<'_, TerminalInput>, data: Bytes) -> Option<u64> {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        if count.connection != self.connection {
            return None;
        }
        count.bytes += data.len() as u64;
        permit.send(TerminalInput::Data(data));
        Some(count.bytes)
    }
}

/// What the browser may say as text.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Said {
    Resize { cols: u16, rows: u16 },
    AckOut(u64),
}

/// One terminal on one socket, until either ends.
pub async fn attach(
    state: AppState,
    caller: Caller,
    pod: PodId,
    socket: WebSocket,
    connection: TerminalConnection,
    client: Option<ClientKey>,
    slot: Slot<UserId>,
) {
    let _held = slot;
    let client = client.map(|key| state.terminals.connect(key));
    let first_ack = client.as_ref().map(|(_, bytes)| *bytes);
    let typed = client.map(|(typed, _)| typed);
    let (sink, stream) = socket.split();
    let (tell_typed, told_typed) = watch::channel(0);
    let (tell_shown, told_shown) = watch::channel(0);
    let TerminalConnection { input, mut output } = connection;
    let counts = first_ack.is_some();
    let mut writing = Writing { sink, typed: told_typed, shown: told_shown, counts };
    if let Some(bytes) = first_ack
        && writing.tell(json!({ "ack": bytes })).await.is_err()
    {
        return;
    }
    let reason = tokio::select! {
        reason = read(stream, input, typed, tell_typed, tell_shown) => reason,
        reason = writing.run(&mut output) => reason,
        reason = guard::ended(state, caller, Reach::Pod(pod)) => End::Right(reason),
    };
    // Nothing is handed on any more, so what was may be counted.
    if matches!(reason, End::Closed(_) | End::Right(_)) && counts {
        let bytes = *writing.typed.borrow_and_update();
        if bytes > 0 && writing.tell(json!({ "ack": bytes })).await.is_err() {
            return;
        }
    }
    let last = match reason {
        End::Gone => return,
        End::Exit(code) => json!({ "exit": { "code": code } }),
        End::Closed(reason) => json!({ "closed": { "reason": reason } }),
        End::Right(why) => json!({ "closed": { "reason": why.words(), "final": why.is_final() } }),
    };
    // A browser that has gone in the meantime needs no goodbye.
    if writing.tell(last).await.is_ok()
        && let Err(error) = tokio::time::timeout(SEND_DEADLINE, writing.sink.close()).await
    {
        tracing::debug!(%error, "a terminal's socket did not close");
    }
    // The other side of the way to the pod ends when all of it has left; a server that stops waits for this.
    if tokio::time::timeout(LEAVE, async { while output.recv().await.is_some() {} }).await.is_err() {
        tracing::warn!("what was typed last may not have left for the pod");
    }
}

/// Says why it could not be opened on a socket of its own: a browser does not get to see an HTTP error there.
pub async fn refuse(mut socket: WebSocket, error: AppError) {
    let last = Message::text(json!({ "closed": { "reason": error.message } }).to_string());
    if let Err(error) = socket.send(last).await {
        tracing::debug!(%error, "a terminal's socket was gone before it could be told why");
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
async fn read(
    mut stream: impl Stream<Item = Result<Message, axum::Error>> + Unpin,
    input: mpsc::Sender<TerminalInput>,
    typed: Option<Typed>,
    tell_typed: watch::Sender<u64>,
    tell_shown: watch::Sender<u64>,
) -> End {
    let mut waiting = Waiting::default();
    loop {
        let message = tokio::select! {
            permit = input.reserve(), if !waiting.inputs.is_empty() => {
                let Ok(permit) = permit else { return End::Closed("The terminal has ended.".to_owned()) };
                match (waiting.next(), &typed) {
                    (Some(TerminalInput::Data(data)), Some(typed)) => match typed.hand_on(permit, data) {
                        Some(bytes) => drop(tell_typed.send_replace(bytes)),
                        None => return End::Closed("This terminal goes on in another connection.".to_owned()),
                    },
                    (Some(input), _) => permit.send(input),
                    (None, _) => {}
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
                Ok(Said::Resize { cols, rows }) if COLS.contains(&cols) && ROWS.contains(&rows) => waiting.push(TerminalInput::Resize { cols, rows }),
                Ok(Said::AckOut(bytes)) => drop(tell_shown.send_replace(bytes)),
                Ok(Said::Resize { .. }) | Err(_) => return End::Closed("A message that is none of a terminal's.".to_owned()),
            },
            Message::Close(_) => return End::Gone,
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
        if let (TerminalInput::Resize { .. }, Some(last @ TerminalInput::Resize { .. })) = (&input, self.inputs.back_mut()) {
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
            TerminalInput::Resize { .. } => ENTRY,
        }
    }
}

struct Writing {
    sink: SplitSink<WebSocket, Message>,
    typed: watch::Receiver<u64>,
    shown: watch::Receiver<u64>,
    /// Whether the client acknowledges what it has shown.
    counts: bool,
}

impl Writing {
    async fn run(&mut self, output: &mut mpsc::Receiver<TerminalOutput>) -> End {
        let mut ping = tokio::time::interval(PING);
        let mut sent = 0u64;
        loop {
            let may_send = !self.counts || sent.saturating_sub(*self.shown.borrow()) < MOST_UNSHOWN;
            let done = tokio::select! {
                changed = self.typed.changed() => {
                    // The reading side holds the other end for as long as this runs.
                    if changed.is_err() { return End::Gone }
                    let bytes = *self.typed.borrow_and_update();
                    self.tell(json!({ "ack": bytes })).await
                }
                changed = self.shown.changed() => {
                    if changed.is_err() { return End::Gone }
                    Ok(())
                }
                output = output.recv(), if may_send => match output {
                    Some(TerminalOutput::Data(data)) => {
                        sent += data.len() as u64;
                        self.send(Message::Binary(data)).await
                    }
                    Some(TerminalOutput::Exit { code }) => return End::Exit(code),
                    Some(TerminalOutput::Closed { reason }) => return End::Closed(reason),
                    None => return End::Closed("The connection to the pod was lost.".to_owned()),
                },
                _ = ping.tick() => self.send(Message::Ping(Bytes::new())).await,
            };
            if done.is_err() {
                return End::Gone;
            }
        }
    }

    async fn tell(&mut self, text: Value) -> Result<(), Lost> {
        self.send(Message::text(text.to_string())).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Lost> {
        match tokio::time::timeout(SEND_DEADLINE, self.sink.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Lost),
        }
    }
}

/// The socket took nothing any more.
struct Lost;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(client: u128) -> ClientKey {
        ClientKey { user: UserId(Uuid::nil()), pod: PodId(Uuid::nil()), terminal: "main".to_owned(), client: Uuid::from_u128(client) }
    }

    #[tokio::test]
    async fn a_client_that_comes_back_learns_what_was_handed_on_and_its_old_connection_ends() {
        let clients = Clients::default();
        let (sender, mut receiver) = mpsc::channel(8);
        let (old, before) = clients.connect(key(1));
        assert_eq!(before, None);
        assert_eq!(old.hand_on(sender.reserve().await.unwrap(), Bytes::from_static(b"ls\n")), Some(3));
        let (new, before) = clients.connect(key(1));
        assert_eq!(before, Some(3));
        assert_eq!(old.hand_on(sender.reserve().await.unwrap(), Bytes::from_static(b"rm")), None, "taken over");
        assert_eq!(new.hand_on(sender.reserve().await.unwrap(), Bytes::from_static(b"w\n")), Some(5));
        assert_eq!(receiver.recv().await, Some(TerminalInput::Data(Bytes::from_static(b"ls\n"))));
        assert_eq!(receiver.recv().await, Some(TerminalInput::Data(Bytes::from_static(b"w\n"))));
    }

    #[test]
    fn so_many_clients_are_known_and_the_longest_away_goes() {
        let clients = Clients::default();
        for client in 0..MOST_CLIENTS as u128 {
            clients.connect(key(client));
        }
        clients.connect(key(0));
        clients.connect(key(u128::MAX));
        let known = clients.known.lock().unwrap();
        assert_eq!(known.len(), MOST_CLIENTS);
        assert!(known.contains_key(&key(0)) && !known.contains_key(&key(1)));
    }

    #[test]
    fn texts_are_a_size_or_an_acknowledgement() {
        assert_eq!(serde_json::from_str::<Said>(r#"{"resize":{"cols":80,"rows":24}}"#).unwrap(), Said::Resize { cols: 80, rows: 24 });
        assert_eq!(serde_json::from_str::<Said>(r#"{"ack_out":12}"#).unwrap(), Said::AckOut(12));
        assert!(serde_json::from_str::<Said>(r#"{"ack_out":-1}"#).is_err());
        assert!(serde_json::from_str::<Said>(r#"{"exec":"id"}"#).is_err());
        assert!(size(Some(1), None).is_err() && size(None, Some(0)).is_err());
        assert_eq!(size(None, None).unwrap(), (80, 24));
    }
}
