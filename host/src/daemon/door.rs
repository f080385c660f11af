//! The Unix socket: whoever is in the group `pinacle` may speak to the daemon; the gate of the SSH user is.

use super::{Daemon, session};
use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, chown},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::Semaphore,
};

/// Connections at once over each door; sshd allows 512 channels a connection.
pub const MAX_CONNECTIONS: usize = 2048;
pub const SOCKET: &str = "host.sock";
const GROUP: &str = "pinacle";

pub fn listen(daemon: &Daemon) -> io::Result<UnixListener> {
    let group = nix::unistd::Group::from_name(GROUP)?
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("this host has no group '{GROUP}': groupadd --system {GROUP}")))?;
    let (folder, path) = (&daemon.options.run_dir, daemon.options.run_dir.join(SOCKET));
    crate::pod::gone(fs::remove_file(&path))?;
    let listener = UnixListener::bind(&path)?;
    for (path, mode) in [(folder, 0o750), (&path, 0o660)] {
        chown(path, Some(0), Some(group.gid.as_raw()))?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    Ok(listener)
}

pub async fn serve(daemon: Arc<Daemon>, listener: UnixListener) -> io::Result<()> {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let slot = slots.clone().acquire_owned().await.map_err(io::Error::other)?;
        match listener.accept().await {
            Ok((socket, _)) => {
                let daemon = daemon.clone();
                tokio::spawn(async move {
                    answer(daemon, socket).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer(daemon: Arc<Daemon>, socket: UnixStream) {
    let root = socket.peer_cred().is_ok_and(|peer| peer.uid() == 0);
    let (read, write) = socket.into_split();
    session::serve(daemon, read, write, root).await;
}
