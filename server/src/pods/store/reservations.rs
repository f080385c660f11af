//! What pods take: of their host, of their owner's quota, of time.

use crate::pods::placement::Placement;
use ipnet::IpNet;
use pinacle_app::{
    ids::{HostId, PodId, UserId},
    pods::Tier,
};
use sqlx::{PgConnection, PgExecutor, types::Json};
use time::OffsetDateTime;
use uuid::Uuid;

pub async fn addresses_on(connection: &mut PgConnection, host: HostId) -> Result<Vec<IpNet>, sqlx::Error> {
    let rows: Vec<(IpNet,)> = sqlx::query_as("SELECT address FROM reservations WHERE host_id = $1").bind(host.0).fetch_all(connection).await?;
    Ok(rows.into_iter().map(|(a,)| a).collect())
}

pub async fn reserve(connection: &mut PgConnection, id: PodId, placement: &Placement, address: IpNet, tier: Tier) -> Result<(), sqlx::Error> {
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    sqlx::query(
        "INSERT INTO reservations (pod_id, host_id, address, disk_bytes, cpu_milli, memory_bytes, reason) VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (pod_id) DO UPDATE SET cpu_milli = excluded.cpu_milli, memory_bytes = excluded.memory_bytes,
           disk_bytes = greatest(reservations.disk_bytes, excluded.disk_bytes)",
    )
    .bind(id.0)
    .bind(placement.host_id.0)
    .bind(address)
    .bind(signed(tier.disk_bytes()))
    .bind(i32::try_from(tier.cpu_milli()).unwrap_or(i32::MAX))
    .bind(signed(tier.memory_bytes()))
    .bind(Json(placement))
    .execute(connection)
    .await?;
    Ok(())
}

/// What of a reservation is free again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Release {
    #[default]
    Nothing,
    /// CPU and memory; the disk stays reserved, for the layer is there.
    Machine,
    /// Nothing of the pod is left on its host.
    All,
}

pub async fn release(connection: &mut PgConnection, id: PodId, what: Release) -> Result<(), sqlx::Error> {
    let release = match what {
        Release::Nothing => return Ok(()),
        Release::Machine => "UPDATE reservations SET cpu_milli = 0, memory_bytes = 0 WHERE pod_id = $1",
        Release::All => "DELETE FROM reservations WHERE pod_id = $1",
    };
    sqlx::query(release).bind(id.0).execute(connection).await?;
    Ok(())
}

pub async fn ids_on_host(connection: &mut PgConnection, host: HostId) -> Result<Vec<PodId>, sqlx::Error> {
    let rows: Vec<(Uuid,)> = sqlx::query_as("SELECT pod_id FROM reservations WHERE host_id = $1").bind(host.0).fetch_all(connection).await?;
    Ok(rows.into_iter().map(|(id,)| PodId(id)).collect())
}

/// A pod whose disk is on its host already, and that does not run.
pub async fn adopted(connection: &mut PgConnection, id: PodId) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE pods SET desired = 'stopped', status = 'stopped', seen_generation = generation, booted = true WHERE id = $1")
        .bind(id.0)
        .execute(&mut *connection)
        .await?;
    release(connection, id, Release::Machine).await
}

/// Seconds that the pod was running since `since`.
pub async fn running_seconds(db: impl PgExecutor<'_>, id: PodId, since: OffsetDateTime) -> Result<Vec<(Tier, f64)>, sqlx::Error> {
    let rows: Vec<(String, f64)> = sqlx::query_as(
        "SELECT tier, sum(extract(epoch FROM coalesce(ended_at, now()) - greatest(began_at, $2)))::float8
         FROM pod_span WHERE pod_id = $1 AND status = 'running' AND coalesce(ended_at, now()) > $2 GROUP BY tier",
    )
    .bind(id.0)
    .bind(since)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().filter_map(|(tier, seconds)| Some((Tier::parse(&tier)?, seconds.max(0.0)))).collect())
}

/// What the owner's pods take, and those that others have left behind in teams that it owns: tier, whether CPU and memory count (not stopped), how many.
pub async fn usage_of(connection: &mut PgConnection, owner: UserId) -> Result<Vec<(String, bool, i64)>, sqlx::Error> {
    sqlx::query_as(
        "SELECT tier, desired = 'running' OR status IN ('provisioning', 'starting', 'running', 'stopping'), count(*)
         FROM pods p WHERE status <> 'deleted'
           AND ((owner_id = $1 AND owner_left_at IS NULL)
                OR (owner_left_at IS NOT NULL
                    AND p.team_id IN (SELECT m.team_id FROM team_members m WHERE m.user_id = $1 AND m.role = 'owner'))) GROUP BY 1, 2",
    )
    .bind(owner.0)
    .fetch_all(connection)
    .await
}
