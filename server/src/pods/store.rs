//! The SQL of pods: their rows here; wishes, observations and reservations beside it. Their log's is in `event_store.rs`.

mod keys;
mod observations;
mod ownership;
mod reservations;
mod wishes;

pub use keys::{
    KeyRow, begin_removal, forget_key, insert_key, key, key_of, key_registered, observe_git, removal_failed, removals_without_message, rewrap_keys,
    sealed_keys_after,
};
pub use observations::{
    Observed, OnHost, Seen, behind_without_message, claim, failed_by_silence, hold, known, look_again, observe, observe_setup, on_host,
};
pub use ownership::{Left, alive_in, left_in, owner_left, take_over};
pub use reservations::{Release, addresses_on, adopted, ids_on_host, reserve, running_seconds, usage_of};
pub use wishes::{
    NewRow, WishRow, by_idempotency_key, forget_idempotency_keys, insert, keep_idempotency_key, lock_owner, team_of, update, used, wish,
};

use ipnet::IpNet;
use pinacle_app::{
    ids::{PodId, TeamId, UserId},
    pods::{Desired, Failure, GitAccess, Pod, PodQuery, PodStatus, Setup, SetupState, Tier},
};
use sqlx::{PgConnection, PgExecutor, types::Json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::placement::{Held, Placement};

/// A pod with what surrounds it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct PodRow {
    pub id: Uuid,
    pub team_id: Uuid,
    pub team: String,
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
    pub waiting_since: Option<OffsetDateTime>,
    pub status_at: OffsetDateTime,
    pub wished_at: OffsetDateTime,
    pub last_used_at: Option<OffsetDateTime>,
    /// Since when its owner is in its team no more.
    pub owner_left_at: Option<OffsetDateTime>,
    pub created_at: OffsetDateTime,
    pub host_id: Option<Uuid>,
    pub host: Option<String>,
    pub host_address: Option<String>,
    pub host_state: Option<String>,
    pub address: Option<IpNet>,
    /// Of the reservation; 0 while stopped.
    pub reserved_cpu: Option<i32>,
    pub reserved_memory: Option<i64>,
    pub reserved_disk: Option<i64>,
    pub reason: Option<Json<Placement>>,
    pub reachable: bool,
    pub secrets_outdated: bool,
    pub git_access: Option<Json<GitAccess>>,
}

macro_rules! pods {
    ($tail:literal) => {
        concat!(
            "SELECT p.id, p.team_id, t.slug AS team, p.owner_id, u.handle, p.name, p.tier, p.repository, p.branch, p.\"commit\", p.desired, p.generation, p.boot_after,
                    p.status, p.seen_generation, p.setup, p.setup_detail, p.setup_after, p.setup_generation, p.approved_digest, p.failure, p.booted,
                    p.waiting_for, p.waiting_since, p.status_at, p.wished_at, p.last_used_at, p.owner_left_at, p.created_at,
                    r.host_id, h.name AS host, h.address AS host_address, h.state AS host_state, r.address, r.cpu_milli AS reserved_cpu, r.memory_bytes AS reserved_memory,
                    r.disk_bytes AS reserved_disk, r.reason, p.git_access,
                     coalesce(h.last_seen_at > now() - interval '30 seconds', true) AS reachable,
                     -- A change of what it gets, which its machine was not given. See secrets/store.rs.
                     p.status = 'running' AND EXISTS (
                       SELECT FROM secret_changes c WHERE c.team_id = p.team_id AND c.seq > p.secrets_seen
                         AND (c.project_key = p.project_key OR (c.project_key IS NULL AND NOT EXISTS (
                           SELECT FROM secrets o WHERE o.team_id = p.team_id AND o.name = c.name AND o.project_key = p.project_key)))
                     ) AS secrets_outdated
             FROM pods p JOIN users u ON u.id = p.owner_id JOIN teams t ON t.id = p.team_id LEFT JOIN reservations r ON r.pod_id = p.id LEFT JOIN hosts h ON h.id = r.host_id ",
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

    /// Whether its set-up ended before it was wished anew.
    pub fn is_to_be_set_up_again(&self) -> bool {
        self.setup_after > self.setup_generation
    }

    /// What its reservation holds.
    pub fn held(&self) -> Held {
        let bytes = |held: Option<i64>| held.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0);
        Held { cpu_milli: bytes(self.reserved_cpu.map(i64::from)), memory_bytes: bytes(self.reserved_memory), disk_bytes: bytes(self.reserved_disk) }
    }

    /// Whether its newest wish is not answered, or a job has left it on its way, which it may be without a newer wish: its machine
    /// ended by itself.
    pub fn is_behind(&self) -> bool {
        self.seen_generation < self.generation || self.status().is_moving()
    }
}

impl From<PodRow> for Pod {
    fn from(row: PodRow) -> Self {
        let (status, known) = (row.status(), row.setup());
        // One that is to be done again is under way from the wish on, and its former end says nothing any more.
        let again = status == PodStatus::Running && row.is_to_be_set_up_again();
        Self {
            id: row.id(),
            owner_id: UserId(row.owner_id),
            team_id: TeamId(row.team_id),
            tier: row.tier(),
            status,
            desired: row.desired(),
            reachable: row.reachable,
            secrets_outdated: row.secrets_outdated,
            behind: row.is_behind(),
            setup: match (again, row.setup_detail.0) {
                (true, Setup { plan, plan_digest, .. }) => Setup { state: SetupState::Running, plan, plan_digest, ..Setup::default() },
                (false, detail) => Setup { state: known, ..detail },
            },
            placement: row.reason.map(|r| r.0.words()),
            updated_at: row.status_at.max(row.wished_at),
            running_since: (status == PodStatus::Running).then_some(row.status_at),
            internal_ip: row.address.map(|a| a.addr().to_string()),
            failure: row.failure.map(|f| f.0),
            team: row.team,
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
            git_access: row.git_access.map(|access| access.0),
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

/// The pods of this name that this handle's user owns, or has left behind, of those whose teams `user` is in: two at most, for then no
/// one pod is named. A handle that its user had before leads there, too.
pub async fn named_for(db: impl PgExecutor<'_>, name: &str, handle: &str, user: UserId) -> Result<Vec<PodRow>, sqlx::Error> {
    sqlx::query_as(pods!(
        "JOIN handles o ON o.user_id = p.owner_id AND o.handle = $2 JOIN team_members m ON m.team_id = p.team_id AND m.user_id = $3
         WHERE p.name = $1 AND p.status <> 'deleted' AND (p.owner_left_at IS NULL OR p.desired <> 'deleted') LIMIT 2"
    ))
    .bind(name)
    .bind(handle)
    .bind(user.0)
    .fetch_all(db)
    .await
}

/// Where a page of a list begins: behind this pod.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cursor {
    pub created_at: OffsetDateTime,
    pub id: Uuid,
}

/// Newest first; only pods of teams that the user is in. Chosen by what their own rows say; what surrounds them is read for those
/// that are shown.
pub async fn list_for(
    db: impl PgExecutor<'_>,
    user: UserId,
    query: &PodQuery,
    statuses: &[&str],
    after: Option<Cursor>,
    limit: i64,
) -> Result<Vec<PodRow>, sqlx::Error> {
    sqlx::query_as(pods!(
        "JOIN (
           SELECT p.id FROM team_members m JOIN pods p ON p.team_id = m.team_id
           WHERE m.user_id = $1 AND p.status <> 'deleted' AND ($2::uuid IS NULL OR p.team_id = $2)
             AND ($3::text IS NULL OR position(lower($3) IN lower(
               concat_ws(' ', p.name, p.repository, (SELECT u.handle FROM users u WHERE u.id = p.owner_id)))) > 0)
             AND (cardinality($4::text[]) = 0 OR p.status = ANY($4)) AND ($5::text IS NULL OR p.tier = $5)
             AND ($6::timestamptz IS NULL OR (p.created_at, p.id) < ($6, $7)) AND ($9::uuid IS NULL OR p.owner_id = $9)
             AND ($10::text IS NULL OR p.team_id = (SELECT t.id FROM teams t WHERE t.slug = $10 AND t.deleted_at IS NULL))
           ORDER BY p.created_at DESC, p.id DESC LIMIT $8
         ) shown ON shown.id = p.id
         ORDER BY p.created_at DESC, p.id DESC"
    ))
    .bind(user.0)
    .bind(query.team_id.map(|t| t.0))
    .bind(query.search.as_deref())
    .bind(statuses)
    .bind(query.tier.as_deref())
    .bind(after.map(|c| c.created_at))
    .bind(after.map(|c| c.id))
    .bind(limit)
    .bind(query.owner.as_ref().map(|_| user.0))
    .bind(query.team.as_deref())
    .fetch_all(db)
    .await
}

/// Names that this user's pods have now, but for those that it has left behind in a team.
pub async fn names_of(db: impl PgExecutor<'_>, owner: UserId) -> Result<Vec<String>, sqlx::Error> {
    let rows: Vec<(String,)> = sqlx::query_as("SELECT name FROM pods WHERE owner_id = $1 AND status <> 'deleted' AND owner_left_at IS NULL")
        .bind(owner.0)
        .fetch_all(db)
        .await?;
    Ok(rows.into_iter().map(|(name,)| name).collect())
}
