//! What git in a pod signs in with where it has no key: a token of the GitHub App's for the pod's repository, made when git asks, for
//! as much as the pod's owner may do there at that time.

use super::store::{self, PodRow};
use crate::{
    account,
    control::ControlPlane,
    db,
    github::{GitHubError, Grant, Repository, ShortToken},
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
const DEADLINE: Duration = Duration::from_secs(10);
/// GitHub is asked once in so long for a pod whose git signs in again and again, as a script's may.
const GIVEN_AGAIN: Duration = Duration::from_secs(60);
/// The same where GitHub has said no: who changes that there tries again soon.
const REFUSED_AGAIN: Duration = Duration::from_secs(5);
/// And the token is good for so long yet: a clone may take that.
const GOOD_FOR: time::Duration = time::Duration::minutes(15);
const MOST_KEPT: usize = 10_000;

/// Why git gets none: a sentence for whoever sees what it prints.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
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
    #[error("GitHub does not accept this installation's own GitHub App. An operator should look at the server's log.")]
    AppRefused,
    #[error("{}", words(.0))]
    GitHub(GitHubError),
    #[error("Pinacle can't answer now. Try again in a moment.")]
    Fault,
}

impl NoToken {
    /// Whether GitHub has said that there may be none.
    fn is_final(&self) -> bool {
        matches!(self, Self::NoApp | Self::GitHub(GitHubError::NotFound | GitHubError::Refused(_)))
    }

    /// Whether nothing is known of what GitHub would say.
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::AppRefused | Self::GitHub(_)) && !self.is_final()
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

/// Tokens that were made just now, and refusals, in memory alone. Another owner of the pod has others.
#[derive(Default)]
pub struct Tokens(Mutex<HashMap<(PodId, UserId), Made>>);

struct Made {
    at: Instant,
    what: Result<ShortToken, NoToken>,
}

impl Made {
    fn is_given_again(&self) -> bool {
        match &self.what {
            Ok(token) => self.at.elapsed() < GIVEN_AGAIN && token.expires_at - OffsetDateTime::now_utc() > GOOD_FOR,
            Err(_) => self.at.elapsed() < REFUSED_AGAIN,
        }
    }

    fn given(&self) -> Result<SecretString, NoToken> {
        self.what.as_ref().map(|token| token.token.clone()).map_err(NoToken::clone)
    }
}

impl Tokens {
    fn all(&self) -> MutexGuard<'_, HashMap<(PodId, UserId), Made>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, of: (PodId, UserId)) -> Option<Result<SecretString, NoToken>> {
        self.all().get(&of).filter(|made| made.is_given_again()).map(Made::given)
    }

    /// What was made, kept where it may be given again.
    fn keep(&self, of: (PodId, UserId), what: Result<ShortToken, NoToken>) -> Result<SecretString, NoToken> {
        let made = Made { at: Instant::now(), what };
        let given = made.given();
        let mut all = self.all();
        all.retain(|_, made| made.is_given_again());
        if all.len() < MOST_KEPT && given.as_ref().err().is_none_or(NoToken::is_final) {
            all.insert(of, made);
        }
        given
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
        Some(known) => Ok(known),
        None => make(control, &row, (&owner, &name)).await,
    }
}

/// There, and neither ended nor about to be.
fn runs_on(row: &PodRow, host: HostId) -> bool {
    row.host_id == Some(host.0) && is_up(row.status(), row.desired())
}

fn is_up(status: PodStatus, desired: Desired) -> bool {
    matches!(status, PodStatus::Provisioning | PodStatus::Starting | PodStatus::Running) && desired == Desired::Running
}

/// Asks GitHub, whatever was made before.
pub async fn make(control: &ControlPlane, row: &PodRow, (owner, name): (&str, &str)) -> AppResult<Result<SecretString, NoToken>> {
    if !control.github.has_app() {
        return Ok(Err(NoToken::NoApp));
    }
    let user = UserId(row.owner_id);
    let Some(grant) = account::github_grant(control, user).await?.filter(Grant::has_repositories) else { return Ok(Err(NoToken::NoConsent)) };
    let made = match control.github.repository(Some(&grant.token), owner, name).await {
        Ok(repository) => made_by_the_app(control, (owner, name), &repository).await,
        Err(error) => {
            account::heard(control, user, &error).await;
            Err(NoToken::GitHub(error))
        }
    };
    if let Err(why) = &made {
        tracing::info!(?why, pod = %row.id, "a pod gets no token for its repository");
    }
    Ok(control.git_tokens.keep((row.id(), user), made))
}

/// What is wrong with the App itself is nothing that the pod's owner could mend.
async fn made_by_the_app(control: &ControlPlane, (owner, name): (&str, &str), repository: &Repository) -> Result<ShortToken, NoToken> {
    match control.github.repository_token(owner, name, repository.id, repository.may_push).await {
        Ok(Some(made)) => Ok(made),
        Ok(None) => Err(NoToken::NoApp),
        Err(GitHubError::Unauthorized) => {
            tracing::error!("GitHub does not accept the GitHub App: are its id and its key right, and the clock?");
            Err(NoToken::AppRefused)
        }
        Err(error) => Err(NoToken::GitHub(error)),
    }
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
        let is = |given: Option<Result<SecretString, NoToken>>, text: &str| given.unwrap().unwrap().expose_secret() == text;
        assert!(is(Some(tokens.keep((pod, owner), Ok(token("t", 60)))), "t"));
        assert!(is(tokens.get((pod, owner)), "t"));
        assert!(tokens.get((pod, other)).is_none(), "who takes the pod over has rights of their own");
        tokens.all().values_mut().for_each(|made| made.at -= GIVEN_AGAIN);
        assert!(tokens.get((pod, owner)).is_none());
        assert!(is(Some(tokens.keep((pod, other), Ok(token("ends", 15)))), "ends"));
        assert!(tokens.get((pod, other)).is_none(), "a clone may take longer");
        assert_eq!(tokens.all().len(), 1, "nothing is kept for longer than it is given");
    }

    #[test]
    fn what_github_has_refused_is_refused_again_for_a_moment_and_its_silence_is_not_kept() {
        let tokens = Tokens::default();
        let (pod, owner) = (PodId(Uuid::from_u128(1)), UserId(Uuid::from_u128(2)));
        for silent in [NoToken::GitHub(GitHubError::Unauthorized), NoToken::GitHub(GitHubError::Unavailable("x".to_owned())), NoToken::AppRefused] {
            assert!(silent.is_silence() && tokens.keep((pod, owner), Err(silent)).is_err() && tokens.get((pod, owner)).is_none());
        }
        assert!(tokens.keep((pod, owner), Err(NoToken::NoApp)).is_err() && !NoToken::NoApp.is_silence());
        assert!(matches!(tokens.get((pod, owner)), Some(Err(NoToken::NoApp))));
        tokens.all().values_mut().for_each(|made| made.at -= REFUSED_AGAIN);
        assert!(tokens.get((pod, owner)).is_none());
    }

    #[test]
    fn a_pod_that_is_to_stop_or_has_ended_is_given_none() {
        for status in [PodStatus::Provisioning, PodStatus::Starting, PodStatus::Running] {
            assert!(is_up(status, Desired::Running) && !is_up(status, Desired::Stopped) && !is_up(status, Desired::Deleted));
        }
        for status in [PodStatus::Queued, PodStatus::Stopping, PodStatus::Stopped, PodStatus::Failed, PodStatus::Deleting, PodStatus::Deleted] {
            assert!(!is_up(status, Desired::Running), "{status:?}");
        }
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
        let others =
            [NoToken::NotRunning, NoToken::OtherWay, NoToken::OwnerLeft, NoToken::NoConsent, NoToken::NoApp, NoToken::AppRefused, NoToken::Fault];
        for why in others.into_iter().chain(github.map(NoToken::GitHub)) {
            let words = why.to_string();
            assert!(valid::git_answer(&GitAnswer::refused(&words)).is_ok() && !words.contains("a cause"), "{words}");
        }
    }
}
