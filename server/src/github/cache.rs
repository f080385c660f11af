//! A few answers of GitHub's, kept for seconds so that typing in a search box does not ask for each letter.

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long an answer is given again without asking.
const FRESH: Duration = Duration::from_secs(20);
/// How long it is worth asking by ETag.
const KEPT: Duration = Duration::from_secs(600);
const MOST_ENTRIES: usize = 128;
/// Bytes of one answer that is kept: 96 MiB in all at most.
const MOST_BODY: usize = 768 << 10;

/// Of the token and the address: an answer is never given to another account.
pub type Key = [u8; 32];

pub fn key(token: Option<&SecretString>, address: &str) -> Key {
    let mut digest = Sha256::new();
    digest.update(Sha256::digest(token.map_or("", |token| token.expose_secret())));
    digest.update(address);
    digest.finalize().into()
}

#[derive(Clone, Default)]
pub struct Cache(Arc<Mutex<HashMap<Key, Kept>>>);

#[derive(Clone)]
pub struct Kept {
    pub etag: Option<HeaderValue>,
    pub body: Arc<[u8]>,
    /// Whether there is a next page.
    pub more: bool,
    asked: Instant,
}

impl Kept {
    pub fn new(etag: Option<HeaderValue>, body: Vec<u8>, more: bool) -> Self {
        Self { etag, body: body.into(), more, asked: Instant::now() }
    }

    pub fn is_fresh(&self) -> bool {
        self.asked.elapsed() < FRESH
    }

    pub fn renewed(self) -> Self {
        Self { asked: Instant::now(), ..self }
    }
}

impl Cache {
    pub fn get(&self, key: &Key) -> Option<Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).filter(|kept| kept.asked.elapsed() < KEPT).cloned()
    }

    pub fn put(&self, key: Key, kept: Kept) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.body.len() > MOST_BODY {
            entries.remove(&key);
            return;
        }
        if entries.len() >= MOST_ENTRIES && !entries.contains_key(&key) {
            let oldest = entries.iter().min_by_key(|(_, kept)| kept.asked).map(|(key, _)| *key);
            oldest.map(|oldest| entries.remove(&oldest));
        }
        entries.insert(key, kept);
    }
}

#[cfg(test)]
impl Cache {
    /// As if everything in it had been asked for when it is no longer given again without asking.
    pub fn age(&self) {
        self.0.lock().unwrap().values_mut().for_each(|kept| kept.asked -= FRESH);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_bounded_and_keeps_accounts_apart() {
        let (mine, theirs) = (SecretString::from("a"), SecretString::from("b"));
        assert_ne!(key(Some(&mine), "x"), key(Some(&theirs), "x"));
        let cache = Cache::default();
        for number in 0..MOST_ENTRIES + 10 {
            cache.put(key(None, &number.to_string()), Kept::new(None, vec![1], false));
        }
        assert_eq!(cache.0.lock().unwrap().len(), MOST_ENTRIES);
        assert!(cache.get(&key(None, "0")).is_none(), "the oldest went");
        cache.put(key(None, "big"), Kept::new(None, vec![0; MOST_BODY + 1], false));
        assert!(cache.get(&key(None, "big")).is_none());
    }
}
