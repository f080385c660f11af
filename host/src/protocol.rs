//! What the control plane asks of a pod host, and what the host answers.
//!
//! One connection (an SSH channel joined to the daemon's socket by `pinacle-host gate`, or an upgraded
//! HTTPS connection) carries one request after another. A request is one JSON frame. A *unary* command is
//! answered by one JSON frame, a [`Reply`]. A *stream* command is first answered by [`Reply::Streaming`];
//! from then on both sides send data and [`StreamInput`]/[`StreamOutput`] frames until the host sends
//! [`StreamOutput::Exit`] or [`StreamOutput::Error`], and the connection is closed.
//! The daemon speaks the same frames to `pinacle-init` inside the pod.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, net::Ipv4Addr, ops::Deref};
use uuid::Uuid;
use zeroize::Zeroize;

/// Version of this protocol; a host that speaks another one is not used.
pub const PROTOCOL: u32 = 2;

/// Which installation of Pinacle a host belongs to. The epoch rises by one when the database is restored
/// from a copy, so that a host that has seen newer wishes is not driven by older ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installation {
    pub id: Uuid,
    pub epoch: u32,
}

/// The first frame of every exchange.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub protocol: u32,
    /// Must equal what the host was given when it joined; left out by `Hello` alone.
    #[serde(default)]
    pub installation: Option<Installation>,
    pub command: Command,
}

/// Every command may be repeated: it brings about a state and says so when that state is there already.
/// A command with a `fence` changes the pod and is refused with `stale_fence` when the host has seen a higher one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Who are you? Answers `HostHello`. Needs no installation.
    Hello,
    /// Answers `Inventory`.
    Inventory,
    /// Give the pod its writable layer: `disk_bytes`, ext4, kept until `Delete`. One that `Orphan` has set aside is taken back.
    Layer {
        pod: Uuid,
        fence: i64,
        disk_bytes: u64,
        /// Refused with `no_such_pod` rather than made empty, where there is neither a layer nor one set aside.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        must_exist: bool,
    },
    /// Give the pod its network namespace and address.
    Network { pod: Uuid, fence: i64, address: Ipv4Addr },
    /// Boot the sandbox, unless it runs already and was booted for `boot_after` or a later generation.
    /// Answers `Booted`. Needs `Layer` and `Network` first.
    Sandbox {
        pod: Uuid,
        fence: i64,
        /// The wish that this boot answers; remembered as the sandbox's own.
        generation: i64,
        /// A sandbox booted for an older generation than this is stopped first (restart).
        boot_after: i64,
        hostname: String,
        /// Thousandths of a core; capped to the host's cores.
        cpu_milli: u32,
        memory_bytes: u64,
    },
    /// Put keys, secrets and git identity in place (`/run/pinacle`, a tmpfs).
    Configure { pod: Uuid, fence: i64, config: PodConfig },
    /// Replace the list of processes that init keeps running. Those that are the same go on; one that waits to be started again
    /// is started at once.
    Processes {
        pod: Uuid,
        fence: i64,
        processes: Vec<ProcessSpec>,
        /// End those that are the same too, and start them anew: what they run on has changed.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        restart: bool,
    },
    /// Start one of those processes again.
    RestartProcess { pod: Uuid, name: String },
    /// End the sandbox and free its network; the layer stays.
    Stop { pod: Uuid, fence: i64 },
    /// End the sandbox of a pod that the control plane does not know, and set its layer aside for 7 days: `Inventory` lists
    /// it, `Layer` takes it back, `Delete` removes it.
    Orphan { pod: Uuid, fence: i64 },
    /// Remove everything of the pod; the fence is remembered for 30 days.
    Delete { pod: Uuid, fence: i64 },
    /// As `Delete` for a pod that never started here; as `Orphan` for one that did, whatever the control plane remembers of it.
    Discard { pod: Uuid, fence: i64 },
    /// Answers `Pod`.
    Pod { pod: Uuid },
    /// Stream: a `StreamOutput::Report` at once and whenever processes or ports change, and every 5 s for the meters.
    Watch { pod: Uuid },
    /// Stream: run a command. Ended when the connection is.
    Exec { pod: Uuid, exec: ExecSpec },
    /// Stream: attach to the named tmux session, made if it is not there.
    Terminal {
        pod: Uuid,
        name: String,
        cols: u16,
        rows: u16,
        /// Who types, where what is typed is to be counted: a viewer that comes back is the same client. The stream then begins with
        /// `StreamOutput::Typed`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client: Option<Uuid>,
    },
    /// Answers `Terminals`.
    Terminals { pod: Uuid },
    /// End the named tmux session and what runs in it.
    EndTerminal { pod: Uuid, name: String },
    /// Stream: the content of a file below /home/dev (relative, or absolute anywhere `dev` may read).
    ReadFile { pod: Uuid, path: String },
    /// Stream: data frames, then `StreamInput::Eof`; replaces the file at once when all of it has arrived.
    WriteFile { pod: Uuid, path: String, bytes: u64 },
    /// Stream: the log of one process, from its beginning or its last 1 MiB, then as it grows.
    ProcessLog { pod: Uuid, name: String },
    /// Stream: a TCP connection to what listens on this port inside the pod.
    Connect {
        pod: Uuid,
        port: u16,
        /// Neither end sends more than [`crate::frame::WINDOW`] that the other has not said to have taken.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        window: bool,
    },
    /// Stream, of the host: a `StreamOutput::Question` whenever git in one of its pods is to sign in, answered by
    /// `StreamInput::Answer`. Of several control planes that listen, one is asked, and another where that one goes or takes too long.
    /// Ended when the connection is.
    Questions,
}

/// What a pod gets to know. Values are secret: neither `Debug` nor a log shows them, and their memory is wiped.
#[derive(Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PodConfig {
    pub env: SecretEnv,
    pub git_name: String,
    pub git_email: String,
    /// OpenSSH private key for the pod's repository, if it has one.
    #[serde(default)]
    pub ssh_private_key: Option<SecretText>,
    /// Where git asks for a token, if it is to have one.
    #[serde(default)]
    pub git_credential: Option<GitCredential>,
    /// Where the pod's repository is reached with that key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_over_ssh: Option<GitOverSsh>,
}

/// One repository that git reaches over ssh with the pod's own key, whatever form of its address is used. Other repositories
/// never see the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GitOverSsh {
    /// Name or address of the git server, such as `github.com`.
    pub host: String,
    pub port: u16,
    /// `owner/name`.
    pub repository: String,
    /// Scheme and authority of its `https` address, such as `https://github.com`.
    pub origin: String,
    /// The server's own keys, as in `known_hosts` behind the name: `ssh-ed25519 AAAA…`. Another one is refused.
    pub host_keys: Vec<String>,
}

/// One repository that git reaches over https: whenever it is to sign in there, it asks the control plane. It does not for others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GitCredential {
    /// Scheme and authority of its address, such as `https://github.com`.
    pub origin: String,
    /// `owner/name`.
    pub repository: String,
}

/// What git is told that has asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GitAnswer {
    /// What it signs in with; good for a short time, and for the one repository.
    Credential { username: String, token: SecretText },
    /// It gets nothing. Why, and what helps, for whoever reads what git prints; one line.
    Refused { why: String },
}

impl GitAnswer {
    pub fn refused(why: impl Into<String>) -> Self {
        Self::Refused { why: why.into() }
    }
}

/// Wiped when it is let go of.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretText(String);

impl From<&str> for SecretText {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl Deref for SecretText {
    type Target = String;

    fn deref(&self) -> &String {
        &self.0
    }
}

impl Drop for SecretText {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Variables whose values are wiped when it is let go of. Not `Clone`: a clone is the plain map, as a program's environment is.
#[derive(Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretEnv(BTreeMap<String, String>);

impl FromIterator<(String, String)> for SecretEnv {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

impl<const N: usize> From<[(String, String); N]> for SecretEnv {
    fn from(variables: [(String, String); N]) -> Self {
        variables.into_iter().collect()
    }
}

impl Deref for SecretEnv {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &BTreeMap<String, String> {
        &self.0
    }
}

impl Drop for SecretEnv {
    fn drop(&mut self) {
        self.0.values_mut().for_each(Zeroize::zeroize);
    }
}

impl Clone for PodConfig {
    fn clone(&self) -> Self {
        Self {
            env: SecretEnv(self.env.clone()),
            git_name: self.git_name.clone(),
            git_email: self.git_email.clone(),
            ssh_private_key: self.ssh_private_key.clone(),
            git_credential: self.git_credential.clone(),
            git_over_ssh: self.git_over_ssh.clone(),
        }
    }
}

impl fmt::Debug for PodConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PodConfig").field("env", &self.env.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// A process that init keeps running as `dev`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessSpec {
    /// `[a-z0-9]{1,20}`: it becomes part of a host name.
    pub name: String,
    /// Run by `bash -lc`.
    pub command: String,
    /// Absolute, inside the pod.
    pub cwd: String,
    #[serde(default)]
    pub port: Option<u16>,
    /// A path such as `/healthz`, asked for by HTTP GET on `port`; any answer below 500 is healthy.
    #[serde(default)]
    pub health_check: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecSpec {
    /// 1–256 strings; the first names the program. Never seen by a shell.
    pub argv: Vec<String>,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Absolute; /home/dev if left out.
    #[serde(default)]
    pub cwd: Option<String>,
    /// Seconds; the whole process group is killed after them.
    pub timeout_seconds: u32,
    /// With false, what it leaves in the background stays when the command itself has ended.
    #[serde(default)]
    pub kill_group_on_exit: bool,
    /// On a terminal of its own in place of three pipes; all that it says is standard output. Implies `window`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pty: Option<PtySize>,
    /// Neither end sends more than [`crate::frame::WINDOW`] that the other has not said to have taken.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub window: bool,
}

/// A terminal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PtySize {
    pub cols: u16,
    pub rows: u16,
    /// What TERM says.
    pub term: String,
}

/// Answer to a unary command, or the beginning of a stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Reply {
    Done,
    Streaming,
    Hello(HostHello),
    Inventory(Box<Inventory>),
    Booted(Booted),
    Pod(Box<PodReport>),
    Terminals { terminals: Vec<TerminalInfo> },
    Error(HostError),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostHello {
    pub protocol: u32,
    /// Version of `pinacle-host`.
    pub version: String,
    /// None before joining.
    pub host_id: Option<Uuid>,
    pub installation: Option<Installation>,
    pub boot_id: Uuid,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Booted {
    pub generation: i64,
    /// False when it was running already.
    pub started: bool,
}

/// A host as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inventory {
    pub version: String,
    pub boot_id: Uuid,
    pub kernel: String,
    pub runsc_version: String,
    /// gVisor's way of intercepting system calls: `systrap`, `ptrace`, `kvm`.
    pub runsc_platform: String,
    pub cgroup: String,
    /// Name of the base image, such as `base 2026.11`.
    pub image: String,
    /// Thousandths of a core.
    pub cpu_milli: u32,
    pub memory_bytes: u64,
    pub disk_bytes: u64,
    pub disk_free_bytes: u64,
    pub pods: Vec<PodSeen>,
    /// Layers that `Orphan` has set aside, the oldest first, at most 1,000.
    #[serde(default)]
    pub orphans: Vec<OrphanSeen>,
}

/// A layer without a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrphanSeen {
    /// Whose it was.
    pub pod: Uuid,
    /// When, in seconds since the Unix epoch; 7 days later it is removed.
    pub set_aside: i64,
    /// Bytes that it takes on the host's disk.
    pub disk_bytes: u64,
}

/// What a host knows of one pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PodSeen {
    pub pod: Uuid,
    pub sandbox: SandboxState,
    /// Of the boot; 0 when it never was.
    pub generation: i64,
    pub fence: i64,
    /// Whether its layer is there.
    pub layer: bool,
    pub address: Option<Ipv4Addr>,
    pub disk_bytes: u64,
    /// What is wrong with it on this host, for a person: what is left of its sandbox cannot be cleared away, what is known of
    /// it cannot be read. `Stop` tries again.
    #[serde(default)]
    pub fault: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SandboxState {
    Running,
    /// Not there: never booted, stopped, or ended by itself (see `PodReport::ended`).
    Stopped,
}

/// A pod as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PodReport {
    pub sandbox: SandboxState,
    pub generation: i64,
    /// Why the sandbox ended by itself, such as `out_of_memory`; None while it runs or after a wish.
    pub ended: Option<String>,
    pub usage: Usage,
    pub processes: Vec<ProcessReport>,
    pub ports: Vec<Port>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Thousandths of a core, over the last few seconds.
    pub cpu_milli: u32,
    pub memory_bytes: u64,
    pub disk_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessReport {
    pub name: String,
    pub command: String,
    pub port: Option<u16>,
    pub state: ProcessState,
    /// Seconds since it was started; None while it is not running.
    pub up_seconds: Option<u64>,
    pub restarts: u32,
    pub exit_code: Option<i32>,
    /// What the health check last said, such as `200` or `connection refused`.
    pub health: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum ProcessState {
    /// Runs, and its port or health check has not answered yet.
    Starting,
    Running,
    /// Ended; started again in so many seconds.
    BackingOff {
        seconds: u32,
    },
}

/// Something listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    pub port: u16,
    /// Name of the process, where it is one of the pod's.
    pub process: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalInfo {
    pub name: String,
    pub viewers: u32,
    /// Seconds since the Unix epoch.
    pub created: i64,
}

/// JSON frames that the control plane sends within a stream; the data itself goes as data frames.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stream", rename_all = "snake_case")]
pub enum StreamInput {
    Resize {
        cols: u16,
        rows: u16,
    },
    /// No more input: closes stdin, completes a file; a terminal says what it has taken of its input, and lets its viewer go.
    Eof,
    /// So many bytes of output were taken. Terminals, logs and files stop while [`crate::frame::WINDOW`] bytes are not,
    /// so that a slow reader holds up its own stream and not the others on its connection.
    Taken {
        bytes: u32,
    },
    /// For the session of a command: a signal's number in Linux.
    Signal {
        signal: i32,
    },
    /// To the question of this id; also from the daemon to the PID 1 that asks. What comes too late is let go of.
    Answer {
        id: u64,
        answer: GitAnswer,
    },
}

/// JSON frames that the host sends within a stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "stream", rename_all = "snake_case")]
pub enum StreamOutput {
    Report(Box<PodReport>),
    /// Of a file that is about to be sent.
    FileInfo {
        bytes: u64,
    },
    /// So many bytes of input were taken, where the stream has a window.
    Taken {
        bytes: u32,
    },
    /// So many bytes of this client's input has the terminal taken, on all its connections; at first, None: nothing is known of it
    /// since the pod has started.
    Typed {
        bytes: Option<u64>,
    },
    /// Git in this pod is to sign in at its repository. The pod is the daemon's word, not the pod's own.
    Question {
        id: u64,
        pod: Uuid,
    },
    /// The end. `code` is None when it was ended by a signal or timed out.
    Exit {
        code: Option<i32>,
        signal: Option<i32>,
        timed_out: bool,
    },
    /// The end, by a fault.
    Error(HostError),
}

/// A refusal or a fault, for a person and for code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct HostError {
    pub code: HostErrorCode,
    pub message: String,
    /// Last output of what failed, at most 8 KiB.
    #[serde(default)]
    pub output: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostErrorCode {
    /// The host has seen a higher fence for this pod.
    StaleFence,
    /// The host belongs to another installation or epoch, or to none yet.
    WrongInstallation,
    /// Another version of the protocol.
    WrongProtocol,
    /// A value that must not be.
    Invalid,
    NoSuchPod,
    /// The pod is there, its sandbox does not run.
    NotRunning,
    /// A file, terminal or process that is not there.
    NotFound,
    NoSpace,
    /// A step took longer than its deadline.
    Timeout,
    /// gVisor, the kernel or the file system refused.
    Failed,
}

impl HostError {
    pub fn new(code: HostErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), output: String::new() }
    }
}

/// What `pinacle-host join` sends to `POST /api/v1/hosts/join`; the one-time token travels as Bearer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    pub protocol: u32,
    pub inventory: Inventory,
    /// OpenSSH lines, such as `ssh-ed25519 AAAA…`.
    pub host_keys: Vec<String>,
}

/// What the host keeps from joining.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JoinReply {
    pub host_id: Uuid,
    pub installation: Installation,
    /// Range for pod addresses, such as `10.88.3.0/24`.
    pub pod_cidr: String,
    /// OpenSSH line of the control plane's key, for the user `pinacle`'s authorized_keys.
    pub control_key: String,
}
