//! A wish: one UPDATE and an idempotent send, in one transaction. Nothing here talks to a host.

use super::store::{self, WishRow};
use crate::queue;
use pinacle_app::{ids::PodId, pods::Desired};
use serde_json::json;
use sqlx::PgConnection;
use std::time::Duration;

/// The queue of pods: one message a pod.
pub const QUEUE: &str = "pod";
/// A person waits for what they asked; what the sweep finds can wait for that.
pub const ASKED: i16 = 10;
pub const SWEPT: i16 = 0;

pub fn key(pod: PodId) -> String {
    format!("pod:{pod}")
}

/// Enqueues the pod's job. `job` says what was wished, for people and metrics; the job itself reads the row.
pub async fn enqueue(connection: &mut PgConnection, pod: PodId, job: &'static str, priority: i16) -> Result<(), sqlx::Error> {
    let message = queue::NewMessage {
        queue: QUEUE,
        key: Some(&key(pod)),
        priority,
        delay: Duration::ZERO,
        anew: priority == ASKED,
        message: json!({ "pod_id": pod }),
        headers: json!({ "job": job }),
    };
    queue::send(connection, message).await
}

/// The job's name for what is wished of a pod.
pub fn job_name(desired: Desired, booted: bool) -> &'static str {
    match desired {
        Desired::Running if booted => "start-pod",
        Desired::Running => "provision-pod",
        Desired::Stopped => "stop-pod",
        Desired::Deleted => "cleanup-pod",
    }
}

pub fn stop() -> WishRow<'static> {
    WishRow { desired: Some(Desired::Stopped), ..WishRow::default() }
}

/// False, and nothing was changed: the pod is deleted, or on its way out and another thing was wished.
pub async fn write(connection: &mut PgConnection, pod: PodId, wish: WishRow<'_>, job: &'static str) -> Result<bool, sqlx::Error> {
    if !store::wish(connection, pod, wish).await? {
        return Ok(false);
    }
    enqueue(connection, pod, job, ASKED).await?;
    super::tell(connection, pod).await?;
    Ok(true)
}
