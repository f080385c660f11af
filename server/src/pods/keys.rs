//! The end of a pod's key: its private half goes at once, GitHub is told by a job of its own.

use super::store;
use crate::queue::{self, NewMessage};
use pinacle_app::ids::PodId;
use serde_json::json;
use sqlx::PgConnection;
use std::time::Duration;
use uuid::Uuid;

/// What is to be said to GitHub, without anybody waiting for it.
pub const QUEUE: &str = "github";

/// With the observation that the pod is being deleted.
pub async fn remove(connection: &mut PgConnection, pod: PodId) -> Result<(), sqlx::Error> {
    match store::begin_removal(&mut *connection, pod).await? {
        Some(id) => enqueue_removal(connection, id).await,
        None => Ok(()),
    }
}

pub async fn enqueue_removal(connection: &mut PgConnection, id: Uuid) -> Result<(), sqlx::Error> {
    let message = NewMessage {
        queue: QUEUE,
        key: Some(&format!("deploy-key:{id}")),
        priority: 0,
        delay: Duration::ZERO,
        anew: false,
        message: json!({ "key_id": id }),
        headers: json!({ "job": "remove-deploy-key" }),
    };
    queue::send(connection, message).await
}
