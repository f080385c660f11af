//! What jobs write, under their fence, and what they look for.

use super::{
    PodRow, get,
    reservations::{self, Release},
};
use pinacle_app::{
    ids::{HostId, PodId},
    pods::{Desired, Failure, PodStatus, Setup},
};
use sqlx::{PgConnection, PgExecutor, types::Json};
use std::time::Duration;
use uuid::Uuid;

/// Takes the pod for this lease. None: a newer lease has it, or there is no such pod.
pub async fn claim(connection: &mut PgConnection, id: PodId, lease: i64) -> Result<Option<PodRow>, sqlx::Error> {
    let taken = sqlx::query("UPDATE pods SET fence = $2 WHERE id = $1 AND fence <= $2").bind(id.0).bind(lease).execute(&mut *connection).await?;
    if taken.rows_affected() == 0 {
        return Ok(None);
    }
    get(&mut *connection, id).await
}

/// What a job has seen of the machine; None leaves a field as it is.
#[derive(Default)]
pub struct Seen<'a> {
    pub status: Option<PodStatus>,
    /// The wish that this answers.
    pub generation: Option<i64>,
    /// Some(None) takes it away.
    pub failure: Option<Option<&'a Failure>>,
    pub waiting_for: Option<Option<&'a str>>,
    pub booted: bool,
    pub release: Release,
}

/// The pod's status, which the lease holds until the transaction ends. None: the lease is lost.
pub async fn hold(connection: &mut PgConnection, id: PodId, lease: i64) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT status FROM pods WHERE id = $1 AND fence <= $2 FOR UPDATE").bind(id.0).bind(lease).fetch_optional(connection).await
}

/// What came of an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    Written,
    /// Written, and the status is another one.
    NewStatus(PodStatus),
    /// The lease is lost; nothing was written.
    Lost,
}

/// Writes it, closes the span of the status before and opens the new one.
pub async fn observe(connection: &mut PgConnection, id: PodId, lease: i64, seen: Seen<'_>) -> Result<Observed, sqlx::Error> {
    let Some(before) = hold(&mut *connection, id, lease).await? else { return Ok(Observed::Lost) };
    let new_status = seen.status.filter(|status| status.as_str() != before);
    sqlx::query(
        "UPDATE pods SET status = coalesce($2, status), status_at = CASE WHEN $2 IS NOT NULL AND $2 <> status THEN now() ELSE status_at END,
           -- Of a pod that is gone nothing is left to do, whatever was wished last.
           seen_generation = CASE WHEN $2 = 'deleted' THEN generation ELSE greatest(seen_generation, coalesce($3, seen_generation)) END,
           failure = CASE WHEN $4 THEN $5 ELSE failure END, booted = booted OR $8,
           waiting_for = CASE WHEN $6 THEN $7 ELSE waiting_for END,
           waiting_since = CASE WHEN NOT $6 THEN waiting_since WHEN $7 IS NOT NULL THEN coalesce(waiting_since, now()) END
         WHERE id = $1",
    )
    .bind(id.0)
    .bind(seen.status.map(PodStatus::as_str))
    .bind(seen.generation)
    .bind(seen.failure.is_some())
    .bind(seen.failure.flatten().map(Json))
    .bind(seen.waiting_for.is_some())
    .bind(seen.waiting_for.flatten())
    .bind(seen.booted)
    .execute(&mut *connection)
    .await?;
    if new_status.is_some() {
        sqlx::query("UPDATE pod_span SET ended_at = clock_timestamp() WHERE pod_id = $1 AND ended_at IS NULL")
            .bind(id.0)
            .execute(&mut *connection)
            .await?;
        sqlx::query(
            "INSERT INTO pod_span (pod_id, team_id, tier, status, began_at) SELECT id, team_id, tier, status, clock_timestamp() FROM pods WHERE id = $1",
        )
        .bind(id.0)
        .execute(&mut *connection)
        .await?;
    }
    reservations::release(connection, id, seen.release).await?;
    Ok(new_status.map_or(Observed::Written, Observed::NewStatus))
}

/// What a job has seen of the set-up. False: the lease is lost.
pub async fn observe_setup(
    connection: &mut PgConnection,
    id: PodId,
    lease: i64,
    setup: &Setup,
    generation: i64,
    commit: Option<&str>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "UPDATE pods SET setup = $3, setup_detail = $4, setup_generation = $5, \"commit\" = coalesce($6, \"commit\") WHERE id = $1 AND fence <= $2",
    )
    .bind(id.0)
    .bind(lease)
    .bind(setup.state.as_str())
    .bind(Json(setup))
    .bind(generation)
    .bind(commit)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Makes the pod behind its wish again, so that the next job looks at its host once more.
pub async fn look_again(connection: &mut PgConnection, id: PodId) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE pods SET seen_generation = least(seen_generation, generation - 1) WHERE id = $1 AND status <> 'deleted'")
        .bind(id.0)
        .execute(connection)
        .await?;
    Ok(())
}

/// Pods whose wish is not answered, that are on their way, or whose set-up is due, and that no message names.
pub async fn behind_without_message(db: impl PgExecutor<'_>, limit: i64) -> Result<Vec<(PodId, Desired)>, sqlx::Error> {
    let rows: Vec<(Uuid, String)> = sqlx::query_as(
        "SELECT p.id, p.desired FROM pods p
         WHERE p.status <> 'deleted' AND (p.seen_generation < p.generation
             -- `PodRow::is_behind`: on its way.
             OR p.status IN ('queued', 'provisioning', 'starting', 'stopping', 'deleting')
             OR (p.status = 'running' AND p.desired = 'running'
               -- `set_up_pod::is_due`.
               AND p.repository IS NOT NULL AND (p.setup IN ('none', 'running') OR p.setup_after > p.setup_generation)))
           AND NOT EXISTS (SELECT FROM queue.message m WHERE m.key = 'pod:' || p.id)
         ORDER BY p.status_at LIMIT $1",
    )
    .bind(limit)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().filter_map(|(id, desired)| Some((PodId(id), Desired::parse(&desired)?))).collect())
}

/// Pods on this host that failed, at least so long ago, only because it did not answer, was not trusted or took no commands of ours.
pub async fn failed_by_silence(db: impl PgExecutor<'_>, host: HostId, ago: Duration) -> Result<Vec<PodId>, sqlx::Error> {
    let rows: Vec<(Uuid,)> = sqlx::query_as(
        "SELECT p.id FROM pods p JOIN reservations r ON r.pod_id = p.id
         WHERE r.host_id = $1 AND p.status = 'failed' AND p.failure->>'code' IN ('host_unreachable', 'host_key_changed', 'wrong_installation', 'wrong_protocol')
           AND p.seen_generation >= p.generation AND p.status_at < now() - make_interval(secs => $2)",
    )
    .bind(host.0)
    .bind(ago.as_secs_f64())
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|(id,)| PodId(id)).collect())
}

/// What Postgres has on a host, for reconciling.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct OnHost {
    pub id: Uuid,
    pub status: String,
    pub desired: String,
    /// A job is to look at it, or will be as soon as its host is checked.
    pub behind: bool,
    pub booted: bool,
    /// Of its layer.
    pub disk_bytes: i64,
}

pub async fn on_host(db: impl PgExecutor<'_>, host: HostId) -> Result<Vec<OnHost>, sqlx::Error> {
    sqlx::query_as(
        "SELECT p.id, p.status, p.desired, p.booted, r.disk_bytes,
                p.seen_generation < p.generation
                -- `failed_by_silence`: what runs there is kept.
                OR (p.status = 'failed' AND coalesce(p.failure->>'code' IN ('host_unreachable', 'host_key_changed', 'wrong_installation', 'wrong_protocol'), false)) AS behind
         FROM pods p JOIN reservations r ON r.pod_id = p.id WHERE r.host_id = $1",
    )
    .bind(host.0)
    .fetch_all(db)
    .await
}

/// Which of these pods are known, on whatever host, and whether they are deleted.
pub async fn known(db: impl PgExecutor<'_>, ids: &[Uuid]) -> Result<Vec<(Uuid, bool)>, sqlx::Error> {
    sqlx::query_as("SELECT id, status = 'deleted' FROM pods WHERE id = ANY($1)").bind(ids).fetch_all(db).await
}
