//! The caller's own account: who it is, its tokens, its signed-in browsers, what GitHub offers it.

use super::Caller;
use crate::account::{ApiToken, BrowserSession, Gateway, Me, MePatch, NewToken, NewTokenMade, PublicKey, Quota};
use crate::error::AppResult;
use crate::ids::{SessionId, TokenId};
use crate::pods::{Branch, Page, Repository};
use async_trait::async_trait;

#[async_trait]
pub trait Account: Send + Sync {
    async fn me(&self, caller: &Caller) -> AppResult<Me>;
    /// Takes another handle. The former one stays the caller's: nobody else ever gets it.
    async fn change_me(&self, caller: &Caller, patch: MePatch) -> AppResult<Me>;
    async fn quota(&self, caller: &Caller) -> AppResult<Quota>;
    async fn tokens(&self, caller: &Caller, cursor: Option<String>, limit: Option<u32>) -> AppResult<Page<ApiToken>>;
    /// The token itself is in the answer, this once.
    async fn create_token(&self, caller: &Caller, new: NewToken) -> AppResult<NewTokenMade>;
    async fn revoke_token(&self, caller: &Caller, id: TokenId) -> AppResult<()>;
    async fn sessions(&self, caller: &Caller) -> AppResult<Vec<BrowserSession>>;
    /// Ends one signed-in browser; what is open on it closes within 2 s.
    async fn end_session(&self, caller: &Caller, id: SessionId) -> AppResult<()>;
    /// Ends every other signed-in browser, and this one too.
    async fn end_all_sessions(&self, caller: &Caller) -> AppResult<()>;
    /// Repositories of the caller's GitHub account, newest push first.
    async fn repositories(&self, caller: &Caller, search: Option<String>, cursor: Option<String>) -> AppResult<Page<Repository>>;
    async fn branches(&self, caller: &Caller, owner: &str, name: &str) -> AppResult<Vec<Branch>>;
    /// The keys that the SSH gateway takes from the caller, as its GitHub account has them.
    async fn public_keys(&self, caller: &Caller) -> AppResult<Vec<PublicKey>>;
    /// None: this installation has no SSH gateway.
    async fn gateway(&self, caller: &Caller) -> AppResult<Option<Gateway>>;
}
