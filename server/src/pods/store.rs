//! The SQL of pods: rows, wishes, observations, reservations, spans. Their log's is in `event_store.rs`.

use ipnet::IpNet;
use pinacle_app::{
    ids::{HostId, PodId, TeamId, UserId},
    pods::{Desired, Failure, Pod, PodQuery, PodStatus, Setup, SetupState, Tier},
};
use sqlx::{PgConnection, PgExecutor, types::Json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::placement::Placement;

/// A pod with what surrounds it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct PodRow {
    pub id: Uuid,
    pub team_id: Uuid,
    pub owner_id: Uuid,
    pub handle: String,
    pub name: String,
    pub tier: String,
    pub repository: Option<String>,
    pub branch: Option<String>,
    pub commit: Option<String>,
    pub desired: String,
    pub generation: i64,
    pub boot_after: i64,
    pub status: String,
    pub seen_generation: i64,
    pub setup: String,
    pub setup_detail: Json<Setup>,
    pub setup_after: i64,
    pub setup_generation: i64,
    pub approved_digest: Option<String>,
    pub failure: Option<Json<Failure>>,
    pub booted: bool,
    pub waiting_for: Option<String>,
    pub status_at: OffsetDateTime,
    pub wished_at: OffsetDateTime,
    pub last_used_at: Option<OffsetDateTime>,
    pub created_at: OffsetDateTime,
    pub host_id: Option<Uuid>,
    pub host: Option<String>,
    pub host_address: Option<String>,
    pub host_state: Option<String>,
    pub address: Option<IpNet>,
    /// Of the reservation; 0 while stopped.
    pub reserved_cpu: Option<i32>,
    pub reason: Option<Json<Placement>>,
    pub reachable: bool,
}

macro_rules! pods {
    ($tail:literal) => {
        concat!(
            "SELECT p.id, p.team_id, p.owner_id, u.handle, p.name, p.tier, p.repository, p.branch, p.\"commit\", p.desired, p.generation, p.boot_after,
                    p.status, p.seen_generation, p.setup, p.setup_detail, p.setup_after, p.setup_generation, p.approved_digest, p.failure, p.booted,
                    p.waiting_for, p.status_at, p.wished_at, p.last_used_at, p.created_at,
                    r.host_id, h.name AS host, h.address AS host_address, h.state AS host_state, r.address, r.cpu_milli AS reserved_cpu, r.reason,
                    coalesce(h.last_seen_at > now() - interval '30 seconds', true) AS reachable
             FROM pods p JOIN users u ON u.id = p.owner_id LEFT JOIN reservations r ON r.pod_id = p.id LEFT JOIN hosts h ON h.id = r.host_id ",
            $tail
        )
    };
}

impl PodRow {
    pub fn id(&self) -> PodId {
        PodId(self.id)
    }

    pub fn status(&self) -> PodStatus {
        PodStatus::parse(&self.status).unwrap_or(PodStatus::Failed)
    }

    pub fn desired(&self) -> Desired {
        Desired::parse(&self.desired).unwrap_or(Desired::Stopped)
    }

    pub fn tier(&self) -> Tier {
        Tier::parse(&self.tier).unwrap_or(Tier::Small)
    }

    pub fn setup(&self) -> SetupState {
        SetupState::parse(&self.setup).unwrap_or_default()
    }

    pub fn is_behind(&self) -> bool {
        self.seen_generation < self.generation
    }
}

impl From<PodRow> for Pod {
    fn from(row: PodRow) -> Self {
        let (status, state) = (row.status(), row.setup());
        Self {
            id: row.id(),
            owner_id: UserId(row.owner_id),
            team_id: TeamId(row.team_id),
            tier: row.tier(),
            status,
            desired: row.desired(),
            reachable: row.reachable,
            behind: row.is_behind(),
            setup: Setup { state, ..row.setup_detail.0 },
            placement: row.reason.map(|r| r.0.words()),
            updated_at: row.status_at.max(row.wished_at),
            running_since: (status == PodStatus::Running).then_some(row.status_at),
            internal_ip: row.address.map(|a| a.addr().to_string()),
            failure: row.failure.map(|f| f.0),
            name: row.name,
            owner: row.handle,
            repository: row.repository,
            branch: row.branch,
            commit: row.commit,
            host: row.host,
            host_ip: row.host_address,
            waiting_for: row.waiting_for,
            created_at: row.created_at,
            last_used_at: row.last_used_at,
        }
    }
}

/// Id and epoch of this installation.
pub async fn installation(connection: &mut PgConnection) -> Result<(Uuid, u32), sqlx::Error> {
    let (id, epoch): (Uuid, i32) = sqlx::query_as("SELECT id, epoch FROM installation").fetch_one(connection).await?;
    Ok((id, u32::try_from(epoch).unwrap_or(0)))
}

pub async fn get(db: impl PgExecutor<'_>, id: PodId) -> Result<Option<PodRow>, sqlx::Error> {
    sqlx::query_as(pods!("WHERE p.id = $1")).bind(id.0).fetch_optional(db).await
}

/// The pod, if this user is in its team. Deleted ones too: their last watcher hears of it.
pub async fn get_for(db: impl PgExecutor<'_>, id: PodId, user: UserId) -> Result<Option<PodRow>, sqlx::Error> {
    sqlx::query_as(pods!("JOIN team_members m ON m.team_id = p.team_id AND m.user_id = $2 WHERE p.id = $1"))
        .bind(id.0)
        .bind(user.0)
        .fetch_optional(db)
        .await
}

/// Where a page of a list begins: behind this pod.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cursor {
    pub created_at: OffsetDateTime,
    pub id: Uuid,
}

/// Newest first; only pods of teams that the user is in.
pub async fn list_for(
    db: impl PgExecutor<'_>,
    user: UserId,
    query: &PodQuery,
    statuses: &[&str],
    after: Option<Cursor>,
    limit: i64,
) -> Result<Vec<PodRow>, sqlx::Error> {
    sqlx::query_as(pods!(
        "JOIN team_members m ON m.team_id = p.team_id AND m.user_id = $1
         WHERE p.status <> 'deleted' AND ($2::uuid IS NULL OR p.team_id = $2)
           AND ($3::text IS NULL OR position(lower($3) IN lower(concat_ws(' ', p.name, p.repository, u.handle))) > 0)
           AND (cardinality($4::text[]) = 0 OR p.status = ANY($4)) AND ($5::text IS NULL OR p.tier = $5)
           AND ($6::timestamptz IS NULL OR (p.created_at, p.id) < ($6, $7))
         ORDER BY p.created_at DESC, p.id DESC LIMIT $8"
    ))
    .bind(user.0)
    .bind(query.team_id.map(|t| t.0))
    .bind(query.search.as_deref())
    .bind(statuses)
    .bind(query.tier.as_deref())
    .bind(after.map(|c| c.created_at))
    .bind(after.map(|c| c.id))
    .bind(limit)
    .fetch_all(db)
    .await
}

/// Names that this user's pods have now.
pub async fn names_of(db: impl PgExecutor<'_>, owner: UserId) -> Result<Vec<String>, sqlx::Error> {
    let rows: Vec<(String,)> =
        sqlx::query_as("SELECT name FROM pods WHERE owner_id = $1 AND status <> 'deleted'").bind(owner.0).fetch_all(db).await?;
    Ok(rows.into_iter().map(|(name,)| name).collect())
}

pub async fn ids_on_host(connection: &mut PgConnection, host: HostId) -> Result<Vec<PodId>, sqlx::Error> {
    let rows: Vec<(Uuid,)> = sqlx::query_as("SELECT pod_id FROM reservations WHERE host_id = $1").bind(host.0).fetch_all(connection).await?;
    Ok(rows.into_iter().map(|(id,)| PodId(id)).collect())
}

// --- wishes: written by requests ---

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

/// One UPDATE a wish. Nothing is changed on a pod that is deleted.
pub async fn wish(connection: &mut PgConnection, id: PodId, wish: WishRow<'_>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE pods SET generation = generation + 1, wished_at = now(), desired = coalesce($2, desired),
           boot_after = CASE WHEN $3 THEN generation + 1 ELSE boot_after END,
           setup_after = CASE WHEN $4 THEN generation + 1 ELSE setup_after END,
           approved_digest = coalesce($5, approved_digest)
         WHERE id = $1 AND status <> 'deleted'",
    )
    .bind(id.0)
    .bind(wish.desired.map(Desired::as_str))
    .bind(wish.reboot)
    .bind(wish.set_up_again)
    .bind(wish.approve)
    .execute(connection)
    .await?;
    Ok(())
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

// --- observations: written by jobs, under their fence ---

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
}

/// Writes it, closes the span of the status before and opens the new one. False: the lease is lost.
pub async fn observe(connection: &mut PgConnection, id: PodId, lease: i64, seen: Seen<'_>) -> Result<bool, sqlx::Error> {
    let before: Option<(String,)> = sqlx::query_as("SELECT status FROM pods WHERE id = $1 AND fence <= $2 FOR UPDATE")
        .bind(id.0)
        .bind(lease)
        .fetch_optional(&mut *connection)
        .await?;
    let Some((before,)) = before else { return Ok(false) };
    let status = seen.status.map(PodStatus::as_str);
    sqlx::query(
        "UPDATE pods SET status = coalesce($2, status), status_at = CASE WHEN $2 IS NOT NULL AND $2 <> status THEN now() ELSE status_at END,
           seen_generation = greatest(seen_generation, coalesce($3, seen_generation)),
           failure = CASE WHEN $4 THEN $5 ELSE failure END, waiting_for = CASE WHEN $6 THEN $7 ELSE waiting_for END, booted = booted OR $8
         WHERE id = $1",
    )
    .bind(id.0)
    .bind(status)
    .bind(seen.generation)
    .bind(seen.failure.is_some())
    .bind(seen.failure.flatten().map(Json))
    .bind(seen.waiting_for.is_some())
    .bind(seen.waiting_for.flatten())
    .bind(seen.booted)
    .execute(&mut *connection)
    .await?;
    if let Some(status) = status
        && status != before
    {
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
    Ok(true)
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

/// Pods whose wish is not answered, or whose set-up is under way, and that no message names.
pub async fn behind_without_message(db: impl PgExecutor<'_>, limit: i64) -> Result<Vec<(PodId, Desired)>, sqlx::Error> {
    let rows: Vec<(Uuid, String)> = sqlx::query_as(
        "SELECT p.id, p.desired FROM pods p
         WHERE (p.seen_generation < p.generation OR (p.setup = 'running' AND p.status = 'running'))
           AND NOT EXISTS (SELECT FROM queue.message m WHERE m.key = 'pod:' || p.id)
         ORDER BY p.status_at LIMIT $1",
    )
    .bind(limit)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().filter_map(|(id, desired)| Some((PodId(id), Desired::parse(&desired)?))).collect())
}

/// Pods on this host that failed only because it did not answer.
pub async fn failed_by_silence(db: impl PgExecutor<'_>, host: HostId) -> Result<Vec<PodId>, sqlx::Error> {
    let rows: Vec<(Uuid,)> = sqlx::query_as(
        "SELECT p.id FROM pods p JOIN reservations r ON r.pod_id = p.id
         WHERE r.host_id = $1 AND p.status = 'failed' AND p.failure->>'code' = 'host_unreachable' AND p.seen_generation >= p.generation",
    )
    .bind(host.0)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|(id,)| PodId(id)).collect())
}

/// What Postgres has on a host, for reconciling: id, status, desired, whether it is behind, whether it was ever booted.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct OnHost {
    pub id: Uuid,
    pub status: String,
    pub desired: String,
    pub behind: bool,
    pub booted: bool,
}

pub async fn on_host(db: impl PgExecutor<'_>, host: HostId) -> Result<Vec<OnHost>, sqlx::Error> {
    sqlx::query_as(
        "SELECT p.id, p.status, p.desired, p.seen_generation < p.generation AS behind, p.booted
         FROM pods p JOIN reservations r ON r.pod_id = p.id WHERE r.host_id = $1",
    )
    .bind(host.0)
    .fetch_all(db)
    .await
}

/// Which of these pods are known, on whatever host and in whatever state.
pub async fn known(db: impl PgExecutor<'_>, ids: &[Uuid]) -> Result<Vec<(Uuid, String)>, sqlx::Error> {
    sqlx::query_as("SELECT id, status FROM pods WHERE id = ANY($1)").bind(ids).fetch_all(db).await
}

// --- reservations ---

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

/// CPU and memory are free again; the disk stays reserved, for the layer is there.
pub async fn release_machine(connection: &mut PgConnection, id: PodId) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE reservations SET cpu_milli = 0, memory_bytes = 0 WHERE pod_id = $1").bind(id.0).execute(connection).await?;
    Ok(())
}

/// Nothing of the pod is left on its host.
pub async fn release_all(connection: &mut PgConnection, id: PodId) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM reservations WHERE pod_id = $1").bind(id.0).execute(connection).await?;
    Ok(())
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

/// What the owner's pods take: tier, whether CPU and memory count (not stopped), how many.
pub async fn usage_of(connection: &mut PgConnection, owner: UserId) -> Result<Vec<(String, bool, i64)>, sqlx::Error> {
    sqlx::query_as(
        "SELECT tier, desired = 'running' OR status IN ('provisioning', 'starting', 'running', 'stopping'), count(*)
         FROM pods WHERE owner_id = $1 AND status <> 'deleted' GROUP BY 1, 2",
    )
    .bind(owner.0)
    .fetch_all(connection)
    .await
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
