//! `/pods/{id}/terminals`: named, rejoinable.

use super::{
    extract::{ListQuery, Params, PathId, PathPair},
    page_of,
};
use crate::web::{
    AppState,
    live::{Screen, Upgrade, attach},
    problem::Answer,
    session::Asker,
};
use axum::{Json, extract::State, response::Response};
use http::StatusCode;
use pinacle_app::{
    AppError,
    ids::PodId,
    pods::{Page, Terminal},
};
use utoipa_axum::{router::OpenApiRouter, routes};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(terminals)).routes(routes!(open, end))
}

/// Terminals of a pod
#[utoipa::path(get, path = "/pods/{id}/terminals", tag = "inside", params(("id" = PodId, Path), ListQuery), responses((status = 200, body = Page<Terminal>)))]
async fn terminals(
    State(state): State<AppState>,
    Asker(caller): Asker,
    PathId(id): PathId<PodId>,
    Params(query): Params<ListQuery>,
) -> Answer<Json<Page<Terminal>>> {
    let terminals = state.backend.terminals(&caller, id).await?;
    Ok(Json(page_of(terminals, &query, |terminal| terminal.name.clone())?))
}

/// Attach to a terminal over a WebSocket; made if it is not there
///
/// Binary messages are bytes both ways; texts are `{"resize":{"cols","rows"}}` and `{"ack_out"}` one way, `{"ack"}`, `{"exit":{"code"}}` and
/// `{"closed":{"reason"}}` the other.
#[utoipa::path(get, path = "/pods/{id}/terminals/{name}", tag = "inside", params(("id" = PodId, Path), ("name" = String, Path), Screen),
    responses((status = 101, description = "A WebSocket")))]
async fn open(
    State(state): State<AppState>,
    Asker(caller): Asker,
    PathPair(id, name): PathPair,
    Params(screen): Params<Screen>,
    upgrade: Upgrade,
) -> Answer<Response> {
    attach(state, caller, &id, name, screen, upgrade).await
}

/// End a terminal and what runs in it
#[utoipa::path(delete, path = "/pods/{id}/terminals/{name}", tag = "inside", params(("id" = PodId, Path), ("name" = String, Path)),
    responses((status = 204)))]
async fn end(State(state): State<AppState>, Asker(caller): Asker, PathPair(id, name): PathPair) -> Answer<StatusCode> {
    let id: PodId = id.parse().map_err(|_| AppError::not_found())?;
    state.backend.end_terminal(&caller, id, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
