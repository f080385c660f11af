//! Sessions: a process that init starts leads one, and what it starts belongs to it.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::fs;

/// Sends a signal to every process of a session, whatever its group.
pub fn signal(wanted: i32, signal: Signal) {
    let Ok(processes) = fs::read_dir("/proc") else { return };
    for pid in processes.flatten().filter_map(|p| p.file_name().to_str()?.parse::<i32>().ok()) {
        if fs::read_to_string(format!("/proc/{pid}/stat")).ok().and_then(|stat| session(&stat)) == Some(wanted) {
            // ESRCH: it has just ended.
            let _gone = kill(Pid::from_raw(pid), signal);
        }
    }
}

/// `pid (name) state ppid pgrp session …`; the name may hold anything.
pub fn session(stat: &str) -> Option<i32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_hide_the_session() {
        assert_eq!(session("12 (a) b) (c) S 1 12 11 0 -1"), Some(11));
    }
}
