//! How often and how much: token buckets for calls, slots for what stays open. Both know a bounded number of keys.

use pinacle_app::{AppError, ErrorCode};
use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// A burst, then so many a second.
#[derive(Clone, Copy)]
pub struct Rate {
    pub burst: f64,
    pub per_second: f64,
}

/// Changing calls of one user.
pub const CHANGES: Rate = Rate { burst: 100.0, per_second: 10.0 };
/// Server functions of one user, reading ones included, and files put in place by pages.
pub const CALLS: Rate = Rate { burst: 300.0, per_second: 30.0 };
/// Sign-ins begun from one address.
pub const SIGN_INS: Rate = Rate { burst: 60.0, per_second: 2.0 };
/// Streams of one user that are open at the same time.
pub const MOST_STREAMS: usize = 100;
/// Keys that are remembered; full buckets are forgotten first.
const MOST_KEYS: usize = 50_000;

pub struct Buckets<K> {
    rate: Rate,
    buckets: Mutex<HashMap<K, Bucket>>,
}

#[derive(Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl<K: Eq + Hash + Copy> Buckets<K> {
    pub fn new(rate: Rate) -> Self {
        Self { rate, buckets: Mutex::default() }
    }

    /// Takes one, or says after how many seconds there is one again.
    pub fn take(&self, key: K) -> Result<(), AppError> {
        self.take_at(key, Instant::now()).map_err(|wait| {
            // At most burst / per_second.
            let seconds = wait.as_secs_f64().ceil().max(1.0) as u32;
            let message = format!("Too many requests. Try again in {seconds} s.");
            AppError { retry_after: Some(seconds), ..AppError::new(ErrorCode::RateLimited, message) }
        })
    }

    fn take_at(&self, key: K, now: Instant) -> Result<(), Duration> {
        let Rate { burst, per_second } = self.rate;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let filled = |bucket: &Bucket| (bucket.left + now.saturating_duration_since(bucket.at).as_secs_f64() * per_second).min(burst);
        if buckets.len() >= MOST_KEYS && !buckets.contains_key(&key) {
            buckets.retain(|_, bucket| filled(bucket) < burst);
            if buckets.len() >= MOST_KEYS {
                return Err(Duration::from_secs(1));
            }
        }
        let bucket = buckets.entry(key).or_insert(Bucket { left: burst, at: now });
        let left = filled(bucket);
        if left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - left) / per_second));
        }
        *bucket = Bucket { left: left - 1.0, at: now };
        Ok(())
    }
}

/// Counts what is open per key.
pub struct Slots<K> {
    most: usize,
    open: Mutex<HashMap<K, usize>>,
}

/// Gives its slot back when it is dropped.
pub struct Slot<K: Eq + Hash + Copy> {
    slots: Arc<Slots<K>>,
    key: K,
}

impl<K: Eq + Hash + Copy> Slots<K> {
    pub fn new(most: usize) -> Self {
        Self { most, open: Mutex::default() }
    }

    pub fn take(self: &Arc<Self>, key: K) -> Result<Slot<K>, AppError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(key).or_default();
        if *count >= self.most {
            let message = format!("{} streams, transfers and commands are under way already. End some of them first.", self.most);
            return Err(AppError { retry_after: Some(5), ..AppError::new(ErrorCode::RateLimited, message) });
        }
        *count += 1;
        Ok(Slot { slots: self.clone(), key })
    }
}

impl<K: Eq + Hash + Copy> Drop for Slot<K> {
    fn drop(&mut self) {
        let mut open = self.slots.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_so_many_a_second() {
        let buckets = Buckets::new(CHANGES);
        let now = Instant::now();
        assert!((0..100).all(|_| buckets.take_at(1, now).is_ok()));
        assert!(buckets.take_at(1, now).is_err());
        assert!(buckets.take_at(2, now).is_ok(), "another user's is another bucket");
        let later = now + Duration::from_secs(1);
        assert_eq!((0..20).filter(|_| buckets.take_at(1, later).is_ok()).count(), 10);
        assert_eq!(buckets.take(1).unwrap_err().code, ErrorCode::RateLimited);
    }

    #[test]
    fn a_slot_that_is_dropped_is_free_again() {
        let slots = Arc::new(Slots::new(1));
        let slot = slots.take(1).ok();
        assert!(slot.is_some() && slots.take(1).is_err() && slots.take(2).is_ok());
        drop(slot);
        assert!(slots.take(1).is_ok());
        assert!(slots.open.lock().unwrap().is_empty());
    }
}
