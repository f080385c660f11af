//! Settles how git in a pod reaches its repository at GitHub: with a deploy key of the pod's own wherever the right of the
//! pod's owner allows one. The owner's token at GitHub never enters a pod.

use super::{
    git_token,
    store::{self, KeyRow, PodRow},
};
use crate::{
    account,
    control::ControlPlane,
    db,
    github::{GitHubError, Grant},
    ssh::pair,
};
use pinacle_app::{
    AppError, AppResult,
    ids::{PodId, UserId},
    pods::{GitAccess, GitWay, GitWhy, RepositoryAddress},
};
use pinacle_host::protocol::{GitCredential, GitOverSsh, PodConfig};
use secrecy::SecretString;
use uuid::Uuid;
use zeroize::Zeroizing;

/// Characters of a title at GitHub.
const MOST_TITLE: usize = 100;

/// What the pod gets for it.
pub struct Way {
    pub access: GitAccess,
    key: Option<Zeroizing<String>>,
    repository: String,
}

impl Way {
    /// Puts it into what the pod is told.
    pub fn tell(self, control: &ControlPlane, config: &mut PodConfig) {
        let github = &control.config;
        let origin = github.github_git_url.origin().ascii_serialization();
        if self.access.way == GitWay::AppToken {
            config.git_credential = Some(GitCredential { origin, repository: self.repository });
            return;
        }
        let Some(key) = self.key else { return };
        config.ssh_private_key = Some(key.as_str().into());
        config.git_over_ssh = Some(GitOverSsh {
            host: github.github_ssh_url.host_str().unwrap_or_default().to_owned(),
            port: github.github_ssh_url.port().unwrap_or(22),
            repository: self.repository,
            origin,
            host_keys: github.github_ssh_host_keys.clone(),
        });
    }
}

/// None: the pod has no repository at GitHub. With `again`, what was settled before is looked at once more. What GitHub does not
/// answer makes no error: the pod runs, and its page says which way it has and why.
pub async fn settle(control: &ControlPlane, row: &PodRow, lease: i64, again: bool) -> AppResult<Option<Way>> {
    let Some(Ok(RepositoryAddress::GitHub { owner, name })) = row.repository.as_deref().map(RepositoryAddress::parse) else { return Ok(None) };
    let settling = Settling { control, row, lease, repository: format!("{owner}/{name}"), owner, name };
    // Nobody's account goes on working in a team that it has left: what the pod has stays, and nothing more is asked for.
    let again = again && row.owner_left_at.is_none();
    let tokens = settling.tokens();
    let known = store::key_of(&control.db, row.id()).await.map_err(db::fault)?;
    // A key that tokens have taken the place of is looked at again.
    let registered = match known.filter(|key| key.github_key_id.is_some() && !again && tokens.is_none()) {
        Some(key) => Ok(key),
        // Whoever takes the pod over is given some.
        None if row.owner_left_at.is_some() => {
            return Ok(tokens.map(|access| Way { access: access.clone(), key: None, repository: settling.repository }));
        }
        None => settling.register().await?,
    };
    let (key, access) = match registered {
        Ok(key) => (Some(settling.private_half(&key)?), GitAccess { way: GitWay::DeployKey, why: None }),
        Err(why) => (None, GitAccess { way: settling.without_key(why).await?, why: Some(why) }),
    };
    if !store::observe_git(&control.db, row.id(), lease, &access).await.map_err(db::fault)? {
        return Ok(None);
    }
    Ok(Some(Way { access, key, repository: settling.repository }))
}

struct Settling<'a> {
    control: &'a ControlPlane,
    row: &'a PodRow,
    lease: i64,
    owner: String,
    name: String,
    repository: String,
}

/// The row that a private half is sealed for.
pub(super) fn sealed_row(key: Uuid, pod: Uuid) -> Vec<u8> {
    format!("ssh_keys/{key}/{pod}").into_bytes()
}

impl<'a> Settling<'a> {
    /// What was settled before, where that was tokens.
    fn tokens(&self) -> Option<&'a GitAccess> {
        self.row.git_access.as_ref().map(|access| &access.0).filter(|access| access.way == GitWay::AppToken)
    }

    /// The key that GitHub has, or why it has none.
    async fn register(&self) -> AppResult<Result<KeyRow, GitWhy>> {
        let user = UserId(self.row.owner_id);
        let Some(grant) = account::github_grant(self.control, user).await?.filter(Grant::has_repositories) else { return Ok(Err(GitWhy::NoConsent)) };
        let token = grant.token;
        // A pod on its way out, or another job's: nobody reads what is said here.
        let Some(key) = self.pair(user).await? else { return Ok(Err(GitWhy::GitHubSilent)) };
        match self.at_github(&token, &key).await {
            Ok(id) => {
                if !store::key_registered(&self.control.db, key.id, user, Some(id)).await.map_err(db::fault)? {
                    self.unregister(&token, id).await;
                    return Ok(Err(GitWhy::GitHubSilent));
                }
                Ok(Ok(KeyRow { github_key_id: Some(id), ..key }))
            }
            Err(error) => {
                account::heard(self.control, user, &error).await;
                tracing::info!(%error, pod = %self.row.id, "a pod gets no deploy key");
                let why = match error {
                    GitHubError::NotFound => GitWhy::NoAdmin,
                    GitHubError::Refused(_) => GitWhy::KeysForbidden,
                    GitHubError::Unauthorized => GitWhy::Revoked,
                    GitHubError::RateLimited { .. } | GitHubError::Unavailable(_) | GitHubError::Unexpected(_) => GitWhy::GitHubSilent,
                };
                // What could not be asked says nothing of a key that was registered before.
                let kept = key.github_key_id.is_some() && matches!(why, GitWhy::GitHubSilent | GitWhy::Revoked);
                Ok(if kept { Ok(key) } else { Err(why) })
            }
        }
    }

    /// For who may have no key of its own: whether its git gets a token when it asks for one, which one that is made now shows.
    async fn without_key(&self, why: GitWhy) -> AppResult<GitWay> {
        let had_tokens = self.tokens().is_some();
        if matches!(why, GitWhy::NoConsent | GitWhy::Revoked) {
            // Git is told so when it asks, and given a token again once that is mended.
            return Ok(if had_tokens { GitWay::AppToken } else { GitWay::Anonymous });
        }
        Ok(match git_token::make(self.control, self.row, (&self.owner, &self.name)).await? {
            Ok(_) => GitWay::AppToken,
            // What GitHub does not answer takes nothing away: it is asked again when git asks.
            Err(why) if why.is_silence() && had_tokens => GitWay::AppToken,
            Err(_) => GitWay::Anonymous,
        })
    }

    async fn at_github(&self, token: &SecretString, key: &KeyRow) -> Result<i64, GitHubError> {
        let repository = (self.owner.as_str(), self.name.as_str());
        if key.github_key_id.is_some()
            && let Some(id) = self.control.github.deploy_key(token, repository, &key.public_key).await?
        {
            return Ok(id);
        }
        let title: String = format!("Pinacle pod {} of {}", self.row.name, self.row.handle).chars().take(MOST_TITLE).collect();
        self.control.github.add_deploy_key(token, repository, &title, &key.public_key).await
    }

    /// The pod's pair, made where there is none: written before GitHub hears of it, so that nobody who dies in between leaves a
    /// key there that we don't know. None: the lease is lost, or the pod is being deleted.
    async fn pair(&self, user: UserId) -> AppResult<Option<KeyRow>> {
        let pod = PodId(self.row.id);
        let mut tx = self.control.db.begin().await.map_err(db::fault)?;
        if store::hold(&mut tx, pod, self.lease).await.map_err(db::fault)?.is_none() {
            return Ok(None);
        }
        if store::key_of(&mut *tx, pod).await.map_err(db::fault)?.is_none() {
            let pair = pair::generate().map_err(|error| {
                tracing::error!(%error, "no key pair could be made");
                AppError::internal()
            })?;
            let id = Uuid::now_v7();
            let sealed = self.control.sealer.seal(&sealed_row(id, pod.0), pair.private.as_bytes());
            store::insert_key(&mut tx, (id, pod, user), &self.repository, &pair.public, &sealed).await.map_err(db::fault)?;
        }
        let key = store::key_of(&mut *tx, pod).await.map_err(db::fault)?;
        tx.commit().await.map_err(db::fault)?;
        Ok(key.filter(|key| key.removing_since.is_none()))
    }

    /// The pod went while GitHub took its key.
    async fn unregister(&self, token: &SecretString, id: i64) {
        if let Err(error) = self.control.github.remove_deploy_key(token, (&self.owner, &self.name), id).await {
            tracing::warn!(%error, pod = %self.row.id, "the key of a pod that went meanwhile is left to the job that removes it");
        }
    }

    fn private_half(&self, key: &KeyRow) -> AppResult<Zeroizing<String>> {
        let sealed = key.private_key_encrypted.as_deref().ok_or_else(AppError::internal)?;
        let opened = self.control.sealer.open(&sealed_row(key.id, key.pod_id), sealed).map_err(|error| {
            tracing::error!(pod = %key.pod_id, %error, "a pod's key does not open: is the master key the one it was sealed with?");
            AppError::internal()
        })?;
        let text = std::str::from_utf8(&opened).map_err(|_| AppError::internal())?;
        Ok(Zeroizing::new(text.to_owned()))
    }
}
