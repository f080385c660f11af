//! What the browser may ask of the caller's own account.

use super::theme::Theme;
use super::{ApiToken, BrowserSession, Gateway, Me, NewTokenMade, PublicKey, Quota, TokenScope};
use crate::error::AppError;
use crate::ids::{SessionId, TokenId};
use crate::pods::{Branch, Page, Repository};
use leptos::prelude::*;

#[server(prefix = "/fn", endpoint = "account/me")]
pub async fn account() -> Result<Me, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.me(&caller).await
}

#[server(prefix = "/fn", endpoint = "account/handle")]
pub async fn set_handle(handle: String) -> Result<Me, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.change_me(&caller, super::MePatch { handle }).await
}

#[server(prefix = "/fn", endpoint = "account/quota")]
pub async fn account_quota() -> Result<Quota, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.quota(&caller).await
}

#[server(prefix = "/fn", endpoint = "account/tokens")]
pub async fn list_tokens(cursor: Option<String>) -> Result<Page<ApiToken>, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.tokens(&caller, cursor, None).await
}

#[server(prefix = "/fn", endpoint = "account/create-token")]
pub async fn create_token(name: String, scope: TokenScope, expires_days: u32) -> Result<NewTokenMade, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.create_token(&caller, super::NewToken { name, scope, expires_days }).await
}

#[server(prefix = "/fn", endpoint = "account/revoke-token")]
pub async fn revoke_token(id: TokenId) -> Result<(), AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.revoke_token(&caller, id).await
}

#[server(prefix = "/fn", endpoint = "account/sessions")]
pub async fn list_sessions() -> Result<Vec<BrowserSession>, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.sessions(&caller).await
}

#[server(prefix = "/fn", endpoint = "account/end-session")]
pub async fn end_session(id: SessionId) -> Result<(), AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.end_session(&caller, id).await
}

#[server(prefix = "/fn", endpoint = "account/end-all-sessions")]
pub async fn end_all_sessions() -> Result<(), AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.end_all_sessions(&caller).await?;
    leptos_axum::redirect("/sign-in");
    Ok(())
}

#[server(prefix = "/fn", endpoint = "account/repositories")]
pub async fn account_repositories(search: Option<String>, cursor: Option<String>) -> Result<Page<Repository>, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.repositories(&caller, search, cursor).await
}

#[server(prefix = "/fn", endpoint = "account/branches")]
pub async fn account_branches(owner: String, name: String) -> Result<Vec<Branch>, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.branches(&caller, &owner, &name).await
}

#[server(prefix = "/fn", endpoint = "account/public-keys")]
pub async fn list_public_keys() -> Result<Vec<PublicKey>, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.public_keys(&caller).await
}

#[server(prefix = "/fn", endpoint = "account/gateway")]
pub async fn ssh_gateway() -> Result<Option<Gateway>, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.gateway(&caller).await
}

/// Without JavaScript the browser comes back to the page it was on, in the new theme.
#[server(prefix = "/fn", endpoint = "account/theme")]
pub async fn set_theme(theme: Theme) -> Result<(), AppError> {
    crate::server::set_theme_cookie(theme);
    Ok(())
}
