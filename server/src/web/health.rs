//! `/health/live`: the process answers. `/health`: what it needs answers, too; part by part, without names.

use super::AppState;
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use futures::future::BoxFuture;
use http::{HeaderValue, StatusCode, header::CACHE_CONTROL};
use serde::Serialize;
use serde_json::json;
use std::{sync::Arc, time::Duration};

const DEADLINE: Duration = Duration::from_secs(3);

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

pub type HealthProbe = Arc<dyn Fn() -> BoxFuture<'static, HealthParts> + Send + Sync>;

impl HealthParts {
    const DOWN: Self = Self { database: PartHealth::Down, queue: PartHealth::Down, hosts: PartHealth::Down };

    fn status(self) -> (&'static str, StatusCode) {
        let parts = [self.database, self.queue, self.hosts];
        if parts.contains(&PartHealth::Down) {
            ("unhealthy", StatusCode::SERVICE_UNAVAILABLE)
        } else if parts.contains(&PartHealth::Degraded) {
            ("degraded", StatusCode::OK)
        } else {
            ("ok", StatusCode::OK)
        }
    }
}

pub async fn live() -> impl IntoResponse {
    ([(CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(json!({ "status": "ok" })))
}

pub async fn health(State(state): State<AppState>) -> Response {
    let parts = tokio::time::timeout(DEADLINE, (state.health)()).await.unwrap_or_else(|_| {
        tracing::warn!("the health of the parts was not known within {DEADLINE:?}");
        HealthParts::DOWN
    });
    let (word, status) = parts.status();
    (status, [(CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(json!({ "status": word, "parts": parts }))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_is_down_is_503_and_a_degraded_one_is_not() {
        let fine = HealthParts { database: PartHealth::Ok, queue: PartHealth::Ok, hosts: PartHealth::Ok };
        assert_eq!(fine.status(), ("ok", StatusCode::OK));
        assert_eq!(HealthParts { queue: PartHealth::Degraded, ..fine }.status(), ("degraded", StatusCode::OK));
        assert_eq!(HealthParts { hosts: PartHealth::Down, ..fine }.status(), ("unhealthy", StatusCode::SERVICE_UNAVAILABLE));
    }
}
