//! `/health/live`: the process answers. `/health`: what it needs answers, too; part by part, without names. An operator's
//! API token gets the details beside it.

use super::{AppState, rest};
use crate::health::{self, DEADLINE, HealthParts, PartHealth};
use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{Extensions, HeaderMap, HeaderValue, StatusCode, header::CACHE_CONTROL};
use serde_json::{Value, json};
use tokio::time::timeout;

fn status(parts: HealthParts) -> (&'static str, StatusCode) {
    let parts = [parts.database, parts.queue, parts.hosts];
    if parts.contains(&PartHealth::Down) {
        ("unhealthy", StatusCode::SERVICE_UNAVAILABLE)
    } else if parts.contains(&PartHealth::Degraded) {
        ("degraded", StatusCode::OK)
    } else {
        ("ok", StatusCode::OK)
    }
}

pub async fn live() -> impl IntoResponse {
    ([(CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(json!({ "status": "ok" })))
}

pub async fn health(State(state): State<AppState>, request: Request) -> Response {
    let parts = state.looks.parts(&state.control).await;
    let (word, status) = status(parts);
    let mut body = json!({ "status": word, "parts": parts });
    if let Some(details) = details(&state, request.extensions(), request.headers()).await {
        body["details"] = details;
    }
    (status, [(CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(body)).into_response()
}

/// None for whoever is no operator, and where the database is away: the parts have said so.
async fn details(state: &AppState, extensions: &Extensions, headers: &HeaderMap) -> Option<Value> {
    let asked = async {
        let caller = rest::caller(state, extensions, headers).await.ok()?;
        if caller.operator { health::details(&state.control).await.ok() } else { None }
    };
    timeout(DEADLINE, asked).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_is_down_is_503_and_a_degraded_one_is_not() {
        let fine = HealthParts { database: PartHealth::Ok, queue: PartHealth::Ok, hosts: PartHealth::Ok };
        assert_eq!(status(fine), ("ok", StatusCode::OK));
        assert_eq!(status(HealthParts { queue: PartHealth::Degraded, ..fine }), ("degraded", StatusCode::OK));
        assert_eq!(status(HealthParts { hosts: PartHealth::Down, ..fine }), ("unhealthy", StatusCode::SERVICE_UNAVAILABLE));
    }
}
