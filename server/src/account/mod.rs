//! Accounts: who signs in, what it may use, its API tokens and its signed-in browsers.

mod access;
pub mod cli;
mod public_key_store;
pub mod public_keys;
pub mod session_store;
pub mod sign_in;
pub mod store;
mod tokens;

pub use access::may_change;
pub use tokens::{KEY_ROW, TokenKeyError, TokenKeys, caller_for_token};

use crate::{
    control::ControlPlane,
    db,
    github::{GitHubError, Grant},
};
use pinacle_app::{AppError, AppResult, backend::Caller, backend::Door, ids::UserId};
use secrecy::SecretString;

/// What git in a pod signs its commits with, and where its pods' previews stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitIdentity {
    pub name: String,
    pub email: String,
    pub github_id: i64,
    pub login: String,
    pub handle: String,
}

/// The row that a user's GitHub token is sealed for.
pub fn token_row(user: UserId) -> Vec<u8> {
    format!("users/{user}/github_token").into_bytes()
}

/// What the user has allowed at GitHub; None when that was nothing. It may have been revoked since.
pub async fn github_grant(control: &ControlPlane, user: UserId) -> AppResult<Option<Grant>> {
    let Some((sealed, scopes)) = store::sealed_github_token(&control.db, user).await.map_err(db::fault)? else { return Ok(None) };
    let opened = control.sealer.open(&token_row(user), &sealed).map_err(|error| {
        tracing::error!(%user, %error, "a GitHub token does not open: is the master key the one it was sealed with?");
        AppError::internal()
    })?;
    let text = std::str::from_utf8(&opened).map_err(|error| {
        tracing::error!(%user, %error, "a GitHub token is not text");
        AppError::internal()
    })?;
    Ok(Some(Grant { token: SecretString::from(text), scopes }))
}

/// The user's token at GitHub, whatever it may do there.
pub async fn github_token(control: &ControlPlane, user: UserId) -> AppResult<Option<SecretString>> {
    Ok(github_grant(control, user).await?.map(|grant| grant.token))
}

/// What GitHub answered to a call with the user's token: one that it no longer accepts is noted, so that the pages offer to renew it.
pub async fn heard(control: &ControlPlane, user: UserId, error: &GitHubError) {
    if *error == GitHubError::Unauthorized
        && let Err(error) = store::github_refused(&control.db, user).await
    {
        tracing::warn!(%error, %user, "that GitHub refuses a token could not be noted");
    }
}

pub async fn git_identity(control: &ControlPlane, user: UserId) -> AppResult<GitIdentity> {
    store::git_identity(&control.db, user).await.map_err(db::fault)?.ok_or_else(AppError::not_found)
}

/// Whether the caller's credential still holds: the browser was not signed out, the token not revoked.
pub async fn still_holds(control: &ControlPlane, caller: &Caller) -> AppResult<bool> {
    let holds = match caller.door {
        Door::Session(session) => store::session_holds(&control.db, session).await,
        Door::Token(token) => store::token_holds(&control.db, token).await,
        Door::Key(key) => public_keys::holds(control, caller.user, key).await,
    };
    holds.map_err(db::fault)
}
