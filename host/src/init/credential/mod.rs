//! git's credential helper: where git is to sign in at the pod's own repository, it asks PID 1, which asks the control plane by way of
//! the daemon. What is answered goes through pipes and sockets alone, and is kept nowhere.
//!
//! On the socket: the helper sends [`Wanted`], PID 1 answers [`Outcome`].

mod client;
mod questions;
mod server;

use crate::protocol::{GitAnswer, GitCredential};
pub use client::run;
pub use questions::Questions;
use serde::{Deserialize, Serialize};
pub use server::serve;
use std::time::Duration;

/// The first argument of the helper; git adds what it is to do.
pub const HELPER: &str = "git-credential";
const SOCKET: &str = "/run/pinacle/git.sock";
/// From the question to its answer. Long enough for a daemon, or whoever answers, to be started anew meanwhile.
const DEADLINE: Duration = Duration::from_secs(30);

/// Where git is to sign in, in its own words (gitcredentials(7)).
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Wanted {
    protocol: String,
    host: String,
    path: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// Not the pod's repository: git goes on as if nobody had been asked.
    NotOwn,
    Answered(GitAnswer),
}

impl Wanted {
    /// A `key=value` a line.
    fn parse(text: &str) -> Self {
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap_or_default().to_owned();
        Self { protocol: value("protocol"), host: value("host"), path: value("path") }
    }

    fn is_of(&self, own: &GitCredential) -> bool {
        let origin = format!("{}://{}", self.protocol, self.host);
        // With `.git` or without; and what is below, where LFS signs in.
        let rest = self.path.strip_prefix(own.repository.as_str()).map(|rest| rest.strip_prefix(".git").unwrap_or(rest));
        origin == own.origin && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_the_pods_own_repository_is_asked_about() {
        let own = GitCredential { origin: "https://git.test:8443".into(), repository: "owner/site".into() };
        let asked = |protocol: &str, host: &str, path: &str| {
            Wanted::parse(&format!("capability[]=authtype\nprotocol={protocol}\nhost={host}\npath={path}\nusername=me\n")).is_of(&own)
        };
        for path in ["owner/site", "owner/site.git", "owner/site.git/info/lfs"] {
            assert!(asked("https", "git.test:8443", path), "{path}");
        }
        for path in ["", "owner", "owner/site2", "owner/site-two.git", "owner/other.git", "x/owner/site.git"] {
            assert!(!asked("https", "git.test:8443", path), "{path}");
        }
        assert!(!asked("http", "git.test:8443", "owner/site.git"));
        assert!(!asked("https", "git.test", "owner/site.git"));
        assert!(!Wanted::parse("protocol\nhost").is_of(&own));
    }
}
