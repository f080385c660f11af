//! How the installation is: for whoever asks part by part, for operators with what lies behind it.

use crate::{control::ControlPlane, db, hosts, queue};
use serde::Serialize;
use serde_json::{Value, json};

/// Seconds that the longest-due message may wait before the queue counts as degraded.
const QUEUE_LATE: f64 = 30.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PartHealth {
    Ok,
    /// Works, worse than it should.
    Degraded,
    Down,
}

/// Postgres (unreachable or behind in migrations: down), the queue, and the pod hosts (no active one answers: down).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct HealthParts {
    pub database: PartHealth,
    pub queue: PartHealth,
    pub hosts: PartHealth,
}

impl HealthParts {
    pub const DOWN: Self = Self { database: PartHealth::Down, queue: PartHealth::Down, hosts: PartHealth::Down };
}

pub async fn parts(control: &ControlPlane) -> HealthParts {
    let asked = async {
        let database = if db::is_current(&control.db).await? { PartHealth::Ok } else { PartHealth::Down };
        let late = queue::metrics(&control.db).await?.iter().any(|m| m.oldest_due_seconds > QUEUE_LATE);
        let queue = if late { PartHealth::Degraded } else { PartHealth::Ok };
        let hosts = match hosts::store::heard(&control.db).await? {
            // Nothing has joined yet, or nothing answers.
            (_, 0) => PartHealth::Down,
            (all, heard) if heard < all => PartHealth::Degraded,
            _ => PartHealth::Ok,
        };
        Ok::<_, sqlx::Error>(HealthParts { database, queue, hosts })
    };
    asked.await.unwrap_or_else(|error| {
        tracing::warn!(%error, "the database does not answer");
        HealthParts::DOWN
    })
}

/// What an operator wants to know next: connections, each queue, each host.
pub async fn details(control: &ControlPlane) -> Result<Value, sqlx::Error> {
    let queues: Vec<Value> = queue::metrics(&control.db)
        .await?
        .into_iter()
        .map(|m| json!({ "queue": m.queue, "due": m.due, "running": m.running, "oldest_due_seconds": m.oldest_due_seconds }))
        .collect();
    let hosts: Vec<Value> = hosts::store::list(&control.db)
        .await?
        .into_iter()
        .map(|h| json!({ "name": h.name, "state": h.state, "reachable": h.reachable, "pods": h.pods }))
        .collect();
    let database = json!({
        "connections": control.db.size(),
        "idle": control.db.num_idle(),
        "most": control.config.database_connections,
        "migrations_current": db::is_current(&control.db).await?,
    });
    Ok(json!({ "version": env!("CARGO_PKG_VERSION"), "database": database, "queues": queues, "hosts": hosts }))
}
