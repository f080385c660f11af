//! Faults that an admin call switches on for paths that begin with a text.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Faults that may be waiting at once.
const MOST_FAULTS: usize = 100;
/// How long a slow answer takes if the switch does not say.
const SLOW: Duration = Duration::from_secs(15);
/// Longest delay: no request hangs for ever.
const SLOWEST: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    Error500,
    Slow,
    RateLimited,
    Revoked,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Beginning of the path without `/api/v3`, such as `/user` or `/login/oauth/access_token`.
    pub path: String,
    pub mode: Mode,
    /// How many requests it hits; all until it is cleared, if left out.
    #[serde(default)]
    pub times: Option<u32>,
    /// Of `slow`.
    #[serde(default)]
    pub delay_ms: Option<u64>,
}

impl Fault {
    pub fn delay(&self) -> Duration {
        self.delay_ms.map_or(SLOW, Duration::from_millis).min(SLOWEST)
    }
}

#[derive(Default)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// False when there are too many already.
    pub fn add(&mut self, fault: Fault) -> bool {
        if self.0.len() >= MOST_FAULTS || fault.times == Some(0) {
            return false;
        }
        self.0.push(fault);
        true
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn list(&self) -> &[Fault] {
        &self.0
    }

    /// The fault that hits this request, used up by one.
    pub fn strike(&mut self, path: &str) -> Option<Fault> {
        let path = path.strip_prefix("/api/v3").unwrap_or(path);
        let at = self.0.iter().position(|fault| path.starts_with(&fault.path))?;
        let struck = self.0[at].clone();
        if let Some(times) = &mut self.0[at].times {
            *times -= 1;
            if *times == 0 {
                self.0.remove(at);
            }
        }
        Some(struck)
    }
}
