//! Key pairs of pods, and what was seen of the way that their git takes.

use crate::{
    crypto::{RewrappedRow, SealedRow},
    db::Db,
    pods::git_access::sealed_row,
};
use pinacle_app::{
    ids::{PodId, UserId},
    pods::GitAccess,
};
use sqlx::{PgConnection, PgExecutor, types::Json};
use time::OffsetDateTime;
use uuid::Uuid;

/// A pod's key pair. The private half is sealed, and gone once the pod is being deleted.
#[derive(Clone, sqlx::FromRow)]
pub struct KeyRow {
    pub id: Uuid,
    pub pod_id: Uuid,
    pub user_id: Uuid,
    pub repository: String,
    pub public_key: String,
    pub private_key_encrypted: Option<Vec<u8>>,
    pub github_key_id: Option<i64>,
    pub removing_since: Option<OffsetDateTime>,
    pub removal_tries: i32,
}

macro_rules! keys {
    ($tail:literal) => {
        concat!(
            "SELECT id, pod_id, user_id, repository, public_key, private_key_encrypted, github_key_id, removing_since, removal_tries
             FROM ssh_keys ",
            $tail
        )
    };
}

pub async fn key_of(db: impl PgExecutor<'_>, pod: PodId) -> Result<Option<KeyRow>, sqlx::Error> {
    sqlx::query_as(keys!("WHERE pod_id = $1")).bind(pod.0).fetch_optional(db).await
}

pub async fn key(db: impl PgExecutor<'_>, id: Uuid) -> Result<Option<KeyRow>, sqlx::Error> {
    sqlx::query_as(keys!("WHERE id = $1")).bind(id).fetch_optional(db).await
}

/// A pair that is not registered yet. Nothing happens where the pod has one.
pub async fn insert_key(
    connection: &mut PgConnection,
    (id, pod, user): (Uuid, PodId, UserId),
    repository: &str,
    public: &str,
    sealed: &[u8],
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO ssh_keys (id, pod_id, user_id, repository, public_key, private_key_encrypted) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (pod_id) DO NOTHING",
    )
    .bind(id)
    .bind(pod.0)
    .bind(user.0)
    .bind(repository)
    .bind(public)
    .bind(sealed)
    .execute(connection)
    .await
    .map(drop)
}

/// GitHub has it, by whose right, or has it no more. False: the pod is being deleted.
pub async fn key_registered(db: impl PgExecutor<'_>, id: Uuid, user: UserId, github_id: Option<i64>) -> Result<bool, sqlx::Error> {
    let done = sqlx::query("UPDATE ssh_keys SET github_key_id = $2, user_id = $3 WHERE id = $1 AND removing_since IS NULL")
        .bind(id)
        .bind(github_id)
        .bind(user.0)
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Erases the private half and says which key GitHub is to forget; None: there is none, or that is under way.
pub async fn begin_removal(connection: &mut PgConnection, pod: PodId) -> Result<Option<Uuid>, sqlx::Error> {
    sqlx::query_scalar(
        "UPDATE ssh_keys SET private_key_encrypted = NULL, removing_since = now() WHERE pod_id = $1 AND removing_since IS NULL RETURNING id",
    )
    .bind(pod.0)
    .fetch_optional(connection)
    .await
}

/// One more try has failed; how many that makes.
pub async fn removal_failed(db: impl PgExecutor<'_>, id: Uuid) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar("UPDATE ssh_keys SET removal_tries = removal_tries + 1 WHERE id = $1 RETURNING removal_tries").bind(id).fetch_one(db).await
}

pub async fn forget_key(db: impl PgExecutor<'_>, id: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM ssh_keys WHERE id = $1 AND removing_since IS NOT NULL").bind(id).execute(db).await.map(drop)
}

/// Keys that are to be removed and that no message names.
pub async fn removals_without_message(db: impl PgExecutor<'_>, limit: i64) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT k.id FROM ssh_keys k WHERE k.removing_since IS NOT NULL
           AND NOT EXISTS (SELECT FROM queue.message m WHERE m.key = 'deploy-key:' || k.id) ORDER BY k.removing_since LIMIT $1",
    )
    .bind(limit)
    .fetch_all(db)
    .await
}

/// Which way the pod's git takes. False: the lease is lost.
pub async fn observe_git(db: impl PgExecutor<'_>, pod: PodId, lease: i64, access: &GitAccess) -> Result<bool, sqlx::Error> {
    let done =
        sqlx::query("UPDATE pods SET git_access = $3 WHERE id = $1 AND fence <= $2").bind(pod.0).bind(lease).bind(Json(access)).execute(db).await?;
    Ok(done.rows_affected() == 1)
}

/// Sealed private halves behind `after`, in the order of their ids.
pub async fn sealed_keys_after(db: &Db, after: Uuid, limit: i64) -> Result<Vec<SealedRow>, sqlx::Error> {
    let rows: Vec<(Uuid, Uuid, Vec<u8>)> = sqlx::query_as(
        "SELECT id, pod_id, private_key_encrypted FROM ssh_keys WHERE private_key_encrypted IS NOT NULL AND id > $1 ORDER BY id LIMIT $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|(id, pod, sealed)| SealedRow { id, row: sealed_row(id, pod), sealed }).collect())
}

/// How many of them were still what they were.
pub async fn rewrap_keys(db: &Db, rows: &[RewrappedRow]) -> Result<u64, sqlx::Error> {
    let (ids, before, after) = RewrappedRow::columns(rows);
    let done = sqlx::query(
        "UPDATE ssh_keys k SET private_key_encrypted = n.after FROM unnest($1::uuid[], $2::bytea[], $3::bytea[]) AS n (id, before, after)
         WHERE k.id = n.id AND k.private_key_encrypted = n.before",
    )
    .bind(ids)
    .bind(before)
    .bind(after)
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}
