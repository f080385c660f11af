//! What requests write: pods, wishes, idempotency keys.

use pinacle_app::{
    ids::{PodId, TeamId, UserId},
    pods::{Desired, Tier},
};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

pub struct NewRow<'a> {
    pub id: PodId,
    pub team: TeamId,
    pub owner: UserId,
    pub name: &'a str,
    pub tier: Tier,
    pub repository: Option<&'a str>,
    pub branch: Option<&'a str>,
}

pub async fn insert(connection: &mut PgConnection, new: NewRow<'_>) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO pods (id, team_id, owner_id, name, tier, repository, branch) VALUES ($1, $2, $3, $4, $5, $6, $7)")
        .bind(new.id.0)
        .bind(new.team.0)
        .bind(new.owner.0)
        .bind(new.name)
        .bind(new.tier.as_str())
        .bind(new.repository)
        .bind(new.branch)
        .execute(&mut *connection)
        .await?;
    sqlx::query("INSERT INTO pod_event_head (pod_id) VALUES ($1)").bind(new.id.0).execute(connection).await?;
    Ok(())
}

/// What one wish writes: None leaves a field as it is.
#[derive(Default)]
pub struct WishRow<'a> {
    pub desired: Option<Desired>,
    /// A sandbox that was booted before this wish is stopped first.
    pub reboot: bool,
    /// A set-up that ended before this wish is done again.
    pub set_up_again: bool,
    pub approve: Option<&'a str>,
}

/// One UPDATE a wish. False, and nothing is changed, on a pod that is deleted; on one that is to be deleted, unless the wish
/// leaves that as it is.
pub async fn wish(connection: &mut PgConnection, id: PodId, wish: WishRow<'_>) -> Result<bool, sqlx::Error> {
    let written = sqlx::query(
        "UPDATE pods SET generation = generation + 1, wished_at = now(), desired = coalesce($2, desired),
           boot_after = CASE WHEN $3 THEN generation + 1 ELSE boot_after END,
           setup_after = CASE WHEN $4 THEN generation + 1 ELSE setup_after END,
           approved_digest = coalesce($5, approved_digest)
         WHERE id = $1 AND status <> 'deleted' AND (desired <> 'deleted' OR (coalesce($2, desired) = 'deleted' AND NOT $3 AND NOT $4))",
    )
    .bind(id.0)
    .bind(wish.desired.map(Desired::as_str))
    .bind(wish.reboot)
    .bind(wish.set_up_again)
    .bind(wish.approve)
    .execute(connection)
    .await?;
    Ok(written.rows_affected() == 1)
}

pub async fn update(connection: &mut PgConnection, id: PodId, name: Option<&str>, tier: Option<Tier>) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE pods SET name = coalesce($2, name), tier = coalesce($3, tier), wished_at = now() WHERE id = $1 AND status <> 'deleted'")
        .bind(id.0)
        .bind(name)
        .bind(tier.map(Tier::as_str))
        .execute(connection)
        .await?;
    Ok(())
}

/// Somebody works in it; written once a minute at most.
pub async fn used(db: impl PgExecutor<'_>, id: PodId) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE pods SET last_used_at = now() WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')")
        .bind(id.0)
        .execute(db)
        .await?;
    Ok(())
}

/// Whose the pod is.
pub async fn team_of(connection: &mut PgConnection, id: PodId) -> Result<Option<TeamId>, sqlx::Error> {
    sqlx::query_scalar("SELECT team_id FROM pods WHERE id = $1").bind(id.0).fetch_optional(connection).await.map(|team| team.map(TeamId))
}

/// Holds off other creations of the same user until the transaction ends.
pub async fn lock_owner(connection: &mut PgConnection, owner: UserId) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT FROM users WHERE id = $1 FOR NO KEY UPDATE").bind(owner.0).execute(connection).await?;
    Ok(())
}

/// The pod that an idempotency key of this user made before, with the hash of its request's body.
pub async fn by_idempotency_key(connection: &mut PgConnection, user: UserId, key: &str) -> Result<Option<(PodId, Vec<u8>)>, sqlx::Error> {
    let row: Option<(Uuid, Vec<u8>)> = sqlx::query_as("SELECT pod_id, body_hash FROM idempotency_keys WHERE user_id = $1 AND key = $2")
        .bind(user.0)
        .bind(key)
        .fetch_optional(connection)
        .await?;
    Ok(row.map(|(id, hash)| (PodId(id), hash)))
}

pub async fn keep_idempotency_key(connection: &mut PgConnection, user: UserId, key: &str, hash: &[u8], id: PodId) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO idempotency_keys (user_id, key, body_hash, pod_id) VALUES ($1, $2, $3, $4)")
        .bind(user.0)
        .bind(key)
        .bind(hash)
        .bind(id.0)
        .execute(connection)
        .await?;
    Ok(())
}

/// Idempotency keys are kept for a day.
pub async fn forget_idempotency_keys(db: impl PgExecutor<'_>) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM idempotency_keys WHERE created_at < now() - interval '1 day'").execute(db).await?;
    Ok(())
}
