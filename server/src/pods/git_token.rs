//! What git in a pod signs in with where it has no key: a token of the GitHub App's for the pod's repository, made when git asks, for
//! as much as the pod's owner may do there at that time.

use super::store::{self, PodRow};
use crate::{
    account,
    control::ControlPlane,
    db,
    github::{GitHubError, ShortToken},
};
use pinacle_app::{
    AppResult,
    ids::{HostId, PodId, UserId},
    pods::{Desired, GitWay, PodStatus, RepositoryAddress},
};
use pinacle_host::protocol::GitAnswer;
use secrecy::{ExposeSecret, SecretString};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use time::OffsetDateTime;
use tokio::time::timeout;

/// User name that GitHub takes beside a token.
const USER: &str = "x-access-token";
/// Less than a host waits for the answer.
const DEADLINE: Duration = Duration::from_secs(20);
/// GitHub is asked once in so long for a pod whose git signs in again and again, as a script's may.
const GIVEN_AGAIN: Duration = Duration::from_secs(60);
/// And the token is good for so long yet: a clone may take that.
const GOOD_FOR: time::Duration = time::Duration::minutes(15);
const MOST_KEPT: usize = 10_000;

/// Why git gets none: a sentence for whoever sees what it prints.
#[derive(Debug, thiserror::Error)]
pub enum NoToken {
    #[error("This pod is not known to run. Try again in a moment; if that does not help, restart it.")]
    NotRunning,
    #[error("This pod has no token for its repository. Set it up again to have its access looked at once more.")]
    OtherWay,
    #[error("The owner of this pod has left its team, and nobody signs in for them any more. An owner of the team takes the pod over first.")]
    OwnerLeft,
    #[error("The owner of this pod has not allowed access to GitHub. It is allowed on the account's page; then try again.")]
    NoConsent,
    #[error("The GitHub App that makes tokens is not installed at this repository. Its owner at GitHub can install it.")]
    NoApp,
    #[error("{}", words(.0))]
    GitHub(GitHubError),
    #[error("Pinacle can't answer now. Try again in a moment.")]
    Fault,
}

impl NoToken {
    /// Whether GitHub has not said that there may be none.
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::GitHub(error) if !matches!(error, GitHubError::NotFound | GitHubError::Refused(_)))
    }
}

fn words(error: &GitHubError) -> String {
    match error {
        GitHubError::NotFound => "GitHub lets the owner of this pod no longer see this repository, or there is none of that name.".to_owned(),
        GitHubError::Unauthorized => {
            "GitHub no longer accepts what the owner of this pod had allowed. It is renewed on the account's page; then try again.".to_owned()
        }
        GitHubError::RateLimited { retry_after } => format!("GitHub takes no more requests for now. Try again in {retry_after} s."),
        GitHubError::Refused(why) => format!("GitHub gives no token for this repository: {why}"),
        GitHubError::Unavailable(_) | GitHubError::Unexpected(_) => "GitHub does not answer. Try again in a moment.".to_owned(),
    }
}

/// Tokens that were made just now, in memory alone. Another owner of the pod gets another one.
#[derive(Default)]
pub struct Tokens(Mutex<HashMap<(PodId, UserId), Made>>);

struct Made {
    at: Instant,
    token: ShortToken,
}

impl Made {
    fn is_given_again(&self) -> bool {
        self.at.elapsed() < GIVEN_AGAIN && self.token.expires_at - OffsetDateTime::now_utc() > GOOD_FOR
    }
}

impl Tokens {
    fn all(&self) -> MutexGuard<'_, HashMap<(PodId, UserId), Made>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, of: (PodId, UserId)) -> Option<SecretString> {
        self.all().get(&of).filter(|made| made.is_given_again()).map(|made| made.token.token.clone())
    }

    fn keep(&self, of: (PodId, UserId), token: ShortToken) {
        let mut all = self.all();
        all.retain(|_, made| made.is_given_again());
        if all.len() < MOST_KEPT {
            all.insert(of, Made { at: Instant::now(), token });
        }
    }
}

/// To git in this pod, as the host says that it runs it: believed of pods that it has.
pub async fn answer(control: &ControlPlane, host: HostId, pod: PodId) -> GitAnswer {
    let asked = async { sign_in(control, host, pod).await.unwrap_or(Err(NoToken::Fault)) };
    let late = |_| Err(NoToken::GitHub(GitHubError::Unavailable("it took too long".to_owned())));
    match timeout(DEADLINE, asked).await.unwrap_or_else(late) {
        Ok(token) => GitAnswer::Credential { username: USER.to_owned(), token: token.expose_secret().into() },
        Err(why) => {
            tracing::debug!(%why, %pod, %host, "git in a pod gets no token");
            GitAnswer::refused(why.to_string())
        }
    }
}

async fn sign_in(control: &ControlPlane, host: HostId, pod: PodId) -> AppResult<Result<SecretString, NoToken>> {
    let row = store::get(&control.db, pod).await.map_err(db::fault)?.filter(|row| runs_on(row, host));
    let Some(row) = row else { return Ok(Err(NoToken::NotRunning)) };
    if row.owner_left_at.is_some() {
        return Ok(Err(NoToken::OwnerLeft));
    }
    let way = row.git_access.as_ref().map(|access| access.0.way);
    let (Some(GitWay::AppToken), Some(Ok(RepositoryAddress::GitHub { owner, name }))) =
        (way, row.repository.as_deref().map(RepositoryAddress::parse))
    else {
        return Ok(Err(NoToken::OtherWay));
    };
    match control.git_tokens.get((pod, UserId(row.owner_id))) {
        Some(token) => Ok(Ok(token)),
        None => make(control, &row, (&owner, &name)).await,
    }
}

/// There, and neither ended nor about to be.
fn runs_on(row: &PodRow, host: HostId) -> bool {
    let is_up = matches!(row.status(), PodStatus::Provisioning | PodStatus::Starting | PodStatus::Running);
    row.host_id == Some(host.0) && is_up && row.desired() == Desired::Running
}

/// Asks GitHub, whatever was made before.
pub async fn make(control: &ControlPlane, row: &PodRow, (owner, name): (&str, &str)) -> AppResult<Result<SecretString, NoToken>> {
    if !control.github.has_app() {
        return Ok(Err(NoToken::NoApp));
    }
    let user = UserId(row.owner_id);
    let Some(grant) = account::github_grant(control, user).await? else { return Ok(Err(NoToken::NoConsent)) };
    let asked = async {
        let repository = control.github.repository(Some(&grant.token), owner, name).await?;
        control.github.repository_token(owner, name, repository.id, repository.may_push).await
    };
    let asked: Result<Option<ShortToken>, GitHubError> = asked.await;
    Ok(match asked {
        Ok(Some(made)) => {
            let token = made.token.clone();
            control.git_tokens.keep((row.id(), user), made);
            Ok(token)
        }
        Ok(None) => Err(NoToken::NoApp),
        Err(error) => {
            account::heard(control, user, &error).await;
            tracing::info!(%error, pod = %row.id, "a pod gets no token for its repository");
            Err(NoToken::GitHub(error))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use pinacle_host::valid;
    use uuid::Uuid;

    fn token(text: &str, minutes: i64) -> ShortToken {
        ShortToken { token: SecretString::from(text), expires_at: OffsetDateTime::now_utc() + time::Duration::minutes(minutes) }
    }

    #[test]
    fn a_token_is_given_again_to_the_same_pod_and_owner_for_a_minute() {
        let tokens = Tokens::default();
        let (pod, owner, other) = (PodId(Uuid::from_u128(1)), UserId(Uuid::from_u128(2)), UserId(Uuid::from_u128(3)));
        assert!(tokens.get((pod, owner)).is_none());
        tokens.keep((pod, owner), token("t", 60));
        assert_eq!(tokens.get((pod, owner)).unwrap().expose_secret(), "t");
        assert!(tokens.get((pod, other)).is_none(), "who takes the pod over has rights of their own");
        tokens.all().values_mut().for_each(|made| made.at -= GIVEN_AGAIN);
        assert!(tokens.get((pod, owner)).is_none());
        tokens.keep((pod, other), token("ends", 15));
        assert!(tokens.get((pod, other)).is_none(), "a clone may take longer");
        assert_eq!(tokens.all().len(), 1, "nothing is kept for longer than it is given");
    }

    #[test]
    fn every_refusal_is_one_line_that_a_host_takes() {
        let github = [
            GitHubError::NotFound,
            GitHubError::Unauthorized,
            GitHubError::RateLimited { retry_after: 3600 },
            GitHubError::Refused("\u{1f511}".repeat(200)),
            GitHubError::Unavailable("a cause".to_owned()),
            GitHubError::Unexpected("a cause".to_owned()),
        ];
        let others = [NoToken::NotRunning, NoToken::OtherWay, NoToken::OwnerLeft, NoToken::NoConsent, NoToken::NoApp, NoToken::Fault];
        for why in others.into_iter().chain(github.map(NoToken::GitHub)) {
            let words = why.to_string();
            assert!(valid::git_answer(&GitAnswer::refused(&words)).is_ok() && !words.contains("a cause"), "{words}");
        }
    }
}
