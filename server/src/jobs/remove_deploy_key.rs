//! Has GitHub forget the key of a pod that is deleted: tried for a week, whatever GitHub does meanwhile.

use crate::{
    account,
    control::ControlPlane,
    github::GitHubError,
    pods::{
        keys,
        store::{self, KeyRow},
    },
    queue::{Job, JobContext, Message, Outcome},
};
use async_trait::async_trait;
use pinacle_app::{
    ids::{PodId, UserId},
    pods::RepositoryAddress,
};
use std::time::Duration;
use time::OffsetDateTime;
use uuid::Uuid;

/// After that it is given up, and the log says so.
const TRIED_FOR: time::Duration = time::Duration::days(7);
/// First wait after a failure; doubled with each.
const AGAIN: Duration = Duration::from_secs(10);
const AGAIN_AT_MOST: Duration = Duration::from_secs(3600);
/// A registration that was under way as its pod was deleted has ended by then, one way or the other.
const IN_FLIGHT: time::Duration = time::Duration::seconds(30);

pub struct RemoveDeployKey {
    pub control: ControlPlane,
}

/// Why the key is still there.
enum Left {
    GitHub(GitHubError),
    /// Whoever registered it is no admin of the repository any more, or there is no such repository.
    NoAdmin,
    /// Whoever registered it has taken back the right to remove it, and may give it again.
    NoToken,
}

#[async_trait]
impl Job for RemoveDeployKey {
    async fn run(&self, _context: &JobContext, message: &Message) -> Outcome {
        let Some(id) = message.message.get("key_id").and_then(|id| id.as_str()).and_then(|id| id.parse::<Uuid>().ok()) else {
            return Outcome::Failed("the message names no key".to_owned());
        };
        self.remove(id).await.unwrap_or_else(|error| match crate::db::is_away(&error) {
            true => Outcome::Later(AGAIN),
            false => Outcome::Failed(error.to_string()),
        })
    }

    /// Only where it could not even be read: the sweep sends it again.
    async fn dead(&self, _context: &JobContext, message: &Message, error: &str) {
        tracing::error!(key = message.key, error, "a deploy key could not be looked at; the sweep sends it again");
    }
}

impl RemoveDeployKey {
    async fn remove(&self, id: Uuid) -> Result<Outcome, sqlx::Error> {
        let Some(key) = store::key(&self.control.db, id).await? else { return Ok(Outcome::Done) };
        let Some(since) = key.removing_since else { return Ok(Outcome::Done) };
        if key.github_key_id.is_none() && OffsetDateTime::now_utc() - since < IN_FLIGHT {
            return Ok(Outcome::Later(IN_FLIGHT.unsigned_abs()));
        }
        let mut done = self.at_github(&key, UserId(key.user_id)).await;
        // Who has taken the pod over since may remove what a former member registered.
        if done.is_err()
            && key.github_key_id.is_some()
            && let Some(pod) = store::get(&self.control.db, PodId(key.pod_id)).await?.filter(|pod| pod.owner_id != key.user_id)
        {
            done = self.at_github(&key, UserId(pod.owner_id)).await.or(done);
        }
        let left = match done {
            Ok(()) => {
                store::forget_key(&self.control.db, id).await?;
                return Ok(Outcome::Done);
            }
            Err(left) => left,
        };
        let (why, wait) = match left {
            Left::GitHub(GitHubError::RateLimited { retry_after }) => {
                ("GitHub has had too many requests".to_owned(), Duration::from_secs(retry_after.into()))
            }
            Left::GitHub(error) => (error.to_string(), Duration::ZERO),
            Left::NoAdmin => ("its owner is no admin of the repository".to_owned(), Duration::ZERO),
            Left::NoToken => ("its owner has allowed nothing at GitHub".to_owned(), Duration::ZERO),
        };
        if OffsetDateTime::now_utc() - since > TRIED_FOR {
            tracing::error!(pod = %key.pod_id, repository = key.repository, github_key_id = key.github_key_id, why, "a deploy key was not removed within a week: an admin of the repository has to remove it");
            store::forget_key(&self.control.db, id).await?;
            return Ok(Outcome::Done);
        }
        let tries = store::removal_failed(&self.control.db, id).await?;
        tracing::info!(pod = %key.pod_id, why, tries, "a deploy key is still at GitHub; tried again");
        Ok(Outcome::Later(pause(tries).max(wait)))
    }

    /// By this user's right.
    async fn at_github(&self, key: &KeyRow, user: UserId) -> Result<(), Left> {
        let Ok(RepositoryAddress::GitHub { owner, name }) = RepositoryAddress::parse(&key.repository) else { return Ok(()) };
        let token = match (account::github_token(&self.control, user).await, key.github_key_id) {
            (Ok(Some(token)), _) => token,
            // Without a token it was never registered.
            (Ok(None), None) => return Ok(()),
            (Ok(None) | Err(_), _) => return Err(Left::NoToken),
        };
        let (github, repository) = (&self.control.github, (owner.as_str(), name.as_str()));
        let id = match key.github_key_id {
            Some(id) => Some(id),
            // Who registered it may have died before it was written down.
            None => match github.deploy_key(&token, repository, &key.public_key).await {
                // Never its admin, so that it never took the key; or gone.
                Err(GitHubError::NotFound) => None,
                found => found.map_err(Left::GitHub)?,
            },
        };
        let Some(id) = id else { return Ok(()) };
        match github.remove_deploy_key(&token, repository, id).await {
            Ok(()) => Ok(()),
            Err(GitHubError::NotFound) => Err(Left::NoAdmin),
            Err(error) => {
                account::heard(&self.control, user, &error).await;
                Err(Left::GitHub(error))
            }
        }
    }
}

fn pause(tries: i32) -> Duration {
    AGAIN.saturating_mul(1 << tries.clamp(1, 16).saturating_sub(1)).min(AGAIN_AT_MOST)
}

/// Sends again what no message names.
pub async fn sweep(control: &ControlPlane, limit: i64) -> Result<(), sqlx::Error> {
    for id in store::removals_without_message(&control.db, limit).await? {
        let mut tx = control.db.begin().await?;
        keys::enqueue_removal(&mut tx, id).await?;
        tx.commit().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_between_tries_grows_to_an_hour() {
        assert_eq!(pause(1), Duration::from_secs(10));
        assert_eq!(pause(4), Duration::from_secs(80));
        assert_eq!(pause(1000), AGAIN_AT_MOST);
    }
}
