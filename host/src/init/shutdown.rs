//! The orderly end: SIGTERM to everything, a little time, and PID 1 goes, which ends the sandbox.

use super::Pod;
use crate::inside::SHUTDOWN_GRACE;
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, sync},
};
use std::{fs, time::Duration};

const LOOK_EVERY: Duration = Duration::from_millis(50);

pub async fn shutdown(pod: &Pod) {
    pod.processes.replace(Vec::new(), false).await;
    let everything = Pid::from_raw(-1);
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        // ESRCH: nobody is there.
        let _gone = kill(everything, signal);
    }
    let end = tokio::time::Instant::now() + SHUTDOWN_GRACE;
    while others_run() && tokio::time::Instant::now() < end {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    sync();
}

fn others_run() -> bool {
    let Ok(entries) = fs::read_dir("/proc") else { return false };
    entries.flatten().filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok()).any(|pid| pid != 1)
}
