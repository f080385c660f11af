//! What goes out on a connection: a short queue and the one task that writes it. A slow reader stops those who fill it.

use crate::{
    frame::{Frame, write_frame},
    protocol::StreamOutput,
};
use serde::Serialize;
use tokio::{net::tcp::OwnedWriteHalf, sync::mpsc, task::JoinHandle};

/// Frames that wait to be written: with `DATA_CHUNK`, 128 KiB a connection.
const QUEUE: usize = 4;

/// The other end has gone; whatever was being done for it ends.
#[derive(Debug)]
pub struct Gone;

/// Tells the other end that so many bytes of its input were taken.
pub async fn tell_taken(queue: &mpsc::Sender<Frame>, bytes: usize) -> Result<(), Gone> {
    let taken = StreamOutput::Taken { bytes: u32::try_from(bytes).unwrap_or(u32::MAX) };
    queue.send(Frame::json(&taken).map_err(|_| Gone)?).await.map_err(|_| Gone)
}

pub struct Outbox {
    queue: mpsc::Sender<Frame>,
    writer: JoinHandle<()>,
}

impl Outbox {
    pub fn new(mut socket: OwnedWriteHalf) -> Self {
        let (queue, mut waiting) = mpsc::channel(QUEUE);
        let writer = tokio::spawn(async move {
            while let Some(frame) = waiting.recv().await {
                // The queue closes with this task, which is how its senders learn of it.
                if write_frame(&mut socket, &frame).await.is_err() {
                    return;
                }
            }
        });
        Self { queue, writer }
    }

    /// For a task that sends data beside others.
    pub fn sender(&self) -> mpsc::Sender<Frame> {
        self.queue.clone()
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
