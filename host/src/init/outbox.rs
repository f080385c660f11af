//! What goes out on a connection: a short queue and the one task that writes it. A slow reader stops those who fill it.

use crate::{
    frame::{Frame, FrameError},
    protocol::StreamOutput,
};
use bytes::{Buf, Bytes};
use serde::Serialize;
use std::time::Duration;
use tokio::{
    io::AsyncWriteExt,
    net::tcp::OwnedWriteHalf,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep_until},
};

/// Frames that wait to be written: with `DATA_CHUNK`, 128 KiB a connection.
const QUEUE: usize = 4;
/// For what was typed to be echoed: it is told of with the echo, and by itself when nothing was shown for so long.
const ECHO_TIME: Duration = Duration::from_millis(25);
/// Bytes of typing that are told of at once.
const MOST_UNTOLD: u64 = 4 << 10;

/// The other end has gone; whatever was being done for it ends.
#[derive(Debug)]
pub struct Gone;

/// Tells the other end that so many bytes of its input were taken.
pub async fn tell_taken(queue: &mpsc::Sender<Frame>, bytes: usize) -> Result<(), Gone> {
    let taken = StreamOutput::Taken { bytes: u32::try_from(bytes).unwrap_or(u32::MAX) };
    queue.send(Frame::json(&taken).map_err(|_| Gone)?).await.map_err(|_| Gone)
}

/// What a terminal has taken of its client's input, in bytes.
#[derive(Clone, Copy, Default)]
pub struct Typed {
    /// On all of the client's connections, as `StreamOutput::Typed` says it.
    pub total: u64,
    /// On this one.
    pub here: u64,
}

pub struct Outbox {
    queue: mpsc::Sender<Frame>,
    typed: watch::Sender<Typed>,
    writer: JoinHandle<()>,
}

impl Outbox {
    pub fn new(socket: OwnedWriteHalf) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let (typed, taken) = watch::channel(Typed::default());
        let writer = tokio::spawn(async move {
            // The queue closes with this task, which is how its senders learn of it.
            let _gone = write(socket, waiting, taken).await;
        });
        Self { queue, typed, writer }
    }

    /// For a task that sends data beside others.
    pub fn sender(&self) -> mpsc::Sender<Frame> {
        self.queue.clone()
    }

    /// For a terminal to say what it has taken, which never waits for the other end.
    pub fn typed(&self) -> watch::Sender<Typed> {
        self.typed.clone()
    }

    pub async fn send(&self, frame: Frame) -> Result<(), Gone> {
        self.queue.send(frame).await.map_err(|_| Gone)
    }

    pub async fn json(&self, value: &impl Serialize) -> Result<(), Gone> {
        self.send(Frame::json(value).map_err(|_| Gone)?).await
    }

    /// Resolves when the other end takes nothing more.
    pub async fn closed(&self) {
        self.queue.closed().await;
    }

    /// Waits until everything is written, and ends the connection's output.
    pub async fn flush(self) -> Result<(), Gone> {
        drop(self.queue);
        self.writer.await.map_err(|_| Gone)
    }
}

/// Until nobody is left who could send. What was typed is told of behind the next piece of output, and before a message, for that may be
/// the last.
async fn write(mut socket: OwnedWriteHalf, mut waiting: mpsc::Receiver<Frame>, mut typed: watch::Receiver<Typed>) -> Result<(), FrameError> {
    let (mut told, mut due) = (0, None);
    loop {
        let frame = tokio::select! {
            biased;
            frame = waiting.recv() => match frame {
                Some(frame) => Some(frame),
                None => return Ok(()),
            },
            Ok(()) = typed.changed() => {
                let untold = typed.borrow_and_update().here - told;
                if untold < MOST_UNTOLD {
                    due = due.or_else(|| Some(Instant::now() + ECHO_TIME));
                    continue;
                }
                None
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => None,
        };
        let taken = *typed.borrow_and_update();
        let tell = if taken.here > told { Frame::json(&StreamOutput::Typed { bytes: Some(taken.total) })?.encode()? } else { Bytes::new() };
        (told, due) = (taken.here, None);
        let mut wire = match frame {
            Some(message @ Frame::Json(_)) => tell.chain(message.encode()?),
            Some(data) => data.encode()?.chain(tell),
            None => tell.chain(Bytes::new()),
        };
        socket.write_all_buf(&mut wire).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FrameReader;
    use tokio::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn what_was_typed_is_told_of_behind_its_echo_or_by_itself_and_before_the_end() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let viewer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (_input, socket) = listener.accept().await.unwrap().0.into_split();
        let (outbox, mut viewer) = (Outbox::new(socket), FrameReader::new(viewer));
        let typed = outbox.typed();
        let told = |bytes| Frame::json(&StreamOutput::Typed { bytes: Some(bytes) }).unwrap();

        let echo = Frame::Data(Bytes::from_static(b"l"));
        typed.send_replace(Typed { total: 101, here: 1 });
        outbox.send(echo.clone()).await.unwrap();
        assert_eq!(viewer.next().await.unwrap(), Some(echo.clone()));
        assert_eq!(viewer.next().await.unwrap(), Some(told(101)));

        outbox.send(echo.clone()).await.unwrap();
        assert_eq!(viewer.next().await.unwrap(), Some(echo));
        typed.send_replace(Typed { total: 102, here: 2 });
        assert_eq!(viewer.next().await.unwrap(), Some(told(102)), "without an echo, and once");

        typed.send_replace(Typed { total: 103, here: 3 });
        let end = StreamOutput::Exit { code: Some(0), signal: None, timed_out: false };
        outbox.json(&end).await.unwrap();
        outbox.flush().await.unwrap();
        assert_eq!(viewer.next().await.unwrap(), Some(told(103)));
        assert_eq!(viewer.next().await.unwrap(), Some(Frame::json(&end).unwrap()));
    }
}
