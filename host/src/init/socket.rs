//! Unix sockets on which programs in the pod ask PID 1 something.

use super::complain;
use crate::{
    frame::FrameReader,
    inside::{ASK_DEADLINE, DEV_UID},
};
use serde::de::DeserializeOwned;
use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, chown},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::AsyncRead,
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    time::timeout,
};

/// The first thing that an asker says, within its deadline.
pub async fn wanted<T: DeserializeOwned>(input: &mut FrameReader<impl AsyncRead + Unpin>) -> io::Result<T> {
    let frame = timeout(ASK_DEADLINE, input.next()).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?.map_err(io::Error::other)?;
    frame.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?.parse().map_err(io::Error::other)
}

/// Answers `dev` and root, so many at once, until the pod ends. Others wait.
pub async fn serve<F>(path: &'static str, at_once: usize, answer: impl Fn(UnixStream) -> F) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = UnixListener::bind(path)?;
    chown(path, Some(DEV_UID), Some(DEV_UID))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    let slots = Arc::new(Semaphore::new(at_once));
    loop {
        let slot = slots.clone().acquire_owned().await.map_err(io::Error::other)?;
        let asker = match listener.accept().await {
            Ok((asker, _)) => asker,
            Err(error) => {
                complain(&format!("{path}: {error}"));
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let answering = answer(asker);
        tokio::spawn(async move {
            if let Err(error) = answering.await {
                complain(&format!("{path}: {error}"));
            }
            drop(slot);
        });
    }
}
