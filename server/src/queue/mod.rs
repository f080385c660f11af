//! A queue in Postgres, after pgmq: its names, plus what a provisioner needs.
//!
//! A message is *waiting* (`lease` is NULL) or *running* (a worker read it, until `vt`). Each read takes a number
//! from one sequence, the lease; it is also the fence that hosts and rows compare. With a `key`, at most one message
//! waits and at most one runs. A message whose `vt` has passed may be read again, by anybody.

mod store;
mod worker;

pub use store::{
    Metrics, NewMessage, archive, archive_batch, fail, maintain, metrics, read, release, send, send_batch, send_due, set_vt, wait_for_work, waits,
    woken,
};
pub use worker::{Job, JobContext, Outcome, Worker};

use serde_json::Value;

/// Tries before a message is a dead letter.
pub const MAX_READS: i32 = 5;

/// A message that this worker runs.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Message {
    pub msg_id: i64,
    pub queue: String,
    pub key: Option<String>,
    /// How often it was read, this time included.
    pub read_ct: i32,
    pub max_reads: i32,
    pub lease: i64,
    pub message: Value,
    pub headers: Option<Value>,
}
