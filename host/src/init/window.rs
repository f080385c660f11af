//! How much of a stream's output may be on its way: what its reader has not taken yet is held back here, not in the
//! connection that it shares with others.

use super::outbox::Gone;
use crate::{
    frame::{FrameReader, WINDOW, WINDOW_PIECES},
    protocol::StreamInput,
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{net::tcp::OwnedReadHalf, sync::Notify};

#[derive(Clone, Default)]
pub struct Window(Arc<State>);

#[derive(Default)]
struct State {
    on_the_way: Mutex<OnTheWay>,
    taken: Notify,
}

#[derive(Default)]
struct OnTheWay {
    /// What is not taken yet of each piece, the oldest first.
    pieces: VecDeque<usize>,
    bytes: usize,
}

impl Window {
    /// Waits until there is room, then counts a piece of `bytes` as on its way.
    pub async fn send(&self, bytes: usize) {
        loop {
            let taken = self.0.taken.notified();
            if self.count(bytes) {
                return;
            }
            taken.await;
        }
    }

    fn count(&self, bytes: usize) -> bool {
        let mut way = self.0.on_the_way.lock().unwrap_or_else(PoisonError::into_inner);
        let room = way.bytes < WINDOW && way.pieces.len() < WINDOW_PIECES;
        if room {
            way.bytes += bytes;
            way.pieces.push_back(bytes);
        }
        room
    }

    /// The reader has taken so many; more than was sent is nothing.
    pub fn taken(&self, bytes: u32) {
        let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
        {
            let mut way = self.0.on_the_way.lock().unwrap_or_else(PoisonError::into_inner);
            way.bytes = way.bytes.saturating_sub(left);
            while let Some(piece) = way.pieces.front_mut() {
                if *piece > left {
                    *piece -= left;
                    break;
                }
                left -= *piece;
                way.pieces.pop_front();
            }
        }
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

    #[tokio::test]
    async fn many_small_pieces_fill_it_too() {
        let window = Window::default();
        for _ in 0..WINDOW_PIECES {
            window.send(2).await;
        }
        assert!(!has_room(&window).await);
        window.taken(1);
        assert!(!has_room(&window).await, "half a piece is still on its way");
        window.taken(1);
        assert!(has_room(&window).await);
    }
}
