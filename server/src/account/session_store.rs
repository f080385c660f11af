//! Sessions in Postgres: the SQL of signed-in browsers.
//!
//! `save` only updates, so that a request that is still under way never revives a session that was ended.
//! The table holds a hash of what is in the cookie: who reads the table can't sign in with it.

use crate::{
    db::Db,
    news::{self, Change},
};
use async_trait::async_trait;
use pinacle_app::ids::{SessionId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::Row;
use std::collections::HashMap;
use time::{Duration, OffsetDateTime};
use tower_sessions::{
    SessionStore,
    session::{Id, Record},
    session_store::{Error, Result},
};
use uuid::Uuid;

/// After so long without a request, a browser has to sign in again.
pub const IDLE: Duration = Duration::days(7);
/// After so long in any case.
pub const ABSOLUTE: Duration = Duration::days(30);
/// For a sign-in that was begun and not finished.
pub const ANONYMOUS: Duration = Duration::minutes(15);
/// Sessions that have expired are removed with the making of new ones, at most so many at once.
const SWEPT: i64 = 100;

/// Keys of a session's data that have columns of their own.
const USER: &str = "user";
const AGENT: &str = "agent";
const ADDRESS: &str = "address";
/// Put there by `load`, never stored.
const SIGNED_IN: &str = "signed_in";

/// What a session says of who is signed in on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedIn {
    pub session: SessionId,
    pub user: UserId,
    pub operator: bool,
    /// Not noted as seen within the last minute.
    pub is_stale: bool,
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
}

impl SignedIn {
    pub async fn of(session: &tower_sessions::Session) -> std::result::Result<Option<Self>, tower_sessions::session::Error> {
        session.get(SIGNED_IN).await
    }
}

/// Turns a session into that of this user, from this browser.
pub async fn sign_in(
    session: &tower_sessions::Session,
    user: UserId,
    agent: &str,
    address: &str,
) -> std::result::Result<(), tower_sessions::session::Error> {
    // A new id, so that one that was known before signing in is worth nothing after.
    session.cycle_id().await?;
    session.remove_value(SIGNED_IN).await?;
    session.insert(USER, user).await?;
    session.insert(AGENT, agent).await?;
    session.insert(ADDRESS, address).await?;
    session.set_expiry(Some(tower_sessions::Expiry::OnInactivity(ABSOLUTE)));
    Ok(())
}

#[derive(Clone, Debug)]
pub struct PostgresSessions {
    db: Db,
}

impl PostgresSessions {
    pub fn new(db: Db) -> Self {
        Self { db }
    }

    /// Notes that the browser was here, once a minute at most.
    pub async fn touch(&self, id: SessionId, agent: &str, address: &str) -> std::result::Result<(), sqlx::Error> {
        sqlx::query(
            "UPDATE sessions SET seen_at = now(), idle_expires_at = least(expires_at, now() + $4), agent = $2, address = $3
             WHERE id = $1 AND seen_at < now() - interval '1 minute' AND idle_expires_at > now()",
        )
        .bind(id.0)
        .bind(agent)
        .bind(address)
        .bind(interval(IDLE))
        .execute(&self.db)
        .await
        .map(|_| ())
    }

    async fn sweep(&self) -> std::result::Result<(), sqlx::Error> {
        sqlx::query(
            "DELETE FROM sessions WHERE id IN
               (SELECT id FROM sessions WHERE idle_expires_at < now() ORDER BY idle_expires_at LIMIT $1 FOR UPDATE SKIP LOCKED)",
        )
        .bind(SWEPT)
        .execute(&self.db)
        .await
        .map(|_| ())
    }
}

#[async_trait]
impl SessionStore for PostgresSessions {
    async fn create(&self, record: &mut Record) -> Result<()> {
        self.sweep().await.map_err(backend)?;
        let user = record.data.get(USER).map(|user| serde_json::from_value::<UserId>(user.clone())).transpose().map_err(decode)?;
        let text = |key: &str| record.data.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let idle = if user.is_some() { IDLE } else { ANONYMOUS };
        let idle_expires_at = record.expiry_date.min(OffsetDateTime::now_utc() + idle);
        // 128 random bits: two that are alike break the unique index and the request, not each other.
        sqlx::query(
            "INSERT INTO sessions (id, id_hash, user_id, data, agent, address, idle_expires_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(Uuid::now_v7())
        .bind(hash(&record.id))
        .bind(user.map(|user| user.0))
        .bind(stored(&record.data))
        .bind(text(AGENT))
        .bind(text(ADDRESS))
        .bind(idle_expires_at)
        .bind(record.expiry_date)
        .execute(&self.db)
        .await
        .map(|_| ())
        .map_err(backend)
    }

    async fn save(&self, record: &Record) -> Result<()> {
        let done = sqlx::query("UPDATE sessions SET data = $2 WHERE id_hash = $1 AND idle_expires_at > now() AND expires_at > now()")
            .bind(hash(&record.id))
            .bind(stored(&record.data))
            .execute(&self.db)
            .await
            .map_err(backend)?;
        if done.rows_affected() == 0 {
            tracing::debug!("a session was ended while a request on it was under way");
        }
        Ok(())
    }

    async fn load(&self, id: &Id) -> Result<Option<Record>> {
        let row = sqlx::query(
            "SELECT s.id, s.user_id, s.data, s.expires_at, s.seen_at < now() - interval '1 minute' AS stale, u.operator
             FROM sessions s LEFT JOIN users u ON u.id = s.user_id
             WHERE s.id_hash = $1 AND s.idle_expires_at > now() AND s.expires_at > now()",
        )
        .bind(hash(id))
        .fetch_optional(&self.db)
        .await
        .map_err(backend)?;
        let Some(row) = row else { return Ok(None) };
        let data: Value = row.try_get("data").map_err(backend)?;
        let mut data: HashMap<String, Value> = serde_json::from_value(data).map_err(decode)?;
        let expires_at: OffsetDateTime = row.try_get("expires_at").map_err(backend)?;
        if let Some(user) = row.try_get::<Option<Uuid>, _>("user_id").map_err(backend)? {
            let signed_in = SignedIn {
                session: SessionId(row.try_get("id").map_err(backend)?),
                user: UserId(user),
                operator: row.try_get::<Option<bool>, _>("operator").map_err(backend)?.unwrap_or(false),
                is_stale: row.try_get("stale").map_err(backend)?,
                expires_at,
            };
            data.insert(SIGNED_IN.to_owned(), serde_json::to_value(signed_in).map_err(encode)?);
        }
        Ok(Some(Record { id: *id, data, expiry_date: expires_at }))
    }

    /// Tells what is open on the session that it has ended.
    async fn delete(&self, id: &Id) -> Result<()> {
        let mut transaction = self.db.begin().await.map_err(backend)?;
        let ended: Option<Uuid> = sqlx::query_scalar("DELETE FROM sessions WHERE id_hash = $1 RETURNING id")
            .bind(hash(id))
            .fetch_optional(&mut *transaction)
            .await
            .map_err(backend)?;
        if let Some(ended) = ended {
            news::notify(&mut transaction, Change::SessionEnded(SessionId(ended))).await.map_err(backend)?;
        }
        transaction.commit().await.map_err(backend)
    }
}

fn hash(id: &Id) -> Vec<u8> {
    Sha256::digest(id.0.to_le_bytes()).to_vec()
}

/// The data without what has a column or is not ours to keep.
fn stored(data: &HashMap<String, Value>) -> Value {
    let kept: serde_json::Map<String, Value> = data
        .iter()
        .filter(|(key, _)| ![USER, AGENT, ADDRESS, SIGNED_IN].contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    Value::Object(kept)
}

fn interval(duration: Duration) -> sqlx::postgres::types::PgInterval {
    sqlx::postgres::types::PgInterval { months: 0, days: 0, microseconds: i64::try_from(duration.whole_microseconds()).unwrap_or(i64::MAX) }
}

fn backend(error: sqlx::Error) -> Error {
    Error::Backend(error.to_string())
}

fn encode(error: serde_json::Error) -> Error {
    Error::Encode(error.to_string())
}

fn decode(error: serde_json::Error) -> Error {
    Error::Decode(error.to_string())
}
