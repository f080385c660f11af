//! Sends what a command says, piece by piece, as its reader has room for it.

use super::{pty::Pty, window::Window};
use crate::frame::{DATA_CHUNK, Frame};
use bytes::{Bytes, BytesMut};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::AsyncReadExt,
    net::unix::pipe::Receiver,
    sync::{mpsc, watch},
    time::timeout,
};

/// What is still sent after a command's end, in bytes of one source; a job left in the background may go on writing.
const AFTER_END: usize = 256 << 10;

/// Where a command's output comes from.
pub trait Source: Send {
    /// At most `DATA_CHUNK` bytes into an empty buffer; 0 or an error at its end.
    fn piece(&mut self, into: &mut BytesMut) -> impl Future<Output = io::Result<usize>> + Send;
}

impl Source for Receiver {
    async fn piece(&mut self, into: &mut BytesMut) -> io::Result<usize> {
        self.read_buf(into).await
    }
}

impl Source for Arc<Pty> {
    async fn piece(&mut self, into: &mut BytesMut) -> io::Result<usize> {
        into.resize(DATA_CHUNK, 0);
        let read = self.read(into).await?;
        into.truncate(read);
        Ok(read)
    }
}

/// Whether more may come out of a source that nobody listens to any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    Nothing,
    More,
}

/// Where the pieces go.
pub struct Sink {
    pub queue: mpsc::Sender<Frame>,
    pub frame: fn(Bytes) -> Frame,
    pub window: Option<Window>,
}

/// Until the source's end. Once `end` says that the command has ended, until nothing more came for as long as `silence`; at once when
/// nobody is left to say so.
pub async fn pump(source: &mut impl Source, sink: Sink, silence: Duration, mut end: watch::Receiver<bool>) -> Left {
    let mut after_end = 0;
    loop {
        let mut piece = BytesMut::with_capacity(DATA_CHUNK);
        let ended = *end.borrow();
        let read = if ended {
            if after_end >= AFTER_END {
                return Left::More;
            }
            match timeout(silence, source.piece(&mut piece)).await {
                Ok(read) => read,
                Err(_) => return Left::More,
            }
        } else {
            tokio::select! {
                biased;
                read = source.piece(&mut piece) => read,
                said = end.changed() => match said {
                    Ok(()) => continue,
                    Err(_) => return Left::More,
                },
            }
        };
        match read {
            // EIO of a pty: the last process has closed its end.
            Ok(0) | Err(_) => return Left::Nothing,
            Ok(read) if ended => after_end += read,
            Ok(_) => {}
        }
        if let Some(window) = &sink.window {
            tokio::select! {
                () = window.send(piece.len()) => {}
                () = gone(&mut end) => return Left::More,
            }
        }
        if sink.queue.send((sink.frame)(piece.freeze())).await.is_err() {
            return Left::More;
        }
    }
}

/// Until nobody is left who could say more.
async fn gone(end: &mut watch::Receiver<bool>) {
    while end.changed().await.is_ok() {}
}
