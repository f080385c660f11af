//! How much of a stream's output may be on its way: what its reader has not taken yet is held back here, not in the
//! connection that it shares with others.

use super::outbox::Gone;
use crate::{
    frame::{FrameReader, WINDOW},
    protocol::StreamInput,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{net::tcp::OwnedReadHalf, sync::Notify, time::timeout};

const LINGER: Duration = Duration::from_secs(10);

#[derive(Clone, Default)]
pub struct Window(Arc<State>);

#[derive(Default)]
struct State {
    on_the_way: AtomicUsize,
    taken: Notify,
}

impl Window {
    /// Waits until there is room, then counts `bytes` as on their way.
    pub async fn send(&self, bytes: usize) {
        loop {
            let taken = self.0.taken.notified();
            if self.0.on_the_way.load(Ordering::Acquire) < WINDOW {
                self.0.on_the_way.fetch_add(bytes, Ordering::AcqRel);
                return;
            }
            taken.await;
        }
    }

    /// The reader has taken so many; more than was sent is nothing.
    pub fn taken(&self, bytes: u32) {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let less = |sent: usize| Some(sent.saturating_sub(bytes));
        // The closure never refuses.
        self.0.on_the_way.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).unwrap_or_default();
        self.0.taken.notify_waiters();
    }

    /// Hears what the reader has taken, where it has nothing else to say; returns when it has gone.
    pub async fn listen(&self, input: &mut FrameReader<OwnedReadHalf>) -> Gone {
        while let Ok(Some(frame)) = input.next().await {
            if let Ok(StreamInput::Taken { bytes }) = frame.parse() {
                self.taken(bytes);
            }
        }
        Gone
    }

    /// After the last frame: what the reader still says is read until it has closed. A socket that is closed with input
    /// unread resets its connection, and takes with it what was not delivered yet.
    pub async fn linger(&self, input: &mut FrameReader<OwnedReadHalf>) {
        // Who keeps its end open longer has had the last frame by then.
        let _closed = timeout(LINGER, self.listen(input)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether there is room for one byte more, which is then on its way.
    async fn has_room(window: &Window) -> bool {
        tokio::select! {
            biased;
            () = window.send(1) => true,
            () = std::future::ready(()) => false,
        }
    }

    #[tokio::test]
    async fn a_full_window_waits_for_its_reader() {
        let window = Window::default();
        window.send(WINDOW).await;
        assert!(!has_room(&window).await);
        window.taken(1);
        assert!(has_room(&window).await);
        window.taken(u32::MAX);
        window.send(WINDOW).await;
    }
}
