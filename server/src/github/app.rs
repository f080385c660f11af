//! Our GitHub App, where the installation has one: an account or an organisation that has installed it lets us make tokens that
//! live an hour and are good for one repository.

use super::{GitHub, GitHubError, parse};
use crate::config::Config;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::Method;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::{fs, path::Path};
use time::OffsetDateTime;
use zeroize::Zeroizing;

/// Seconds that a proof of who we are is good for; GitHub takes ten minutes at most.
const PROOF_LIFE: i64 = 300;
/// Clocks differ.
const PROOF_BEFORE: i64 = 60;

#[derive(Clone)]
pub struct App {
    id: String,
    key: EncodingKey,
}

#[derive(Debug, thiserror::Error)]
pub enum AppKeyError {
    #[error("the key of the GitHub App, {path}, can't be read: {error}")]
    Unreadable { path: String, error: std::io::Error },
    #[error("{0} holds no RSA private key in PEM, as GitHub gives them for an App")]
    NoKey(String),
}

/// Good for one repository.
pub struct ShortToken {
    pub token: SecretString,
    pub expires_at: OffsetDateTime,
}

#[derive(Serialize)]
struct Proof<'a> {
    iat: i64,
    exp: i64,
    iss: &'a str,
}

#[derive(Serialize)]
struct Wanted {
    repository_ids: [i64; 1],
    permissions: Permissions,
}

#[derive(Serialize)]
struct Permissions {
    contents: &'static str,
}

#[derive(Deserialize)]
struct WireInstallation {
    id: i64,
}

#[derive(Deserialize)]
struct WireToken {
    token: SecretString,
    #[serde(with = "time::serde::rfc3339")]
    expires_at: OffsetDateTime,
}

impl App {
    /// None: there is none.
    pub fn of(config: &Config) -> Result<Option<Self>, AppKeyError> {
        match (&config.github_app.github_app_id, &config.github_app.github_app_key_file) {
            (Some(id), Some(file)) => Ok(Some(Self { id: id.clone(), key: load(file)? })),
            _ => Ok(None),
        }
    }

    fn proof(&self) -> Result<SecretString, GitHubError> {
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let proof = Proof { iat: now - PROOF_BEFORE, exp: now + PROOF_LIFE, iss: &self.id };
        let signed = jsonwebtoken::encode(&Header::new(Algorithm::RS256), &proof, &self.key);
        signed.map(SecretString::from).map_err(|error| GitHubError::Unexpected(format!("no proof for the App: {error}")))
    }
}

fn load(file: &Path) -> Result<EncodingKey, AppKeyError> {
    let path = file.display().to_string();
    let pem = fs::read(file).map(Zeroizing::new).map_err(|error| AppKeyError::Unreadable { path: path.clone(), error })?;
    EncodingKey::from_rsa_pem(&pem).map_err(|_| AppKeyError::NoKey(path))
}

impl GitHub {
    /// Whether there may be short-lived tokens at all.
    pub fn has_app(&self) -> bool {
        self.app.is_some()
    }

    /// A token for git at the repository that has this name and this number: names lead on to where a repository has moved, and
    /// another one may have the name there. None: there is no App, or it is not installed there. It says nothing of who may have it.
    pub async fn repository_token(&self, owner: &str, name: &str, id: i64, push: bool) -> Result<Option<ShortToken>, GitHubError> {
        let Some(app) = &self.app else { return Ok(None) };
        let proof = app.proof()?;
        let installation: WireInstallation = match self.get(Some(&proof), &["repos", owner, name, "installation"], &[]).await {
            Err(GitHubError::NotFound) => return Ok(None),
            found => found?,
        };
        let wanted = Wanted { repository_ids: [id], permissions: Permissions { contents: if push { "write" } else { "read" } } };
        let path = ["app", "installations", &installation.id.to_string(), "access_tokens"];
        let made: WireToken = parse(&self.change(&proof, Method::POST, &path, Some(&wanted)).await?)?;
        Ok(Some(ShortToken { token: made.token, expires_at: made.expires_at }))
    }
}
