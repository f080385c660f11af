//! Notices a sandbox that ends by itself: killed for want of memory, or crashed. Until then it is listened to.

use super::{Daemon, Pod};
use crate::pod::sandbox::Running;
use nix::libc;
use std::{
    io,
    os::fd::{FromRawFd, OwnedFd},
    sync::Arc,
    time::Duration,
};
use tokio::io::{Interest, unix::AsyncFd};

/// Between looks, where the kernel has no file descriptors of processes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Daemon {
    /// Watches over one sandbox until its end, whoever brings that about.
    pub(super) fn watch_over(self: Arc<Self>, pod: Arc<Pod>, running: Arc<Running>) {
        tokio::spawn(async move {
            tokio::select! {
                () = until_ended(&pod, &running) => {}
                () = self.hear(pod.place.id, &running) => {}
            }
            if let Err(error) = self.bury(&pod, &running).await {
                tracing::error!(pod = %pod.place.id, %error, output = error.output, "what a sandbox left could not be cleared away");
            }
        });
    }
}

async fn until_ended(pod: &Pod, running: &Running) {
    if let Err(error) = ended(running.pid).await {
        tracing::debug!(pod = %pod.place.id, %error, "no file descriptor of a sandbox's process: looking instead");
    }
    while running.is_alive() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Resolves when the process has ended; at once when there is no such process.
async fn ended(pid: i32) -> io::Result<()> {
    // SAFETY: no memory is passed; a result that is not negative is a descriptor of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, libc::PIDFD_NONBLOCK) };
    if fd < 0 {
        let error = io::Error::last_os_error();
        return if error.raw_os_error() == Some(libc::ESRCH) { Ok(()) } else { Err(error) };
    }
    // SAFETY: just opened, and nobody else's.
    let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    // SAFETY: the AsyncFd owns the descriptor to its end.
    let watched = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE)? };
    watched.readable().await.map(|_| ())
}
