//! The SQL of a pod's log. Sequence numbers come from a locked head row, so commit order is their order and
//! "after N" never skips one.

use pinacle_app::{
    ids::PodId,
    pods::{EventKind, EventStream, PodEvent, timeline::UsualTime},
};
use sqlx::{PgConnection, PgExecutor, types::Json};
use time::OffsetDateTime;

/// Longest text of one event, in bytes.
pub const MAX_TEXT: usize = 16 << 10;
/// Past runs that a usual time is the median of.
const USUAL_RUNS: i64 = 20;
/// Of all pods, how many runs of a step are looked through for them.
const USUAL_AMONG: i64 = 1000;

pub struct NewEvent {
    pub generation: i64,
    pub step: String,
    pub kind: EventKind,
    pub stream: Option<EventStream>,
    /// At most `MAX_TEXT` bytes.
    pub text: String,
    pub data: Option<serde_json::Value>,
}

/// Appends while the lease holds. False: it is lost.
pub async fn append(connection: &mut PgConnection, pod: PodId, lease: i64, events: &[NewEvent]) -> Result<bool, sqlx::Error> {
    let count = i64::try_from(events.len()).unwrap_or(0);
    let head: Option<(i64,)> = sqlx::query_as(
        "UPDATE pod_event_head SET seq = seq + $3 WHERE pod_id = $1 AND EXISTS (SELECT FROM pods WHERE id = $1 AND fence <= $2) RETURNING seq",
    )
    .bind(pod.0)
    .bind(lease)
    .bind(count)
    .fetch_optional(&mut *connection)
    .await?;
    let Some((last,)) = head else { return Ok(false) };
    for (seq, event) in (last - count + 1..).zip(events) {
        sqlx::query(
            "INSERT INTO pod_event (pod_id, seq, at, generation, step, kind, stream, text, data) VALUES ($1, $2, clock_timestamp(), $3, $4, $5, $6, $7, $8)",
        )
        .bind(pod.0)
        .bind(seq)
        .bind(event.generation)
        .bind(&event.step)
        .bind(event.kind.as_str())
        .bind(event.stream.map(stream_text))
        .bind(&event.text)
        .bind(event.data.as_ref().map(Json))
        .execute(&mut *connection)
        .await?;
    }
    Ok(true)
}

fn stream_text(stream: EventStream) -> &'static str {
    match stream {
        EventStream::Stdout => "stdout",
        EventStream::Stderr => "stderr",
    }
}

#[derive(sqlx::FromRow)]
struct EventRow {
    seq: i64,
    at: OffsetDateTime,
    generation: i64,
    step: String,
    kind: String,
    stream: Option<String>,
    text: String,
    data: Option<Json<serde_json::Value>>,
}

impl From<EventRow> for PodEvent {
    fn from(row: EventRow) -> Self {
        Self {
            seq: row.seq,
            at: row.at,
            generation: row.generation,
            step: row.step,
            kind: EventKind::parse(&row.kind).unwrap_or(EventKind::Output),
            stream: row.stream.map(|s| if s == "stderr" { EventStream::Stderr } else { EventStream::Stdout }),
            text: row.text,
            data: row.data.map(|d| d.0),
        }
    }
}

/// At most `limit` events after `after`, oldest first.
pub async fn after(db: impl PgExecutor<'_>, pod: PodId, after: i64, limit: i64) -> Result<Vec<PodEvent>, sqlx::Error> {
    let rows: Vec<EventRow> = sqlx::query_as(
        "SELECT seq, at, generation, step, kind, stream, text, data FROM pod_event WHERE pod_id = $1 AND seq > $2 ORDER BY seq LIMIT $3",
    )
    .bind(pod.0)
    .bind(after)
    .bind(limit)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(PodEvent::from).collect())
}

/// Median duration of each step: machine steps over pods of this tier, set-up steps over those of this tier and repository. Looks
/// no further back than the latest runs of all pods, however long their history is.
pub async fn usual(db: impl PgExecutor<'_>, pod: PodId) -> Result<Vec<UsualTime>, sqlx::Error> {
    let rows: Vec<(String, f64, i64)> = sqlx::query_as(
        "SELECT s.step, percentile_cont(0.5) WITHIN GROUP (ORDER BY s.ms), count(*)
         FROM pods p, unnest($3::text[], $4::bool[]) AS want (step, set_up),
         LATERAL (
           SELECT e.step, (e.data->>'ms')::float8 AS ms FROM (
             SELECT pod_id, step, at, data FROM pod_event WHERE step = want.step AND kind = 'end' ORDER BY at DESC LIMIT $5) e
           JOIN pods o ON o.id = e.pod_id
           WHERE e.data->>'outcome' = 'ok' AND e.data ? 'ms' AND o.tier = p.tier
             AND (NOT want.set_up OR o.repository IS NOT DISTINCT FROM p.repository)
           ORDER BY e.at DESC LIMIT $2) s
         WHERE p.id = $1 GROUP BY s.step",
    )
    .bind(pod.0)
    .bind(USUAL_RUNS)
    .bind(pinacle_app::pods::timeline::STEPS.map(|(step, ..)| step).to_vec())
    .bind(pinacle_app::pods::timeline::STEPS.map(|(_, _, part)| part == pinacle_app::pods::timeline::Part::Setup).to_vec())
    .bind(USUAL_AMONG)
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(step, milliseconds, runs)| UsualTime { step, milliseconds: milliseconds.max(0.0) as u32, runs: u32::try_from(runs).unwrap_or(0) })
        .collect())
}

/// How often the pod's machine ended by itself within the last hour.
pub async fn ended_by_itself(db: impl PgExecutor<'_>, pod: PodId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT count(*) FROM pod_event WHERE pod_id = $1 AND data ? 'ended' AND at > now() - interval '1 hour'")
        .bind(pod.0)
        .fetch_one(db)
        .await
}

/// The log of pods that were deleted longer ago than `keep_days` goes; those that live keep theirs.
pub async fn forget(db: impl PgExecutor<'_>, keep_days: i32) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(
        "DELETE FROM pod_event e USING pods p WHERE p.id = e.pod_id AND p.status = 'deleted' AND p.status_at < now() - make_interval(days => $1)",
    )
    .bind(keep_days)
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}
