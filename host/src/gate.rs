//! `pinacle-host gate`: joins standard input and output to the daemon's socket, and nothing else. It is the forced command
//! of the control plane's key.

use std::{io, path::Path, time::Duration};
use tokio::{
    io::{AsyncWriteExt, copy, stdin, stdout},
    net::UnixStream,
    time::timeout,
};

const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// Ends when the daemon closes the connection; at the end of standard input the daemon is told.
pub async fn gate(socket: &Path) -> io::Result<()> {
    let connecting = timeout(CONNECT_DEADLINE, UnixStream::connect(socket)).await;
    let (mut from, mut to) = connecting.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??.into_split();
    let inward = async move {
        copy(&mut stdin(), &mut to).await?;
        to.shutdown().await
    };
    let outward = async move {
        let mut out = stdout();
        copy(&mut from, &mut out).await?;
        out.flush().await
    };
    tokio::pin!(inward, outward);
    tokio::select! {
        ended = &mut outward => ended,
        // A daemon that listens no more may have a last word.
        ended = &mut inward => outward.await.and(ended),
    }
}
