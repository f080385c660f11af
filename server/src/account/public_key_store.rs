//! The SQL of people's public keys.

use crate::db::Db;
use pinacle_app::{
    account::PublicKey,
    ids::{KeyId, UserId},
};
use sqlx::{PgConnection, Row};
use time::Duration;
use uuid::Uuid;

/// Whose key it is; None: nobody's that we know of.
pub async fn owner(db: &Db, public_key: &str) -> Result<Option<(KeyId, UserId)>, sqlx::Error> {
    let row: Option<(Uuid, Uuid)> = sqlx::query_as("SELECT id, user_id FROM public_keys WHERE public_key = $1 ORDER BY first_seen_at DESC LIMIT 1")
        .bind(public_key)
        .fetch_optional(db)
        .await?;
    Ok(row.map(|(key, user)| (KeyId(key), UserId(user))))
}

/// Those whose key may open this pod: the members of its team, of whom nobody asked lately first.
pub async fn candidates(db: &Db, name: &str, handle: &str, limit: i64) -> Result<Vec<UserId>, sqlx::Error> {
    let rows: Vec<(Uuid,)> = sqlx::query_as(
        "SELECT m.user_id FROM pods p JOIN handles o ON o.user_id = p.owner_id AND o.handle = $2
           JOIN team_members m ON m.team_id = p.team_id JOIN users u ON u.id = m.user_id
         WHERE p.name = $1 AND p.status <> 'deleted' ORDER BY u.public_keys_tried_at NULLS FIRST LIMIT $3",
    )
    .bind(name)
    .bind(handle)
    .bind(limit)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|(id,)| UserId(id)).collect())
}

/// The account's number at GitHub, if its keys were last asked for longer ago than `older`; notes that they are asked for, as if it were
/// `ago`.
pub async fn due(db: &Db, user: UserId, older: Duration, ago: Duration) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar(
        "UPDATE users SET public_keys_tried_at = now() - make_interval(secs => $3)
         WHERE id = $1 AND coalesce(public_keys_tried_at < now() - make_interval(secs => $2), true) RETURNING github_id",
    )
    .bind(user.0)
    .bind(older.as_seconds_f64())
    .bind(ago.as_seconds_f64())
    .fetch_optional(db)
    .await
}

/// Those that GitHub has; the others go, and what is open on them with them.
pub async fn replace(db: &mut PgConnection, user: UserId, keys: &[String]) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM public_keys WHERE user_id = $1 AND NOT public_key = ANY($2)").bind(user.0).bind(keys).execute(&mut *db).await?;
    // A key belongs to one account: GitHub takes it from nobody else before the other has let go of it.
    sqlx::query("DELETE FROM public_keys WHERE user_id <> $1 AND public_key = ANY($2)").bind(user.0).bind(keys).execute(&mut *db).await?;
    sqlx::query(
        "INSERT INTO public_keys (id, user_id, public_key) SELECT gen_random_uuid(), $1, key FROM unnest($2::text[]) AS key
         ON CONFLICT (user_id, public_key) DO NOTHING",
    )
    .bind(user.0)
    .bind(keys)
    .execute(&mut *db)
    .await?;
    sqlx::query("UPDATE users SET public_keys_at = now() WHERE id = $1").bind(user.0).execute(db).await.map(drop)
}

/// Whether the key is still there, and GitHub said so within this time.
pub async fn holds(db: &Db, user: UserId, key: KeyId, within: Duration) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM public_keys k JOIN users u ON u.id = k.user_id
           WHERE k.id = $1 AND k.user_id = $2 AND u.public_keys_at > now() - make_interval(secs => $3))",
    )
    .bind(key.0)
    .bind(user.0)
    .bind(within.as_seconds_f64())
    .fetch_one(db)
    .await
}

pub async fn was_used(db: &Db, key: KeyId) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE public_keys SET last_used_at = now() WHERE id = $1 AND coalesce(last_used_at < now() - interval '1 minute', true)")
        .bind(key.0)
        .execute(db)
        .await
        .map(drop)
}

pub async fn list(db: &Db, user: UserId, limit: i64) -> Result<Vec<PublicKey>, sqlx::Error> {
    let rows =
        sqlx::query("SELECT id, public_key, first_seen_at, last_used_at FROM public_keys WHERE user_id = $1 ORDER BY first_seen_at, id LIMIT $2")
            .bind(user.0)
            .bind(limit)
            .fetch_all(db)
            .await?;
    rows.iter()
        .map(|row| {
            let public_key: String = row.try_get("public_key")?;
            Ok(PublicKey {
                id: KeyId(row.try_get("id")?),
                kind: public_key.split(' ').next().unwrap_or_default().to_owned(),
                fingerprint: crate::ssh::fingerprint_of(&public_key).unwrap_or_default(),
                first_seen_at: row.try_get("first_seen_at")?,
                last_used_at: row.try_get("last_used_at")?,
            })
        })
        .collect()
}
