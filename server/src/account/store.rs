//! The SQL of accounts: users, handles, API tokens, signed-in browsers, and what a user's pods add up to.

use super::GitIdentity;
use crate::{
    crypto::{RewrappedRow, SealedRow},
    db::Db,
};
use pinacle_app::{
    account::{Allowed, ApiToken, BrowserSession, Me, TokenScope},
    ids::{SessionId, TeamId, TokenId, UserId},
};
use sqlx::{PgConnection, PgExecutor, Row, postgres::PgRow};
use time::OffsetDateTime;
use uuid::Uuid;

/// What GitHub says of an account at sign-in.
pub struct Profile<'a> {
    pub github_id: i64,
    pub login: &'a str,
    pub name: &'a str,
    pub email: &'a str,
    /// All that are verified, in lower case.
    pub emails: &'a [String],
}

/// One sign-in of an account at a time.
pub async fn lock_account(db: &mut PgConnection, github_id: i64) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('users.github_id', $1))").bind(github_id).execute(db).await.map(|_| ())
}

pub async fn user_of_github(db: &mut PgConnection, github_id: i64) -> Result<Option<UserId>, sqlx::Error> {
    sqlx::query_scalar("SELECT id FROM users WHERE github_id = $1").bind(github_id).fetch_optional(db).await.map(|id| id.map(UserId))
}

/// Handles that the user has or had, others than this one.
pub async fn count_other_handles(db: &mut PgConnection, user: UserId, handle: &str) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT count(*) FROM handles WHERE user_id = $1 AND handle <> $2").bind(user.0).bind(handle).fetch_one(db).await
}

/// False when the handle is somebody else's, or was; one's own former handle may be taken again.
pub async fn change_handle(db: &mut PgConnection, user: UserId, handle: &str) -> Result<bool, sqlx::Error> {
    sqlx::query("INSERT INTO handles (handle, user_id) VALUES ($1, $2) ON CONFLICT DO NOTHING").bind(handle).bind(user.0).execute(&mut *db).await?;
    let changed = sqlx::query("UPDATE users SET handle = $1 WHERE id = $2 AND EXISTS (SELECT FROM handles WHERE handle = $1 AND user_id = $2)")
        .bind(handle)
        .bind(user.0)
        .execute(db)
        .await?;
    Ok(changed.rows_affected() == 1)
}

/// False when the handle is somebody's, or was.
pub async fn insert_user(db: &mut PgConnection, id: UserId, profile: &Profile<'_>, handle: &str) -> Result<bool, sqlx::Error> {
    let made = sqlx::query(
        "INSERT INTO users (id, github_id, login, handle, name, email)
         SELECT $1, $2, $3, $4, $5, $6 WHERE NOT EXISTS (SELECT 1 FROM handles WHERE handle = $4)
         ON CONFLICT (handle) DO NOTHING",
    )
    .bind(id.0)
    .bind(profile.github_id)
    .bind(profile.login)
    .bind(handle)
    .bind(profile.name)
    .bind(profile.email)
    .execute(&mut *db)
    .await?;
    if made.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query("INSERT INTO handles (handle, user_id) VALUES ($1, $2)").bind(handle).bind(id.0).execute(db).await?;
    Ok(true)
}

/// GitHub's number of the account, and the addresses that were verified there when it signed in last.
pub async fn identity(db: &mut PgConnection, user: UserId) -> Result<Option<(i64, Vec<String>)>, sqlx::Error> {
    sqlx::query_as("SELECT github_id, emails FROM users WHERE id = $1").bind(user.0).fetch_optional(db).await
}

/// Without a token, the one that is there stays.
pub async fn update_user(
    db: &mut PgConnection,
    id: UserId,
    profile: &Profile<'_>,
    sealed_token: Option<(&[u8], &[String])>,
) -> Result<(), sqlx::Error> {
    // Whoever else we know by this login has been renamed since: logins are unique at GitHub.
    sqlx::query("UPDATE users SET login = login || '~' || github_id WHERE lower(login) = lower($1) AND id <> $2")
        .bind(profile.login)
        .bind(id.0)
        .execute(&mut *db)
        .await?;
    sqlx::query(
        "UPDATE users SET login = $2, name = $3, email = $4, emails = $7, github_token = coalesce($5, github_token),
           github_scopes = coalesce($6, github_scopes), github_refused_at = CASE WHEN $5 IS NULL THEN github_refused_at END WHERE id = $1",
    )
    .bind(id.0)
    .bind(profile.login)
    .bind(profile.name)
    .bind(profile.email)
    .bind(sealed_token.map(|(token, _)| token))
    .bind(sealed_token.map(|(_, scopes)| scopes))
    .bind(profile.emails)
    .execute(db)
    .await
    .map(|_| ())
}

/// True when this account is the first one that comes with a login of PINACLE_OPERATORS.
pub async fn claim_operator_login(db: &mut PgConnection, login: &str, user: UserId) -> Result<bool, sqlx::Error> {
    let made = sqlx::query("INSERT INTO operator_logins (login, user_id) VALUES (lower($1), $2) ON CONFLICT DO NOTHING")
        .bind(login)
        .bind(user.0)
        .execute(db)
        .await?;
    Ok(made.rows_affected() == 1)
}

/// Whether another account has come with this login of PINACLE_OPERATORS before.
pub async fn operator_login_is_anothers(db: &mut PgConnection, login: &str, github_id: i64) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM operator_logins o JOIN users u ON u.id = o.user_id WHERE o.login = lower($1) AND u.github_id <> $2)",
    )
    .bind(login)
    .bind(github_id)
    .fetch_one(db)
    .await
}

pub async fn set_operator(db: &mut PgConnection, user: UserId, operator: bool) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE users SET operator = $2 WHERE id = $1").bind(user.0).bind(operator).execute(db).await.map(|_| ())
}

pub async fn user_of_login(db: &Db, login: &str) -> Result<Option<UserId>, sqlx::Error> {
    sqlx::query_scalar("SELECT id FROM users WHERE lower(login) = lower($1)").bind(login).fetch_optional(db).await.map(|id| id.map(UserId))
}

pub async fn me(db: &Db, user: UserId) -> Result<Option<Me>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT u.login, u.handle, u.name, u.operator, t.id AS team, 'repo' = ANY(u.github_scopes) AS repositories,
               u.github_token IS NULL OR u.github_refused_at IS NOT NULL AS refused
             FROM users u JOIN teams t ON t.personal_of = u.id WHERE u.id = $1",
    )
    .bind(user.0)
    .fetch_optional(db)
    .await?;
    row.map(|row| {
        Ok(Me {
            id: user,
            login: row.try_get("login")?,
            handle: row.try_get("handle")?,
            name: row.try_get("name")?,
            operator: row.try_get("operator")?,
            personal_team: TeamId(row.try_get("team")?),
            github: match (row.try_get("refused")?, row.try_get("repositories")?) {
                (true, _) => Allowed::Nothing,
                (false, true) => Allowed::Repositories,
                (false, false) => Allowed::SignIn,
            },
        })
    })
    .transpose()
}

pub async fn git_identity(db: &Db, user: UserId) -> Result<Option<GitIdentity>, sqlx::Error> {
    let row = sqlx::query("SELECT name, email, github_id, login, handle FROM users WHERE id = $1").bind(user.0).fetch_optional(db).await?;
    row.map(|row| {
        Ok(GitIdentity {
            name: row.try_get("name")?,
            email: row.try_get("email")?,
            github_id: row.try_get("github_id")?,
            login: row.try_get("login")?,
            handle: row.try_get("handle")?,
        })
    })
    .transpose()
}

/// With what it may do.
pub async fn sealed_github_token(db: impl PgExecutor<'_>, user: UserId) -> Result<Option<(Vec<u8>, Vec<String>)>, sqlx::Error> {
    sqlx::query_as("SELECT github_token, github_scopes FROM users WHERE id = $1 AND github_token IS NOT NULL").bind(user.0).fetch_optional(db).await
}

/// GitHub no longer accepts the token, from now on if it did so far.
pub async fn github_refused(db: &Db, user: UserId) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE users SET github_refused_at = now() WHERE id = $1 AND github_refused_at IS NULL").bind(user.0).execute(db).await.map(drop)
}

// API tokens

pub async fn insert_token(
    db: &mut PgConnection,
    id: TokenId,
    user: UserId,
    name: &str,
    scope: TokenScope,
    expires_at: OffsetDateTime,
) -> Result<ApiToken, sqlx::Error> {
    sqlx::query(
        "INSERT INTO api_tokens (id, user_id, name, scope, expires_at) VALUES ($1, $2, $3, $4, $5)
         RETURNING id, name, scope, created_at, expires_at, last_used_at",
    )
    .bind(id.0)
    .bind(user.0)
    .bind(name)
    .bind(scope_text(scope))
    .bind(expires_at)
    .fetch_one(db)
    .await
    .and_then(|row| token_of(&row))
}

/// Serializes what one user does with its tokens, so that a count still holds when it is acted on.
pub async fn lock_user(db: &mut PgConnection, user: UserId) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT 1 FROM users WHERE id = $1 FOR UPDATE").bind(user.0).execute(db).await.map(|_| ())
}

pub async fn count_tokens(db: &mut PgConnection, user: UserId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT count(*) FROM api_tokens WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > now()")
        .bind(user.0)
        .fetch_one(db)
        .await
}

/// Those that are good, newest first; ids are UUIDv7, so they order by time.
pub async fn tokens(db: &Db, user: UserId, before: Option<TokenId>, limit: i64) -> Result<Vec<ApiToken>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT id, name, scope, created_at, expires_at, last_used_at FROM api_tokens
         WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > now() AND ($2::uuid IS NULL OR id < $2)
         ORDER BY id DESC LIMIT $3",
    )
    .bind(user.0)
    .bind(before.map(|id| id.0))
    .bind(limit)
    .fetch_all(db)
    .await?;
    rows.iter().map(token_of).collect()
}

/// Its name; None when the user has no such token that is good.
pub async fn revoke_token(connection: &mut PgConnection, user: UserId, id: TokenId) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar(
        "UPDATE api_tokens SET revoked_at = now() WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL AND expires_at > now() RETURNING name",
    )
    .bind(id.0)
    .bind(user.0)
    .fetch_optional(connection)
    .await
}

/// A token that is good, as a request needs it.
pub struct GoodToken {
    pub scope: TokenScope,
    pub operator: bool,
    /// Not noted as used within the last minute.
    pub is_stale: bool,
}

pub async fn good_token(db: &Db, id: TokenId, user: UserId) -> Result<Option<GoodToken>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT t.scope, u.operator, coalesce(t.last_used_at < now() - interval '1 minute', true) AS stale
         FROM api_tokens t JOIN users u ON u.id = t.user_id
         WHERE t.id = $1 AND t.user_id = $2 AND t.revoked_at IS NULL AND t.expires_at > now()",
    )
    .bind(id.0)
    .bind(user.0)
    .fetch_optional(db)
    .await?;
    row.map(|row| Ok(GoodToken { scope: scope_of(&row)?, operator: row.try_get("operator")?, is_stale: row.try_get("stale")? })).transpose()
}

pub async fn token_was_used(db: &Db, id: TokenId) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE api_tokens SET last_used_at = now() WHERE id = $1 AND coalesce(last_used_at < now() - interval '1 minute', true)")
        .bind(id.0)
        .execute(db)
        .await
        .map(|_| ())
}

pub async fn token_holds(db: &Db, id: TokenId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM api_tokens WHERE id = $1 AND revoked_at IS NULL AND expires_at > now())")
        .bind(id.0)
        .fetch_one(db)
        .await
}

fn token_of(row: &PgRow) -> Result<ApiToken, sqlx::Error> {
    Ok(ApiToken {
        id: TokenId(row.try_get("id")?),
        name: row.try_get("name")?,
        scope: scope_of(row)?,
        created_at: row.try_get("created_at")?,
        expires_at: row.try_get("expires_at")?,
        last_used_at: row.try_get("last_used_at")?,
    })
}

fn scope_text(scope: TokenScope) -> &'static str {
    match scope {
        TokenScope::Read => "read",
        TokenScope::Write => "write",
    }
}

fn scope_of(row: &PgRow) -> Result<TokenScope, sqlx::Error> {
    match row.try_get("scope")? {
        "read" => Ok(TokenScope::Read),
        "write" => Ok(TokenScope::Write),
        other => Err(sqlx::Error::Decode(format!("a token of scope {other}").into())),
    }
}

// Signed-in browsers

pub async fn sessions(db: &Db, user: UserId, current: Option<SessionId>, limit: i64) -> Result<Vec<BrowserSession>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT id, agent, address, created_at, seen_at, least(idle_expires_at, expires_at) AS ends_at FROM sessions
         WHERE user_id = $1 AND idle_expires_at > now() AND expires_at > now() ORDER BY seen_at DESC LIMIT $2",
    )
    .bind(user.0)
    .bind(limit)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            let id = SessionId(row.try_get("id")?);
            Ok(BrowserSession {
                id,
                current: current == Some(id),
                agent: row.try_get("agent")?,
                address: row.try_get("address")?,
                created_at: row.try_get("created_at")?,
                seen_at: row.try_get("seen_at")?,
                expires_at: row.try_get("ends_at")?,
            })
        })
        .collect()
}

/// False when the user has no such session.
pub async fn end_session(db: &mut PgConnection, user: UserId, id: SessionId) -> Result<bool, sqlx::Error> {
    let done = sqlx::query("DELETE FROM sessions WHERE id = $1 AND user_id = $2").bind(id.0).bind(user.0).execute(db).await?;
    Ok(done.rows_affected() == 1)
}

pub async fn end_sessions(db: &mut PgConnection, user: UserId) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM sessions WHERE user_id = $1").bind(user.0).execute(db).await.map(|_| ())
}

pub async fn session_holds(db: &Db, id: SessionId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM sessions WHERE id = $1 AND idle_expires_at > now() AND expires_at > now())")
        .bind(id.0)
        .fetch_one(db)
        .await
}

/// Sealed GitHub tokens of accounts behind `after`, in the order of their ids.
pub async fn sealed_github_tokens(db: &Db, after: Uuid, limit: i64) -> Result<Vec<SealedRow>, sqlx::Error> {
    let rows: Vec<(Uuid, Vec<u8>)> =
        sqlx::query_as("SELECT id, github_token FROM users WHERE github_token IS NOT NULL AND id > $1 ORDER BY id LIMIT $2")
            .bind(after)
            .bind(limit)
            .fetch_all(db)
            .await?;
    Ok(rows.into_iter().map(|(id, sealed)| SealedRow { id, row: super::token_row(UserId(id)), sealed }).collect())
}

/// How many of them were still what they were.
pub async fn rewrap_github_tokens(db: &Db, rows: &[RewrappedRow]) -> Result<u64, sqlx::Error> {
    let (ids, before, after) = RewrappedRow::columns(rows);
    let done = sqlx::query(
        "UPDATE users u SET github_token = n.after FROM unnest($1::uuid[], $2::bytea[], $3::bytea[]) AS n (id, before, after)
         WHERE u.id = n.id AND u.github_token = n.before",
    )
    .bind(ids)
    .bind(before)
    .bind(after)
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// What API tokens are signed with, sealed.
pub async fn token_key(db: impl PgExecutor<'_>) -> Result<Option<Vec<u8>>, sqlx::Error> {
    sqlx::query_scalar("SELECT token_key FROM installation").fetch_one(db).await
}

/// Keeps it, unless there is one: answers with the one that is kept.
pub async fn keep_token_key(db: &mut PgConnection, sealed: &[u8]) -> Result<Vec<u8>, sqlx::Error> {
    sqlx::query_scalar("UPDATE installation SET token_key = coalesce(token_key, $1) RETURNING token_key").bind(sealed).fetch_one(db).await
}

/// False: it was another one by then.
pub async fn rewrap_token_key(db: &Db, row: &RewrappedRow) -> Result<bool, sqlx::Error> {
    let done = sqlx::query("UPDATE installation SET token_key = $2 WHERE token_key = $1").bind(&row.before).bind(&row.after).execute(db).await?;
    Ok(done.rows_affected() == 1)
}
