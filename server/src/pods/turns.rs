//! Who changes what an owner's pods take together waits for the owner's row. Here they wait first, one by one and without a
//! connection: a flood of one user's would otherwise hold every connection while it waits, and everybody else with it.

use pinacle_app::ids::UserId;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::OwnedMutexGuard;

type Queue = Arc<tokio::sync::Mutex<()>>;

/// One queue for each owner for whom somebody waits or works.
#[derive(Default)]
pub struct Turns {
    queues: Mutex<HashMap<UserId, Queue>>,
}

/// It is one's turn for as long as this is held.
pub struct Turn<'a> {
    turns: &'a Turns,
    owner: UserId,
    held: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// In the order of asking. As many may wait as a user may have changes under way (`web/limits.rs`).
    pub async fn of(&self, owner: UserId) -> Turn<'_> {
        let queue = self.queues.lock().unwrap_or_else(PoisonError::into_inner).entry(owner).or_default().clone();
        // Made before the wait: whoever is dropped while it waits takes its queue with it, if it was the last.
        let mut turn = Turn { turns: self, owner, held: None };
        turn.held = Some(queue.lock_owned().await);
        turn
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.held = None;
        let mut queues = self.turns.queues.lock().unwrap_or_else(PoisonError::into_inner);
        // The map's own: nobody else waits or works.
        if queues.get(&self.owner).is_some_and(|queue| Arc::strong_count(queue) == 1) {
            queues.remove(&self.owner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use uuid::Uuid;

    #[tokio::test]
    async fn one_at_a_time_for_an_owner_in_order_and_no_owner_waits_for_another() {
        let turns = Turns::default();
        let (one, other) = (UserId(Uuid::from_u128(1)), UserId(Uuid::from_u128(2)));
        let first = turns.of(one).await;
        let mut second = Box::pin(turns.of(one));
        let mut third = Box::pin(turns.of(one));
        assert!(second.as_mut().now_or_never().is_none() && third.as_mut().now_or_never().is_none());
        drop(turns.of(other).now_or_never().expect("another's turn"));
        drop(first);
        assert!(third.as_mut().now_or_never().is_none(), "it came later");
        drop(second.as_mut().now_or_never().expect("its turn"));
        drop(third.as_mut().now_or_never().expect("its turn"));
        drop((second, third));
        assert!(turns.queues.lock().unwrap().is_empty(), "nothing is kept of whom nobody waits for");
    }

    #[tokio::test]
    async fn whoever_goes_while_it_waits_holds_nobody_up() {
        let turns = Turns::default();
        let owner = UserId(Uuid::from_u128(1));
        let first = turns.of(owner).await;
        let mut gone = Box::pin(turns.of(owner));
        assert!(gone.as_mut().now_or_never().is_none());
        drop(gone);
        drop(first);
        drop(turns.of(owner).now_or_never().expect("its turn"));
        assert!(turns.queues.lock().unwrap().is_empty());
    }
}
