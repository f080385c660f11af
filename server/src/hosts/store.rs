//! The SQL of hosts: their rows, keys, capacity.

use crate::db::Db;
use ipnet::IpNet;
use pinacle_app::{
    hosts::{Capacity, Host, HostPod, HostState, NewHost, Orphan, Transport},
    ids::{HostId, PodId, UserId},
    pods::{PodStatus, Tier},
};
use pinacle_host::protocol::{Installation, Inventory};
use sqlx::{PgConnection, PgExecutor, types::Json};
use std::time::Duration;
use time::OffsetDateTime;
use uuid::Uuid;

/// What is needed to ask a host something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostTarget {
    pub id: HostId,
    pub name: String,
    pub transport: Transport,
    pub address: String,
    pub port: u16,
    /// Keys in SSH's wire format that are accepted.
    pub trusted: Vec<Vec<u8>>,
    pub installation: Installation,
}

#[derive(sqlx::FromRow)]
struct TargetRow {
    id: Uuid,
    name: String,
    transport: String,
    address: String,
    port: i32,
    trusted: Vec<Vec<u8>>,
    installation: Uuid,
    epoch: i32,
}

macro_rules! targets {
    ($tail:literal) => {
        concat!(
            "SELECT h.id, h.name, h.transport, h.address, h.port, i.id AS installation, i.epoch,
                    coalesce((SELECT array_agg(k.public_key) FROM host_keys k WHERE k.host_id = h.id AND k.state = 'trusted'), '{}') AS trusted
             FROM hosts h CROSS JOIN installation i WHERE ",
            $tail
        )
    };
}

impl From<TargetRow> for HostTarget {
    fn from(row: TargetRow) -> Self {
        Self {
            id: HostId(row.id),
            name: row.name,
            transport: transport(&row.transport),
            address: row.address,
            port: u16::try_from(row.port).unwrap_or(0),
            trusted: row.trusted,
            installation: Installation { id: row.installation, epoch: u32::try_from(row.epoch).unwrap_or(0) },
        }
    }
}

fn transport(text: &str) -> Transport {
    if text == "https" { Transport::Https } else { Transport::Ssh }
}

fn transport_text(transport: Transport) -> &'static str {
    match transport {
        Transport::Ssh => "ssh",
        Transport::Https => "https",
    }
}

pub async fn target(db: &Db, id: HostId) -> Result<Option<HostTarget>, sqlx::Error> {
    let row: Option<TargetRow> = sqlx::query_as(targets!("h.id = $1")).bind(id.0).fetch_optional(db).await?;
    Ok(row.map(HostTarget::from))
}

/// Every host that has joined and is not given up.
pub async fn targets(db: &Db) -> Result<Vec<HostTarget>, sqlx::Error> {
    let rows: Vec<TargetRow> = sqlx::query_as(targets!("h.state IN ('active', 'cordoned', 'draining') ORDER BY h.name")).fetch_all(db).await?;
    Ok(rows.into_iter().map(HostTarget::from).collect())
}

/// What placement needs of a host.
#[derive(sqlx::FromRow)]
struct PlacementRow {
    id: Uuid,
    name: String,
    pod_cidr: IpNet,
    cpu_milli: i32,
    memory_bytes: i64,
    disk_bytes: i64,
    cpu_ratio: f32,
    memory_ratio: f32,
    disk_ratio: f32,
    cpu_reserved: i64,
    memory_reserved: i64,
    disk_reserved: i64,
}

/// What its page shows beside that.
#[derive(sqlx::FromRow)]
struct HostRow {
    #[sqlx(flatten)]
    placement: PlacementRow,
    transport: String,
    address: String,
    port: i32,
    state: String,
    reachable: bool,
    pods: i64,
    inventory: Json<serde_json::Value>,
    last_seen_at: Option<OffsetDateTime>,
    unknown: i64,
    trusted: Vec<Vec<u8>>,
    offered: Vec<Vec<u8>>,
}

macro_rules! placements {
    ($more:literal, $tail:literal) => {
        concat!(
            "SELECT ",
            $more,
            "h.id, h.name, h.pod_cidr, h.cpu_milli, h.memory_bytes, h.disk_bytes, h.cpu_ratio, h.memory_ratio, h.disk_ratio,
                    coalesce(r.cpu, 0) AS cpu_reserved, coalesce(r.memory, 0)::int8 AS memory_reserved, coalesce(r.disk, 0)::int8 AS disk_reserved
             FROM hosts h LEFT JOIN (
               SELECT host_id, count(*) AS pods, sum(cpu_milli) AS cpu, sum(memory_bytes) AS memory, sum(disk_bytes) AS disk
               FROM reservations GROUP BY host_id) r ON r.host_id = h.id ",
            $tail
        )
    };
}

macro_rules! hosts {
    ($tail:literal) => {
        placements!(
            "h.transport, h.address, h.port, h.state, h.inventory, h.last_seen_at,
                    coalesce(h.last_seen_at > now() - interval '30 seconds', false) AS reachable,
                    coalesce(r.pods, 0) AS pods,
                    (SELECT count(*) FROM jsonb_array_elements(coalesce(h.inventory->'pods', '[]')) AS seen
                     WHERE NOT EXISTS (SELECT FROM pods p WHERE p.id = (seen->>'pod')::uuid)) AS unknown,
                    coalesce((SELECT array_agg(k.public_key ORDER BY k.first_seen_at) FROM host_keys k WHERE k.host_id = h.id AND k.state = 'trusted'), '{}') AS trusted,
                    coalesce((SELECT array_agg(k.public_key ORDER BY k.first_seen_at) FROM host_keys k WHERE k.host_id = h.id AND k.state = 'offered'), '{}') AS offered,
                    ",
            $tail
        )
    };
}

fn limit(physical: u64, ratio: f32) -> u64 {
    (physical as f64 * f64::from(ratio)) as u64
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn state(text: &str) -> HostState {
    match text {
        "active" => HostState::Active,
        "cordoned" => HostState::Cordoned,
        "draining" => HostState::Draining,
        "lost" => HostState::Lost,
        _ => HostState::Joining,
    }
}

fn state_text(state: HostState) -> &'static str {
    match state {
        HostState::Joining => "joining",
        HostState::Active => "active",
        HostState::Cordoned => "cordoned",
        HostState::Draining => "draining",
        HostState::Lost => "lost",
    }
}

impl From<PlacementRow> for PlacementHost {
    fn from(row: PlacementRow) -> Self {
        let capacity = |reserved: i64, physical: i64, ratio: f32| Capacity {
            reserved: unsigned(reserved),
            physical: unsigned(physical),
            limit: limit(unsigned(physical), ratio),
        };
        let cpu = capacity(row.cpu_reserved, row.cpu_milli.into(), row.cpu_ratio);
        Self {
            id: HostId(row.id),
            name: row.name,
            pod_cidr: row.pod_cidr,
            cpu_milli: cpu.physical,
            cpu,
            memory: capacity(row.memory_reserved, row.memory_bytes, row.memory_ratio),
            disk: capacity(row.disk_reserved, row.disk_bytes, row.disk_ratio),
        }
    }
}

impl From<HostRow> for Host {
    fn from(row: HostRow) -> Self {
        let placement = PlacementHost::from(row.placement);
        let inventory = serde_json::from_value::<Inventory>(row.inventory.0).ok();
        let orphans = inventory.as_ref().map_or(0, |i| u32::try_from(i.orphans.len()).unwrap_or(u32::MAX));
        let unknown = usize::try_from(row.unknown).unwrap_or(0);
        let left_alone = super::too_many_unknown(unknown, inventory.as_ref().map_or(0, |i| i.pods.len()));
        let software = inventory
            .map(|i| format!("pinacle-host {}, {} ({}), {}, Linux {}", i.version, i.runsc_version, i.runsc_platform, i.image, i.kernel))
            .unwrap_or_default();
        Self {
            id: placement.id,
            name: placement.name,
            transport: transport(&row.transport),
            address: row.address,
            port: u16::try_from(row.port).unwrap_or(0),
            pod_cidr: placement.pod_cidr.to_string(),
            state: state(&row.state),
            reachable: row.reachable,
            cpu: placement.cpu,
            memory: placement.memory,
            disk: placement.disk,
            pods: u32::try_from(row.pods).unwrap_or(0),
            unknown: u32::try_from(unknown).unwrap_or(u32::MAX),
            left_alone,
            orphans,
            trusted_keys: row.trusted.iter().filter_map(|key| super::join::fingerprint(key)).collect(),
            offered_keys: row.offered.iter().filter_map(|key| super::join::fingerprint(key)).collect(),
            software,
            last_seen_at: row.last_seen_at,
        }
    }
}

pub async fn list(db: &Db) -> Result<Vec<Host>, sqlx::Error> {
    let rows: Vec<HostRow> = sqlx::query_as(hosts!("ORDER BY h.name")).fetch_all(db).await?;
    Ok(rows.into_iter().map(Host::from).collect())
}

pub async fn get(db: &Db, id: HostId) -> Result<Option<Host>, sqlx::Error> {
    let row: Option<HostRow> = sqlx::query_as(hosts!("WHERE h.id = $1")).bind(id.0).fetch_optional(db).await?;
    Ok(row.map(Host::from))
}

/// When the host was heard last, and whether it is reachable therefore.
pub async fn last_seen(db: &Db, id: HostId) -> Result<Option<(Option<OffsetDateTime>, bool)>, sqlx::Error> {
    sqlx::query_as("SELECT last_seen_at, coalesce(last_seen_at > now() - interval '30 seconds', false) FROM hosts WHERE id = $1")
        .bind(id.0)
        .fetch_optional(db)
        .await
}

/// Pods that have a reservation there: those of a stopped pod keep its disk's.
pub async fn pods_on(db: &Db, id: HostId) -> Result<Vec<HostPod>, sqlx::Error> {
    let rows: Vec<(Uuid, String, String, String, String)> = sqlx::query_as(
        "SELECT p.id, p.name, u.handle, p.tier, p.status
         FROM reservations r JOIN pods p ON p.id = r.pod_id JOIN users u ON u.id = p.owner_id WHERE r.host_id = $1 ORDER BY u.handle, p.name, p.id",
    )
    .bind(id.0)
    .fetch_all(db)
    .await?;
    let pod = |(id, name, owner, tier, status): (Uuid, String, String, String, String)| HostPod {
        id: PodId(id),
        name,
        owner,
        tier: Tier::parse(&tier).unwrap_or(Tier::Small),
        status: PodStatus::parse(&status).unwrap_or(PodStatus::Failed),
    };
    Ok(rows.into_iter().map(pod).collect())
}

/// What the hosts (or one of them) said last that they have set aside, the oldest first.
pub async fn orphans(db: &Db, host: Option<HostId>) -> Result<Vec<Orphan>, sqlx::Error> {
    let rows: Vec<(Uuid, String, Json<serde_json::Value>)> =
        sqlx::query_as("SELECT id, name, inventory FROM hosts WHERE state NOT IN ('joining', 'lost') AND ($1::uuid IS NULL OR id = $1)")
            .bind(host.map(|id| id.0))
            .fetch_all(db)
            .await?;
    let mut all = Vec::new();
    for (id, name, inventory) in rows {
        let seen = serde_json::from_value::<Inventory>(inventory.0).map(|i| i.orphans).unwrap_or_default();
        all.extend(seen.into_iter().map(|seen| Orphan {
            pod: PodId(seen.pod),
            host_id: HostId(id),
            host: name.clone(),
            set_aside_at: OffsetDateTime::from_unix_timestamp(seen.set_aside).unwrap_or(OffsetDateTime::UNIX_EPOCH),
            disk_bytes: seen.disk_bytes,
        }));
    }
    all.sort_by_key(|orphan| orphan.set_aside_at);
    Ok(all)
}

/// Adds a host that is to join, with the first /24 of 10.88.0.0/16 that is free; one of that name that has not joined gets the new token.
/// None: the name is taken by a host that has joined, or no range is free.
pub async fn add(connection: &mut PgConnection, new: &NewHost, port: u16, token_hash: &[u8], valid: Duration) -> Result<Option<HostId>, sqlx::Error> {
    // Two at once would take the same range.
    sqlx::query("LOCK TABLE hosts IN SHARE ROW EXCLUSIVE MODE").execute(&mut *connection).await?;
    let id: Option<(Uuid,)> = sqlx::query_as(
        "INSERT INTO hosts AS h (id, name, transport, address, port, pod_cidr, state, join_token_hash, join_expires_at)
         SELECT $1, $2, $3, $4, $5, free.cidr, 'joining', $6, now() + make_interval(secs => $7)
         FROM (SELECT ('10.88.' || n || '.0/24')::cidr AS cidr FROM generate_series(1, 254) n
               WHERE NOT EXISTS (SELECT FROM hosts o WHERE o.pod_cidr = ('10.88.' || n || '.0/24')::cidr) ORDER BY n LIMIT 1) free
         ON CONFLICT (name) DO UPDATE SET transport = excluded.transport, address = excluded.address, port = excluded.port,
           join_token_hash = excluded.join_token_hash, join_expires_at = excluded.join_expires_at, join_used_at = NULL
           WHERE h.state = 'joining'
         RETURNING h.id",
    )
    .bind(Uuid::now_v7())
    .bind(&new.name)
    .bind(transport_text(new.transport))
    .bind(&new.address)
    .bind(i32::from(port))
    .bind(token_hash)
    .bind(valid.as_secs_f64())
    .fetch_optional(connection)
    .await?;
    Ok(id.map(|(id,)| HostId(id)))
}

/// Gives a host that is there a new token; false for one that is given up.
pub async fn renew_token(connection: &mut PgConnection, id: HostId, token_hash: &[u8], valid: Duration) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "UPDATE hosts SET join_token_hash = $2, join_expires_at = now() + make_interval(secs => $3), join_used_at = NULL
         WHERE id = $1 AND state <> 'lost'",
    )
    .bind(id.0)
    .bind(token_hash)
    .bind(valid.as_secs_f64())
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The host whose token this is, while it is good. One that was used is good for the machine that used it until that was heard:
/// the answer to a join may be lost.
pub async fn by_join_token(
    connection: &mut PgConnection,
    token_hash: &[u8],
    keys: &[(String, Vec<u8>)],
) -> Result<Option<(HostId, IpNet)>, sqlx::Error> {
    let row: Option<(Uuid, IpNet, bool)> = sqlx::query_as(
        "SELECT id, pod_cidr, join_used_at IS NOT NULL FROM hosts
         WHERE join_token_hash = $1 AND join_expires_at > now() AND state <> 'lost' FOR UPDATE",
    )
    .bind(token_hash)
    .fetch_optional(&mut *connection)
    .await?;
    let Some((id, cidr, used)) = row else { return Ok(None) };
    // Read after the lock was had: another use of the token has been written by now.
    let id = HostId(id);
    let trusted = keys_in(connection, id, KeyState::Trusted).await?;
    let is_same = keys.iter().all(|(_, key)| trusted.contains(key));
    Ok((!used || is_same).then_some((id, cidr)))
}

/// Writes what a host reported as it joined. It gets no pods before it was heard, which uses its token up.
pub async fn joined(connection: &mut PgConnection, id: HostId, inventory: &Inventory, keys: &[(String, Vec<u8>)]) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM host_keys WHERE host_id = $1").bind(id.0).execute(&mut *connection).await?;
    for (algorithm, key) in keys {
        sqlx::query("INSERT INTO host_keys (host_id, algorithm, public_key, state) VALUES ($1, $2, $3, 'trusted') ON CONFLICT DO NOTHING")
            .bind(id.0)
            .bind(algorithm)
            .bind(key)
            .execute(&mut *connection)
            .await?;
    }
    write_inventory(&mut *connection, id, inventory).await?;
    sqlx::query(
        "UPDATE hosts SET state = CASE state WHEN 'joining' THEN 'active' ELSE state END, last_seen_at = NULL, join_used_at = now() WHERE id = $1",
    )
    .bind(id.0)
    .execute(connection)
    .await?;
    Ok(())
}

/// The host was heard over its own connection.
pub async fn heard_from(connection: &mut PgConnection, id: HostId, inventory: &Inventory) -> Result<(), sqlx::Error> {
    write_inventory(&mut *connection, id, inventory).await?;
    // A token that was not used yet is for a machine that is to join again.
    sqlx::query(
        "UPDATE hosts SET last_seen_at = now(), join_token_hash = CASE WHEN join_used_at IS NULL THEN join_token_hash END,
           join_expires_at = CASE WHEN join_used_at IS NULL THEN join_expires_at END, join_used_at = NULL
         WHERE id = $1",
    )
    .bind(id.0)
    .execute(connection)
    .await?;
    Ok(())
}

/// What the host said of itself.
async fn write_inventory(connection: &mut PgConnection, id: HostId, inventory: &Inventory) -> Result<(), sqlx::Error> {
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    sqlx::query("UPDATE hosts SET boot_id = $2, cpu_milli = $3, memory_bytes = $4, disk_bytes = $5, inventory = $6 WHERE id = $1")
        .bind(id.0)
        .bind(inventory.boot_id)
        .bind(i32::try_from(inventory.cpu_milli).unwrap_or(i32::MAX))
        .bind(signed(inventory.memory_bytes))
        .bind(signed(inventory.disk_bytes))
        .bind(Json(storable(serde_json::to_value(inventory).map_err(|error| sqlx::Error::Encode(error.into()))?)))
        .execute(connection)
        .await?;
    Ok(())
}

/// Postgres keeps no NUL in text. A host is believed about itself, but what it says must not keep others from being heard.
fn storable(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::String(text) if text.contains('\0') => Value::String(text.replace('\0', "\u{fffd}")),
        Value::Array(items) => Value::Array(items.into_iter().map(storable).collect()),
        Value::Object(fields) => Value::Object(fields.into_iter().map(|(name, value)| (name, storable(value))).collect()),
        other => other,
    }
}

/// False: it is not in one of the states that this may follow.
pub async fn set_state(connection: &mut PgConnection, id: HostId, to: HostState, from: &[HostState]) -> Result<bool, sqlx::Error> {
    let from: Vec<&str> = from.iter().map(|s| state_text(*s)).collect();
    let done = sqlx::query("UPDATE hosts SET state = $2 WHERE id = $1 AND state = ANY($3)")
        .bind(id.0)
        .bind(state_text(to))
        .bind(from)
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// A key that the host showed in place of a trusted one, for an operator to judge; one that was trusted before is no exception.
pub async fn offer_key(db: &Db, id: HostId, algorithm: &str, key: &[u8]) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO host_keys AS k (host_id, algorithm, public_key, state) VALUES ($1, $2, $3, 'offered')
         ON CONFLICT (host_id, public_key) DO UPDATE SET state = 'offered' WHERE k.state = 'retired'",
    )
    .bind(id.0)
    .bind(algorithm)
    .bind(key)
    .execute(db)
    .await?;
    Ok(())
}

#[derive(Clone, Copy, Debug)]
pub enum KeyState {
    Trusted,
    Offered,
}

/// The host's keys in this state, in SSH's wire format.
pub async fn keys_in(db: impl PgExecutor<'_>, id: HostId, state: KeyState) -> Result<Vec<Vec<u8>>, sqlx::Error> {
    let state = match state {
        KeyState::Trusted => "trusted",
        KeyState::Offered => "offered",
    };
    sqlx::query_scalar("SELECT public_key FROM host_keys WHERE host_id = $1 AND state = $2").bind(id.0).bind(state).fetch_all(db).await
}

/// From now on this key is not accepted any more. False: it is the only one.
pub async fn retire_key(connection: &mut PgConnection, id: HostId, key: &[u8]) -> Result<bool, sqlx::Error> {
    // Two at once would retire the last two.
    sqlx::query("SELECT FROM hosts WHERE id = $1 FOR UPDATE").bind(id.0).execute(&mut *connection).await?;
    let done = sqlx::query(
        "UPDATE host_keys SET state = 'retired' WHERE host_id = $1 AND public_key = $2 AND state = 'trusted'
         AND EXISTS (SELECT FROM host_keys o WHERE o.host_id = $1 AND o.public_key <> $2 AND o.state = 'trusted')",
    )
    .bind(id.0)
    .bind(key)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// From now on this key is accepted, too.
pub async fn trust_key(connection: &mut PgConnection, id: HostId, key: &[u8], by: UserId) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE host_keys SET state = 'trusted', confirmed_by = $3 WHERE host_id = $1 AND public_key = $2")
        .bind(id.0)
        .bind(key)
        .bind(by.0)
        .execute(connection)
        .await?;
    Ok(())
}

/// A host as placement sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct PlacementHost {
    pub id: HostId,
    pub name: String,
    pub pod_cidr: IpNet,
    /// Cores of the machine, in thousandths: a larger tier is capped there.
    pub cpu_milli: u64,
    pub cpu: Capacity,
    pub memory: Capacity,
    pub disk: Capacity,
}

/// The hosts that may get a pod, locked until the transaction ends, so that nobody else places at the same moment.
/// `only`: the host that has the pod's layer, also where it takes no new pods.
pub async fn lock_for_placement(connection: &mut PgConnection, only: Option<HostId>) -> Result<Vec<PlacementHost>, sqlx::Error> {
    let only = only.map(|id| id.0);
    sqlx::query("SELECT FROM hosts WHERE CASE WHEN $1::uuid IS NULL THEN state = 'active' ELSE id = $1 END ORDER BY id FOR UPDATE")
        .bind(only)
        .execute(&mut *connection)
        .await?;
    let rows: Vec<PlacementRow> = sqlx::query_as(placements!(
        "",
        "WHERE CASE WHEN $1::uuid IS NULL THEN h.state = 'active' AND h.last_seen_at > now() - interval '30 seconds' ELSE h.id = $1 END ORDER BY h.id"
    ))
    .bind(only)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(PlacementHost::from).collect())
}

/// A restored database does not know how far epoch and fences went after its backup. Both go on from the clock (seconds since 2025,
/// milliseconds since 1970), which is beyond whatever they were: they rise by less than one in each.
pub async fn begin_epoch(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    sqlx::query("SELECT setval('queue.fence', greatest(nextval('queue.fence'), (extract(epoch FROM clock_timestamp()) * 1000)::bigint))")
        .execute(&mut *connection)
        .await?;
    sqlx::query_scalar(
        "UPDATE installation SET epoch = greatest(epoch + 1, (extract(epoch FROM clock_timestamp() - timestamptz '2025-01-01'))::int) RETURNING epoch",
    )
    .fetch_one(connection)
    .await
}

/// How many hosts take pods, and how many of those were heard lately.
pub async fn heard(db: &Db) -> Result<(i64, i64), sqlx::Error> {
    sqlx::query_as(
        "SELECT count(*), count(*) FILTER (WHERE last_seen_at > now() - interval '30 seconds') FROM hosts WHERE state IN ('active', 'cordoned', 'draining')",
    )
    .fetch_one(db)
    .await
}
