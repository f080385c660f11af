//! What the daemon asks of a pod's PID 1: the control plane's own commands, behind a token that is new with every boot.
//! One connection carries one of them; the answer has the shape that `protocol` gives it.

use crate::protocol::Command;
use serde::{Deserialize, Serialize};
use std::{fmt, net::Ipv4Addr, time::Duration};

/// Where `pinacle-init` listens on the pod's own address. The host lets only its root connect to it.
pub const INIT_PORT: u16 = 1017;
/// What the daemon binds into the pod, read-only.
pub const FOLDER: &str = "/.pinacle";
/// `pinacle-init` itself.
pub const INIT_PROGRAM: &str = "/.pinacle/init";
/// A [`Boot`] as JSON, mode 0400: only root in the pod reads it.
pub const BOOT_FILE: &str = "/.pinacle/boot/boot.json";
/// The unprivileged user of every pod.
pub const DEV_UID: u32 = 1000;
pub const DEV_HOME: &str = "/home/dev";
/// How long a connection may take to say what it wants.
pub const ASK_DEADLINE: Duration = Duration::from_secs(10);
/// Questions of one pod that wait for their answers.
pub const QUESTIONS_AT_ONCE: usize = 8;
/// How long processes have between SIGTERM and the end of the sandbox.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);

/// What PID 1 needs to know at boot.
#[derive(Clone, Serialize, Deserialize)]
pub struct Boot {
    /// 64 hexadecimal digits.
    pub token: String,
    pub hostname: String,
    pub address: Ipv4Addr,
    /// The host's end of the link, where its resolver answers.
    pub gateway: Ipv4Addr,
}

/// The first frame of a connection.
#[derive(Serialize, Deserialize)]
pub struct Ask {
    pub token: String,
    pub what: What,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Are you up? Answers `Reply::Done`.
    Ping,
    /// SIGTERM to everything, [`SHUTDOWN_GRACE`], then the end.
    Shutdown,
    /// What do you want to know? From now on PID 1 says a [`Question`] whenever it has one, and is answered by
    /// `protocol::StreamInput::Answer`. What was not answered on an earlier connection is asked again.
    Questions,
    Command(Box<Command>),
}

/// PID 1 wants what its git signs in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    pub id: u64,
}

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ask").field("what", &self.what).finish_non_exhaustive()
    }
}
