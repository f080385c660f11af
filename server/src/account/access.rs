//! What a caller may ask of its account: its own things only, so that there is little to authorize beyond the scope.

use super::{github_token, store, tokens};
use crate::{
    activity::{self, Home},
    control::ControlPlane,
    db,
    github::GitHubError,
    news::{self, Change},
    paging,
};
use async_trait::async_trait;
use pinacle_app::{
    AppError, AppResult, ErrorCode,
    account::{ApiToken, BrowserSession, Gateway, Me, MePatch, NewToken, NewTokenMade, PublicKey, Quota},
    backend::{Account, Caller, Door, Scope},
    ids::{SessionId, TokenId},
    pods::{Branch, Page, Repository, RepositoryAddress},
    teams::activity::Action,
};
use secrecy::SecretString;

/// Pages of GitHub that are asked for.
const MOST_PAGES: u32 = 100;
const MOST_HANDLE: usize = 39;
/// Handles that one user has taken, since none of them is ever free again.
const MOST_HANDLES: i64 = 10;
/// Signed-in browsers that are listed.
const MOST_SESSIONS: i64 = 200;
const MOST_SEARCH: usize = 100;

#[async_trait]
impl Account for ControlPlane {
    async fn me(&self, caller: &Caller) -> AppResult<Me> {
        store::me(&self.db, caller.user).await.map_err(db::fault)?.ok_or_else(AppError::unauthenticated)
    }

    async fn change_me(&self, caller: &Caller, patch: MePatch) -> AppResult<Me> {
        may_change(caller)?;
        if !is_handle(&patch.handle) {
            return Err(AppError::field("handle", "1–39 lower-case letters, digits and hyphens; neither begins nor ends with a hyphen."));
        }
        let mut transaction = self.db.begin().await.map_err(db::fault)?;
        store::lock_user(&mut transaction, caller.user).await.map_err(db::fault)?;
        if store::count_other_handles(&mut transaction, caller.user, &patch.handle).await.map_err(db::fault)? >= MOST_HANDLES {
            return Err(AppError::field("handle", format!("You have had {MOST_HANDLES} handles. Take one of them again.")));
        }
        if !store::change_handle(&mut transaction, caller.user, &patch.handle).await.map_err(db::fault)? {
            let taken = AppError::field("handle", "Somebody has this handle, or had it.");
            return Err(AppError { code: ErrorCode::Taken, ..taken });
        }
        record(&mut transaction, caller, Action::AccountHandle, None, &patch.handle, "").await?;
        transaction.commit().await.map_err(db::fault)?;
        self.me(caller).await
    }

    async fn quota(&self, caller: &Caller) -> AppResult<Quota> {
        let mut connection = self.db.acquire().await.map_err(db::fault)?;
        crate::pods::quota::of(&mut connection, &self.config.quota, caller.user).await.map_err(db::fault)
    }

    async fn tokens(&self, caller: &Caller, cursor: Option<String>, limit: Option<u32>) -> AppResult<Page<ApiToken>> {
        let limit = paging::limit(limit, paging::DEFAULT, paging::MOST)?;
        let before = cursor.map(|cursor| cursor.parse::<TokenId>().map_err(|_| paging::bad_cursor())).transpose()?;
        let items = store::tokens(&self.db, caller.user, before, i64::from(limit) + 1).await.map_err(db::fault)?;
        Ok(paging::page(items, limit, |last| last.id.to_string()))
    }

    async fn create_token(&self, caller: &Caller, new: NewToken) -> AppResult<NewTokenMade> {
        may_change(caller)?;
        tokens::create(&self.db, &self.token_keys, caller.user, caller.into(), &new).await
    }

    async fn revoke_token(&self, caller: &Caller, id: TokenId) -> AppResult<()> {
        may_change(caller)?;
        let mut transaction = self.db.begin().await.map_err(db::fault)?;
        let name = store::revoke_token(&mut transaction, caller.user, id).await.map_err(db::fault)?.ok_or_else(AppError::not_found)?;
        record(&mut transaction, caller, Action::TokenRevoke, Some(id.0), &name, "").await?;
        news::notify(&mut transaction, Change::TokenEnded(id)).await.map_err(db::fault)?;
        transaction.commit().await.map_err(db::fault)
    }

    async fn sessions(&self, caller: &Caller) -> AppResult<Vec<BrowserSession>> {
        let current = match caller.door {
            Door::Session(id) => Some(id),
            Door::Token(_) | Door::Key(_) => None,
        };
        store::sessions(&self.db, caller.user, current, MOST_SESSIONS).await.map_err(db::fault)
    }

    async fn end_session(&self, caller: &Caller, id: SessionId) -> AppResult<()> {
        may_change(caller)?;
        let mut transaction = self.db.begin().await.map_err(db::fault)?;
        if !store::end_session(&mut transaction, caller.user, id).await.map_err(db::fault)? {
            return Err(AppError::not_found());
        }
        let detail = if caller.door == Door::Session(id) { "" } else { "another browser" };
        record(&mut transaction, caller, Action::SessionEnd, Some(id.0), "", detail).await?;
        news::notify(&mut transaction, Change::SessionEnded(id)).await.map_err(db::fault)?;
        transaction.commit().await.map_err(db::fault)
    }

    async fn end_all_sessions(&self, caller: &Caller) -> AppResult<()> {
        may_change(caller)?;
        let mut transaction = self.db.begin().await.map_err(db::fault)?;
        store::end_sessions(&mut transaction, caller.user).await.map_err(db::fault)?;
        record(&mut transaction, caller, Action::SessionEndAll, None, "", "").await?;
        news::notify(&mut transaction, Change::SessionsEnded(caller.user)).await.map_err(db::fault)?;
        transaction.commit().await.map_err(db::fault)
    }

    async fn repositories(&self, caller: &Caller, search: Option<String>, cursor: Option<String>) -> AppResult<Page<Repository>> {
        if search.as_ref().is_some_and(|search| search.len() > MOST_SEARCH) {
            return Err(AppError::field("search", format!("At most {MOST_SEARCH} characters.")));
        }
        let page = match cursor {
            None => 1,
            Some(cursor) => cursor.parse().ok().filter(|page| (2..=MOST_PAGES).contains(page)).ok_or_else(paging::bad_cursor)?,
        };
        let token = self.token_of(caller).await?;
        let found = self.listened(caller, self.github.repositories(&token, search.as_deref(), page).await).await?;
        Ok(Page { items: found.items, next_cursor: found.next_page.map(|page| page.to_string()) })
    }

    async fn branches(&self, caller: &Caller, owner: &str, name: &str) -> AppResult<Vec<Branch>> {
        let address = RepositoryAddress::parse(&format!("{owner}/{name}"));
        let Ok(RepositoryAddress::GitHub { owner, name }) = address else { return Err(AppError::not_found()) };
        let token = self.token_of(caller).await?;
        self.listened(caller, self.github.branches(Some(&token), &owner, &name).await).await
    }

    async fn public_keys(&self, caller: &Caller) -> AppResult<Vec<PublicKey>> {
        super::public_keys::list(self, caller.user).await
    }

    async fn gateway(&self, _caller: &Caller) -> AppResult<Option<Gateway>> {
        Ok(self.gateway.as_ref().map(|gateway| gateway.shown.clone()))
    }
}

/// Tells of it among the caller's own things.
async fn record(db: &mut sqlx::PgConnection, caller: &Caller, action: Action, object: Option<uuid::Uuid>, name: &str, detail: &str) -> AppResult<()> {
    activity::record_by(db, caller, Home::Personal(caller.user), action, object, name, detail).await
}

impl ControlPlane {
    async fn token_of(&self, caller: &Caller) -> AppResult<SecretString> {
        github_token(self, caller.user)
            .await?
            .ok_or_else(|| AppError::forbidden("We hold no GitHub token of yours. Renew it on your account's page."))
    }

    /// What GitHub answered to a call with the caller's token.
    async fn listened<T>(&self, caller: &Caller, answer: Result<T, GitHubError>) -> AppResult<T> {
        if let Err(error) = &answer {
            super::heard(self, caller.user, error).await;
        }
        Ok(answer?)
    }
}

fn is_handle(text: &str) -> bool {
    let fits = (1..=MOST_HANDLE).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    fits && !text.starts_with('-') && !text.ends_with('-')
}

/// Refuses a read-only token.
pub fn may_change(caller: &Caller) -> AppResult<()> {
    match caller.scope {
        Scope::Write => Ok(()),
        Scope::Read => Err(AppError::forbidden("This API token may only read.")),
    }
}
