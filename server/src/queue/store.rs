//! The queue's SQL.

use super::{MAX_READS, Message};
use crate::db::Db;
use serde_json::Value;
use sqlx::{PgConnection, postgres::types::PgInterval};
use std::{collections::HashMap, time::Duration};

/// Channel that a send notifies when a worker waits; the payload is the queue's name.
pub const CHANNEL: &str = "queue";
/// Months of the archive are kept this long.
const KEEP_ARCHIVE: &str = "3 months";
/// How often a read begins anew because a message of the same key began elsewhere in between.
const READ_ATTEMPTS: usize = 3;

pub struct NewMessage<'a> {
    pub queue: &'static str,
    /// At most one message of a key waits; sending another keeps the earlier time and the higher priority.
    pub key: Option<&'a str>,
    pub priority: i16,
    pub delay: Duration,
    /// The tries of a message that waits already begin anew: somebody asked again.
    pub anew: bool,
    pub message: Value,
    pub headers: Value,
}

fn interval(duration: Duration) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX) }
}

/// Sends within the caller's transaction; wakes a worker when it commits, if one waits.
pub async fn send(connection: &mut PgConnection, new: NewMessage<'_>) -> Result<(), sqlx::Error> {
    let queue = new.queue;
    send_batch(connection, queue, vec![new]).await
}

/// The same for many of one queue, with one statement. Those of one key become one message, as if sent one after another.
pub async fn send_batch(connection: &mut PgConnection, queue: &'static str, batch: Vec<NewMessage<'_>>) -> Result<(), sqlx::Error> {
    let batch = merge_twins(batch);
    // The waking goes with it: a journey less, and whoever sends is not slower for being heard.
    sqlx::query(
        "WITH sent AS (
           INSERT INTO queue.message AS m (queue, key, priority, vt, max_reads, message, headers, read_ct)
           SELECT $1, n.key, n.priority, now() + n.delay, $2, n.message, n.headers, 0
           FROM unnest($3::text[], $4::int2[], $5::interval[], $6::jsonb[], $7::jsonb[]) AS n (key, priority, delay, message, headers)
           ON CONFLICT (queue, key) WHERE lease IS NULL
           DO UPDATE SET vt = least(m.vt, excluded.vt), priority = greatest(m.priority, excluded.priority), headers = excluded.headers,
             read_ct = CASE WHEN excluded.key = ANY($8::text[]) THEN 0 ELSE m.read_ct END)
         SELECT pg_notify($9, $1) WHERE EXISTS (SELECT FROM queue.idle WHERE queue = $1 AND until > now())",
    )
    .bind(queue)
    .bind(MAX_READS)
    .bind(batch.iter().map(|new| new.key).collect::<Vec<_>>())
    .bind(batch.iter().map(|new| new.priority).collect::<Vec<_>>())
    .bind(batch.iter().map(|new| interval(new.delay)).collect::<Vec<_>>())
    .bind(batch.iter().map(|new| &new.message).collect::<Vec<_>>())
    .bind(batch.iter().map(|new| &new.headers).collect::<Vec<_>>())
    .bind(batch.iter().filter(|new| new.anew).filter_map(|new| new.key).collect::<Vec<_>>())
    .bind(CHANNEL)
    .execute(connection)
    .await?;
    Ok(())
}

/// One statement can't change a row twice. In the order of their keys, so that two batches never wait for each other.
fn merge_twins(batch: Vec<NewMessage<'_>>) -> Vec<NewMessage<'_>> {
    let mut merged: Vec<NewMessage> = Vec::with_capacity(batch.len());
    let mut places = HashMap::new();
    for new in batch {
        match new.key.and_then(|key| places.get(key)).copied() {
            Some(place) => {
                let first: &mut NewMessage = &mut merged[place];
                first.priority = first.priority.max(new.priority);
                first.delay = first.delay.min(new.delay);
                first.anew |= new.anew;
                first.headers = new.headers;
            }
            None => {
                if let Some(key) = new.key {
                    places.insert(key, merged.len());
                }
                merged.push(new);
            }
        }
    }
    merged.sort_by_key(|new| new.key);
    merged
}

/// NOTIFY takes a lock of the whole server at commit, so it is sent only where somebody waits.
async fn wake(connection: &mut PgConnection, queue: &str) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_notify($1, $2) WHERE EXISTS (SELECT FROM queue.idle WHERE queue = $2 AND until > now())")
        .bind(CHANNEL)
        .bind(queue)
        .execute(connection)
        .await?;
    Ok(())
}

/// Reads at most `limit` messages, highest priority and longest due first; they are this worker's until `visibility` has passed.
pub async fn read(db: &Db, queue: &str, worker: &str, visibility: Duration, limit: i64) -> Result<Vec<Message>, sqlx::Error> {
    for _ in 0..READ_ATTEMPTS {
        match read_once(db, queue, worker, visibility, limit).await {
            // Another worker has just begun a message of the same key, in another queue: that one waits its turn, the rest
            // of the batch does not.
            Err(error) if crate::db::broken_constraint(&error) == Some("message_one_running") => {}
            other => return other,
        }
    }
    Ok(Vec::new())
}

async fn read_once(db: &Db, queue: &str, worker: &str, visibility: Duration, limit: i64) -> Result<Vec<Message>, sqlx::Error> {
    // By an array: a join with `due` would be planned as a scan of the whole table, for each read.
    sqlx::query_as(
        "WITH due AS (
           SELECT m.msg_id FROM queue.message m
           WHERE m.queue = $1 AND m.vt <= now()
             AND NOT EXISTS (SELECT FROM queue.message o WHERE o.key = m.key AND o.lease IS NOT NULL AND o.msg_id <> m.msg_id)
           ORDER BY m.priority DESC, m.vt, m.msg_id
           LIMIT $2 FOR UPDATE SKIP LOCKED)
         UPDATE queue.message m
         SET lease = nextval('queue.fence'), worker = $3, vt = now() + $4, read_ct = m.read_ct + 1
         WHERE m.msg_id = ANY (ARRAY(SELECT msg_id FROM due))
         RETURNING m.msg_id, m.queue, m.key, m.read_ct, m.max_reads, m.lease, m.message, m.headers",
    )
    .bind(queue)
    .bind(limit)
    .bind(worker)
    .bind(interval(visibility))
    .fetch_all(db)
    .await
}

/// Keeps a message for `visibility` from now. False: the lease is lost, stop at once.
pub async fn set_vt(db: &Db, msg_id: i64, lease: i64, visibility: Duration) -> Result<bool, sqlx::Error> {
    let done = sqlx::query("UPDATE queue.message SET vt = now() + $3 WHERE msg_id = $1 AND lease = $2")
        .bind(msg_id)
        .bind(lease)
        .bind(interval(visibility))
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Takes a message off the queue; `error` makes it a dead letter. False: the lease is lost, and nothing was changed.
pub async fn archive(db: &Db, msg_id: i64, lease: i64, error: Option<&str>) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "WITH gone AS (DELETE FROM queue.message WHERE msg_id = $1 AND lease = $2 RETURNING *)
         INSERT INTO queue.archive (msg_id, queue, key, priority, read_ct, max_reads, enqueued_at, vt, lease, worker, message, headers, outcome, error)
         SELECT msg_id, queue, key, priority, read_ct, max_reads, enqueued_at, vt, lease, worker, message, headers,
                CASE WHEN $3::text IS NULL THEN 'done' ELSE 'dead' END, $3 FROM gone",
    )
    .bind(msg_id)
    .bind(lease)
    .bind(error)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Takes messages that were done off the queue, with one statement. Those that are missing in the answer: the lease is lost,
/// and nothing was changed.
pub async fn archive_batch(db: &Db, done: &[(i64, i64)]) -> Result<Vec<i64>, sqlx::Error> {
    let (ids, leases): (Vec<i64>, Vec<i64>) = done.iter().copied().unzip();
    sqlx::query_scalar(
        "WITH gone AS (
           DELETE FROM queue.message m USING unnest($1::bigint[], $2::bigint[]) AS d (msg_id, lease)
           WHERE m.msg_id = d.msg_id AND m.lease = d.lease RETURNING m.*)
         INSERT INTO queue.archive (msg_id, queue, key, priority, read_ct, max_reads, enqueued_at, vt, lease, worker, message, headers, outcome)
         SELECT msg_id, queue, key, priority, read_ct, max_reads, enqueued_at, vt, lease, worker, message, headers, 'done' FROM gone
         RETURNING msg_id",
    )
    .bind(ids)
    .bind(leases)
    .fetch_all(db)
    .await
}

/// Gives a message back for another try after `delay`. A twin that waits already, with a newer wish, takes its place.
pub async fn fail(db: &Db, msg_id: i64, lease: i64, delay: Duration) -> Result<bool, sqlx::Error> {
    give_back(db, msg_id, lease, delay, 0).await
}

/// Gives a message back as if it had not been read: another worker takes it at once, or after `delay`.
pub async fn release(db: &Db, msg_id: i64, lease: i64, delay: Duration) -> Result<bool, sqlx::Error> {
    give_back(db, msg_id, lease, delay, 1).await
}

async fn give_back(db: &Db, msg_id: i64, lease: i64, delay: Duration, unread: i32) -> Result<bool, sqlx::Error> {
    loop {
        match give_back_once(db, msg_id, lease, delay, unread).await {
            // The twin was sent between the two statements: this time it is seen.
            Err(error) if crate::db::broken_constraint(&error) == Some("message_one_waiting") => {}
            other => return other,
        }
    }
}

async fn give_back_once(db: &Db, msg_id: i64, lease: i64, delay: Duration, unread: i32) -> Result<bool, sqlx::Error> {
    let mut tx = db.begin().await?;
    let Some((queue, key)): Option<(String, Option<String>)> =
        sqlx::query_as("SELECT queue, key FROM queue.message WHERE msg_id = $1 AND lease = $2 FOR UPDATE")
            .bind(msg_id)
            .bind(lease)
            .fetch_optional(&mut *tx)
            .await?
    else {
        return Ok(false);
    };
    // A twin came with a newer wish: neither this one's failure nor its tries are the twin's.
    if waits(&mut tx, &queue, key.as_deref()).await? {
        sqlx::query("DELETE FROM queue.message WHERE msg_id = $1").bind(msg_id).execute(&mut *tx).await?;
    } else {
        sqlx::query("UPDATE queue.message SET lease = NULL, worker = NULL, vt = now() + $2, read_ct = read_ct - $3 WHERE msg_id = $1")
            .bind(msg_id)
            .bind(interval(delay))
            .bind(unread)
            .execute(&mut *tx)
            .await?;
    }
    wake(&mut tx, &queue).await?;
    tx.commit().await?;
    Ok(true)
}

/// Whether a message of this key waits.
pub async fn waits(connection: &mut PgConnection, queue: &str, key: Option<&str>) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM queue.message WHERE queue = $1 AND key = $2 AND lease IS NULL)")
        .bind(queue)
        .bind(key)
        .fetch_one(connection)
        .await
}

/// Sends what the clock says is due, once for all workers.
pub async fn send_due(db: &Db) -> Result<(), sqlx::Error> {
    let mut tx = db.begin().await?;
    let due: Vec<(String, String)> = sqlx::query_as(
        "UPDATE queue.cron SET next_at = now() + every
         WHERE name IN (SELECT name FROM queue.cron WHERE next_at <= now() FOR UPDATE SKIP LOCKED)
         RETURNING name, queue",
    )
    .fetch_all(&mut *tx)
    .await?;
    for (name, queue) in &due {
        // One statement of `send` serves both: the queue's name comes from the table here.
        sqlx::query(
            "INSERT INTO queue.message (queue, key, max_reads, message, headers)
             VALUES ($1, $2, 1, '{}', jsonb_build_object('job', $2::text))
             ON CONFLICT (queue, key) WHERE lease IS NULL DO NOTHING",
        )
        .bind(queue)
        .bind(name)
        .execute(&mut *tx)
        .await?;
        wake(&mut tx, queue).await?;
    }
    tx.commit().await
}

/// Says that this worker waits on `queue` for at most `patience`.
pub async fn wait_for_work(db: &Db, queue: &str, worker: &str, patience: Duration) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO queue.idle (worker, queue, until) VALUES ($1, $2, now() + $3)
         ON CONFLICT (worker) DO UPDATE SET queue = excluded.queue, until = excluded.until",
    )
    .bind(worker)
    .bind(queue)
    .bind(interval(patience))
    .execute(db)
    .await?;
    Ok(())
}

/// Says that it does not wait any more.
pub async fn woken(db: &Db, worker: &str) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM queue.idle WHERE worker = $1 OR until < now() - interval '1 minute'").bind(worker).execute(db).await?;
    Ok(())
}

/// Makes the archive's coming month and drops old ones.
pub async fn maintain(db: &Db) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT queue.maintain_archive($1::interval)").bind(KEEP_ARCHIVE).execute(db).await?;
    Ok(())
}

/// How a queue stands.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct Metrics {
    pub queue: String,
    /// Waiting and due.
    pub due: i64,
    pub running: i64,
    /// Seconds since the longest-due message became due; 0 without one.
    pub oldest_due_seconds: f64,
}

pub async fn metrics(db: &Db) -> Result<Vec<Metrics>, sqlx::Error> {
    sqlx::query_as(
        "SELECT queue, count(*) FILTER (WHERE lease IS NULL AND vt <= now()) AS due, count(*) FILTER (WHERE lease IS NOT NULL) AS running,
                coalesce(extract(epoch FROM now() - min(vt) FILTER (WHERE lease IS NULL AND vt <= now())), 0)::float8 AS oldest_due_seconds
         FROM queue.message GROUP BY queue ORDER BY queue",
    )
    .fetch_all(db)
    .await
}
