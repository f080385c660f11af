//! Who was told to wait is not asked for again before its time: GitHub blocks those who go on.

use super::{
    GitHubError,
    cache::{self, Key},
};
use secrecy::SecretString;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Tokens that are remembered; those whose time has come are forgotten first.
const MOST: usize = 10_000;

#[derive(Clone, Default)]
pub struct Waits(Arc<Mutex<HashMap<Key, Instant>>>);

fn key(token: Option<&SecretString>) -> Key {
    cache::key(token, "")
}

impl Waits {
    /// Refuses a call whose time has not come, without making it.
    pub fn check(&self, token: Option<&SecretString>) -> Result<(), GitHubError> {
        let until = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key(token)).copied();
        match until.and_then(|until| until.checked_duration_since(Instant::now())) {
            Some(left) => Err(GitHubError::RateLimited { retry_after: u32::try_from(left.as_secs() + 1).unwrap_or(u32::MAX) }),
            None => Ok(()),
        }
    }

    /// Remembers a refusal that says to wait; passes every error on.
    pub fn heard(&self, token: Option<&SecretString>, error: GitHubError) -> GitHubError {
        if let GitHubError::RateLimited { retry_after } = error {
            let now = Instant::now();
            let mut waits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if waits.len() >= MOST {
                waits.retain(|_, until| *until > now);
            }
            if waits.len() < MOST {
                waits.insert(key(token), now + Duration::from_secs(retry_after.into()));
            }
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_told_to_wait_is_not_asked_for_and_others_are() {
        let (waits, mine, theirs) = (Waits::default(), SecretString::from("a"), SecretString::from("b"));
        assert_eq!(waits.check(Some(&mine)), Ok(()));
        waits.heard(Some(&mine), GitHubError::NotFound);
        assert_eq!(waits.check(Some(&mine)), Ok(()), "only what says to wait");
        waits.heard(Some(&mine), GitHubError::RateLimited { retry_after: 60 });
        assert!(matches!(waits.check(Some(&mine)), Err(GitHubError::RateLimited { retry_after: 59..=61 })));
        assert_eq!((waits.check(Some(&theirs)), waits.check(None)), (Ok(()), Ok(())));
        waits.heard(Some(&mine), GitHubError::RateLimited { retry_after: 0 });
        assert_eq!(waits.check(Some(&mine)), Ok(()), "its time has come");
    }
}
