//! sudo, where gVisor takes no notice of set-user-ID programs: a program of that name asks PID 1, which is root already, to run
//! the command for it. It gives `dev` no right that the image's sudoers does not give it.
//!
//! On the socket: the client sends one byte with its standard descriptors, then [`Wanted`]; PID 1 answers one byte, with a pty's
//! master where the client is on a terminal, then [`Outcome`] when the command has ended. Meanwhile the client sends [`Word`]s.

mod client;
mod server;

pub use client::run;
use serde::{Deserialize, Serialize};
pub use server::serve;
use std::{collections::BTreeMap, io, path::Path};

pub const SOCKET: &str = "/run/pinacle/sudo.sock";
const PROGRAM: &str = "/usr/local/bin/sudo";

#[derive(Debug, Serialize, Deserialize)]
struct Wanted {
    /// Empty: the user's shell.
    argv: Vec<String>,
    /// Begin as at a login: in the user's home.
    login: bool,
    user: String,
    cwd: String,
    env: BTreeMap<String, String>,
    /// Which of the three standard descriptors are terminals.
    terminals: [bool; 3],
    cols: u16,
    rows: u16,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Signal(i32),
    Resize { cols: u16, rows: u16 },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Ended(i32),
    Refused(String),
}

/// Puts the program in place, or takes it away where the kernel heeds set-user-ID.
pub fn install() -> io::Result<()> {
    let ours = std::fs::read_link(PROGRAM).is_ok_and(|to| to == Path::new(crate::inside::INIT_PROGRAM));
    match (nix::sys::prctl::get_no_new_privs()?, ours) {
        (true, false) => {
            if let Err(error) = std::fs::remove_file(PROGRAM)
                && error.kind() != io::ErrorKind::NotFound
            {
                return Err(error);
            }
            std::os::unix::fs::symlink(crate::inside::INIT_PROGRAM, PROGRAM)
        }
        (false, true) => std::fs::remove_file(PROGRAM),
        _ => Ok(()),
    }
}
