//! `/pods/{id}/exec`, `/pods/{id}/files`, `/pods/{id}/processes`: what is done inside a pod.

use super::extract::{JsonBody, Params, PathId, PathPair};
use crate::web::{
    AppState, files,
    guard::{self, Reach},
    live::FileQuery,
    problem::Answer,
    session::Asker,
};
use axum::{
    Json,
    body::Body,
    extract::{DefaultBodyLimit, State},
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE};
use pinacle_app::{
    AppError,
    ids::PodId,
    pods::{ExecRequest, ExecResult},
};
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt},
    routes,
};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(exec))
        .routes(routes!(download, upload).layer(DefaultBodyLimit::disable()))
        .routes(routes!(restart_process))
        .routes(routes!(process_log))
}

/// Run a command as dev in /home/dev
///
/// Never seen by a shell. At most 1 MiB each of stdout and stderr; a time-out answers 200 with `exit_code: null`.
#[utoipa::path(post, path = "/pods/{id}/exec", tag = "inside", params(("id" = PodId, Path)), request_body = ExecRequest,
    responses((status = 200, body = ExecResult)))]
async fn exec(
    State(state): State<AppState>,
    Asker(caller): Asker,
    PathId(id): PathId<PodId>,
    JsonBody(request): JsonBody<ExecRequest>,
) -> Answer<Json<ExecResult>> {
    let _held = state.streams.take(caller.user)?;
    Ok(Json(guard::while_held(&state, &caller, Reach::Pod(id), state.backend.exec(&caller, id, request)).await?))
}

/// Fetch a file
#[utoipa::path(get, path = "/pods/{id}/files", tag = "inside", params(("id" = PodId, Path), ("path" = String, Query, description = "Relative to /home/dev, or absolute")),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>)))]
async fn download(
    State(state): State<AppState>,
    Asker(caller): Asker,
    PathId(id): PathId<PodId>,
    Params(query): Params<FileQuery>,
) -> Answer<Response> {
    files::download(state, caller, id, query.path).await
}

/// Put a file in place: all of it, or nothing
#[utoipa::path(put, path = "/pods/{id}/files", tag = "inside", params(("id" = PodId, Path), ("path" = String, Query, description = "Relative to /home/dev, or absolute")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"), responses((status = 204)))]
async fn upload(
    State(state): State<AppState>,
    Asker(caller): Asker,
    PathId(id): PathId<PodId>,
    Params(query): Params<FileQuery>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    files::upload(state, caller, id, query.path, &headers, body).await
}

/// Start a process again
#[utoipa::path(post, path = "/pods/{id}/processes/{name}/restart", tag = "inside", params(("id" = PodId, Path), ("name" = String, Path)),
    responses((status = 202)))]
async fn restart_process(State(state): State<AppState>, Asker(caller): Asker, PathPair(id, name): PathPair) -> Answer<StatusCode> {
    let id: PodId = id.parse().map_err(|_| AppError::not_found())?;
    state.backend.restart_process(&caller, id, &name).await?;
    Ok(StatusCode::ACCEPTED)
}

/// The log of a process: its last 1 MiB, then as it grows, until the client goes
#[utoipa::path(get, path = "/pods/{id}/processes/{name}/log", tag = "inside", params(("id" = PodId, Path), ("name" = String, Path)),
    responses((status = 200, content_type = "text/plain", body = String)))]
async fn process_log(State(state): State<AppState>, Asker(caller): Asker, PathPair(id, name): PathPair) -> Answer<Response> {
    let id: PodId = id.parse().map_err(|_| AppError::not_found())?;
    let slot = state.streams.take(caller.user)?;
    let log = state.backend.process_log(&caller, id, &name).await?;
    let log = log.take_until(guard::ended(state, caller, Reach::Pod(id))).map(move |chunk| {
        let _held = &slot;
        chunk
    });
    Ok(([(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))], Body::from_stream(log)).into_response())
}
