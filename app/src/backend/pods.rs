//! Pods: everything that may be asked of one.

use super::Caller;
use crate::error::AppResult;
use crate::ids::PodId;
use crate::pods::timeline::UsualTime;
use crate::pods::{ExecRequest, ExecResult, MonthUse, NewPod, Page, Pod, PodEvent, PodLive, PodNews, PodPatch, PodQuery, PodStart, Terminal, Wish};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use std::collections::BTreeMap;
use tokio::sync::mpsc;
use uuid::Uuid;

#[async_trait]
pub trait Pods: Send + Sync {
    async fn pods(&self, caller: &Caller, query: PodQuery) -> AppResult<Page<Pod>>;
    async fn pod(&self, caller: &Caller, id: PodId) -> AppResult<Pod>;
    async fn pod_start(&self, caller: &Caller, id: PodId) -> AppResult<PodStart>;
    /// What `create_pod` would refuse it for, without creating it.
    async fn check_pod(&self, caller: &Caller, new: &NewPod) -> AppResult<()>;
    /// A free name made of the repository's, or `pod`.
    async fn suggest_name(&self, caller: &Caller, repository: Option<&str>) -> AppResult<String>;
    /// With a key that was used before, the pod that was made then.
    async fn create_pod(&self, caller: &Caller, new: NewPod, idempotency_key: Option<String>) -> AppResult<Pod>;
    async fn update_pod(&self, caller: &Caller, id: PodId, patch: PodPatch) -> AppResult<Pod>;
    /// Accepted in every state; the newest wish wins.
    async fn wish(&self, caller: &Caller, id: PodId, wish: Wish) -> AppResult<Pod>;
    /// Lets the plan of this digest run; refused with `WrongState` when the plan is another by now.
    async fn approve_setup(&self, caller: &Caller, id: PodId, plan_digest: &str) -> AppResult<Pod>;
    async fn retry_setup(&self, caller: &Caller, id: PodId) -> AppResult<Pod>;
    /// At most `limit` events after `after`, oldest first.
    async fn events(&self, caller: &Caller, id: PodId, after: i64, limit: u32) -> AppResult<Vec<PodEvent>>;
    /// The pod, its events after `after`, and what runs in it; until the caller loses its right or goes away.
    async fn watch_pod(&self, caller: &Caller, id: PodId, after: i64) -> AppResult<BoxStream<'static, PodNews>>;
    /// Every pod that the caller may see, after each change.
    async fn watch_pods(&self, caller: &Caller) -> AppResult<BoxStream<'static, Pod>>;
    async fn usual_times(&self, caller: &Caller, id: PodId) -> AppResult<Vec<UsualTime>>;
    async fn month_use(&self, caller: &Caller, id: PodId) -> AppResult<MonthUse>;
    async fn live(&self, caller: &Caller, id: PodId) -> AppResult<PodLive>;
    async fn restart_process(&self, caller: &Caller, id: PodId, name: &str) -> AppResult<()>;
    /// The log of one process: its last 1 MiB, then as it grows.
    async fn process_log(&self, caller: &Caller, id: PodId, name: &str) -> AppResult<BoxStream<'static, AppResult<Bytes>>>;
    async fn exec(&self, caller: &Caller, id: PodId, request: ExecRequest) -> AppResult<ExecResult>;
    async fn read_file(&self, caller: &Caller, id: PodId, path: &str) -> AppResult<FileContent>;
    async fn write_file(&self, caller: &Caller, id: PodId, path: &str, content: FileContent) -> AppResult<()>;
    async fn terminals(&self, caller: &Caller, id: PodId) -> AppResult<Vec<Terminal>>;
    /// Attaches to the terminal of this name, made if it is not there.
    async fn open_terminal(&self, caller: &Caller, id: PodId, name: &str, size: TerminalSize, client: Option<Uuid>) -> AppResult<TerminalConnection>;
    async fn end_terminal(&self, caller: &Caller, id: PodId, name: &str) -> AppResult<()>;
    /// The pod that people call `<name>.<handle of its owner>`, also after its owner has left its team. Two that are called so: neither.
    async fn pod_at(&self, caller: &Caller, name: &str, handle: &str) -> AppResult<Pod>;
    /// Starts a shell or a command for somebody at the other end of a connection; it is hung up with the connection.
    async fn open_process(&self, caller: &Caller, id: PodId, start: ProcessStart) -> AppResult<ByteConnection>;
    /// Connects to what listens on a port of the pod's own.
    async fn connect_port(&self, caller: &Caller, id: PodId, port: u16) -> AppResult<ByteConnection>;
}

/// What runs at the pod's end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessStart {
    pub program: Program,
    pub env: BTreeMap<String, String>,
    /// On a terminal of its own.
    pub pty: Option<Pty>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// A login shell.
    Shell,
    /// For the pod's shell.
    Command(String),
    /// The pod's own server for files.
    Sftp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pty {
    pub cols: u16,
    pub rows: u16,
    /// What TERM says.
    pub term: String,
}

/// Bytes both ways, bounded both ways. `ByteControl::Taken` says what was taken of the output; without it the pod stops.
pub struct ByteConnection {
    pub input: mpsc::Sender<ByteInput>,
    pub control: mpsc::Sender<ByteControl>,
    pub output: mpsc::Receiver<ByteOutput>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ByteInput {
    Data(Bytes),
    Eof,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteControl {
    /// Bytes.
    Taken(u32),
    Resize {
        cols: u16,
        rows: u16,
    },
    /// Its number in Linux.
    Signal(i32),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ByteOutput {
    Data(Bytes),
    /// Standard error.
    ErrorData(Bytes),
    /// The end; of a command by its exit code or by a signal's number.
    Exit {
        code: Option<i32>,
        signal: Option<i32>,
    },
    /// The connection was lost.
    Closed {
        reason: String,
    },
}

/// A file on its way, with its length in bytes.
pub struct FileContent {
    pub bytes: u64,
    pub stream: BoxStream<'static, AppResult<Bytes>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    pub cols: u16,
    pub rows: u16,
}

/// Both ends are bounded: a reader that does not read stops the pod's writing, not our memory. Who wants to know how much of its input
/// was taken closes `input` and reads `output` to its end.
pub struct TerminalConnection {
    pub input: mpsc::Sender<TerminalInput>,
    pub output: mpsc::Receiver<TerminalOutput>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TerminalInput {
    Data(Bytes),
    Resize(TerminalSize),
}

#[derive(Clone, Debug, PartialEq)]
pub enum TerminalOutput {
    Data(Bytes),
    /// So many bytes of the client's input has the terminal taken, on all its connections. At first, where there is a client; None then:
    /// nothing is known of it.
    Typed(Option<u64>),
    /// The shell ended.
    Exit {
        code: Option<i32>,
    },
    /// The connection was lost, or the right to it.
    Closed {
        reason: String,
    },
}
