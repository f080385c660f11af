//! `/pods`: to create and list them, what is wished of one, its set-up and its log.

use super::extract::{JsonBody, Params, PathId};
use crate::{
    paging,
    web::{AppState, problem::Answer, session::Asker, sse},
};
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{ACCEPT, LOCATION},
};
use pinacle_app::{
    AppError, AppResult,
    backend::Caller,
    ids::{PodId, TeamId},
    pods::{NewPod, Page, Pod, PodEvent, PodLive, PodPatch, PodQuery, Wish},
};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const MOST_KEY: usize = 255;
const DEFAULT_EVENTS: u32 = 100;
const MOST_EVENTS: u32 = 1000;

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(pods, create))
        .routes(routes!(pod, update, delete))
        .routes(routes!(start))
        .routes(routes!(stop))
        .routes(routes!(restart))
        .routes(routes!(retry))
        .routes(routes!(approve_setup))
        .routes(routes!(retry_setup))
        .routes(routes!(events))
        .routes(routes!(live))
}

/// A change that a job carries out: accepted, not done.
type Accepted = (StatusCode, Json<Pod>);

fn accepted(pod: Pod) -> Accepted {
    (StatusCode::ACCEPTED, Json(pod))
}

/// Described here for the document; read as `PodQuery`.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PodList {
    team_id: Option<TeamId>,
    /// The slug of a team.
    team: Option<String>,
    /// Part of name, repository or owner.
    search: Option<String>,
    /// `running`, `moving`, `stopped` or `failed`.
    status: Option<String>,
    tier: Option<String>,
    /// `me`: your own alone.
    owner: Option<String>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// 1–100; 50 if left out.
    limit: Option<u32>,
}

/// Pods that the user may see
#[utoipa::path(get, path = "/pods", tag = "pods", params(PodList), responses((status = 200, body = Page<Pod>)))]
async fn pods(State(state): State<AppState>, Asker(caller): Asker, Params(list): Params<PodList>) -> Answer<Json<Page<Pod>>> {
    let PodList { team_id, team, search, status, tier, owner, cursor, limit } = list;
    Ok(Json(state.backend.pods(&caller, PodQuery { team_id, team, search, status, tier, owner, cursor, limit }).await?))
}

/// Create a pod
///
/// Answers before it is made: follow its events. With an Idempotency-Key that was used before, the pod that was made then.
#[utoipa::path(post, path = "/pods", tag = "pods", request_body = NewPod,
    params(("Idempotency-Key" = Option<String>, Header, description = "1–255 characters")), responses((status = 202, body = Pod)))]
async fn create(State(state): State<AppState>, Asker(caller): Asker, headers: HeaderMap, JsonBody(new): JsonBody<NewPod>) -> Answer<Response> {
    let key = idempotency_key(&headers)?;
    let pod = state.backend.create_pod(&caller, new, key).await?;
    let location = HeaderValue::try_from(format!("/api/v1/pods/{}", pod.id)).map_err(|_| AppError::internal())?;
    Ok(([(LOCATION, location)], accepted(pod)).into_response())
}

fn idempotency_key(headers: &HeaderMap) -> AppResult<Option<String>> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = key.to_str().ok().filter(|key| (1..=MOST_KEY).contains(&key.len()));
    key.map(|key| Some(key.to_owned())).ok_or_else(|| AppError::field("Idempotency-Key", format!("1–{MOST_KEY} ASCII characters.")))
}

/// One pod
#[utoipa::path(get, path = "/pods/{id}", tag = "pods", params(("id" = PodId, Path)), responses((status = 200, body = Pod)))]
async fn pod(State(state): State<AppState>, Asker(caller): Asker, PathId(id): PathId<PodId>) -> Answer<Json<Pod>> {
    Ok(Json(state.backend.pod(&caller, id).await?))
}

/// Rename a pod, or change its tier from the next start on
#[utoipa::path(patch, path = "/pods/{id}", tag = "pods", params(("id" = PodId, Path)), request_body = PodPatch, responses((status = 200, body = Pod)))]
async fn update(
    State(state): State<AppState>,
    Asker(caller): Asker,
    PathId(id): PathId<PodId>,
    JsonBody(patch): JsonBody<PodPatch>,
) -> Answer<Json<Pod>> {
    Ok(Json(state.backend.update_pod(&caller, id, patch).await?))
}

/// Delete a pod and its disk
#[utoipa::path(delete, path = "/pods/{id}", tag = "pods", params(("id" = PodId, Path)), responses((status = 202, body = Pod)))]
async fn delete(State(state): State<AppState>, Asker(caller): Asker, PathId(id): PathId<PodId>) -> Answer<Accepted> {
    wish(&state, &caller, id, Wish::Delete).await
}

/// Start a pod
#[utoipa::path(post, path = "/pods/{id}/start", tag = "pods", params(("id" = PodId, Path)), responses((status = 202, body = Pod)))]
async fn start(State(state): State<AppState>, Asker(caller): Asker, PathId(id): PathId<PodId>) -> Answer<Accepted> {
    wish(&state, &caller, id, Wish::Start).await
}

/// Stop a pod; its disk stays
#[utoipa::path(post, path = "/pods/{id}/stop", tag = "pods", params(("id" = PodId, Path)), responses((status = 202, body = Pod)))]
async fn stop(State(state): State<AppState>, Asker(caller): Asker, PathId(id): PathId<PodId>) -> Answer<Accepted> {
    wish(&state, &caller, id, Wish::Stop).await
}

/// Stop a pod and start it again
#[utoipa::path(post, path = "/pods/{id}/restart", tag = "pods", params(("id" = PodId, Path)), responses((status = 202, body = Pod)))]
async fn restart(State(state): State<AppState>, Asker(caller): Asker, PathId(id): PathId<PodId>) -> Answer<Accepted> {
    wish(&state, &caller, id, Wish::Restart).await
}

/// Try again what failed
#[utoipa::path(post, path = "/pods/{id}/retry", tag = "pods", params(("id" = PodId, Path)), responses((status = 202, body = Pod)))]
async fn retry(State(state): State<AppState>, Asker(caller): Asker, PathId(id): PathId<PodId>) -> Answer<Accepted> {
    wish(&state, &caller, id, Wish::Retry).await
}

async fn wish(state: &AppState, caller: &Caller, id: PodId, wish: Wish) -> Answer<Accepted> {
    Ok(accepted(state.backend.wish(caller, id, wish).await?))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Approval {
    /// `setup.plan_digest` of the plan that was read.
    plan_digest: String,
}

/// Let the plan of this digest run
#[utoipa::path(post, path = "/pods/{id}/setup/approve", tag = "pods", params(("id" = PodId, Path)), request_body = Approval,
    responses((status = 202, body = Pod)))]
async fn approve_setup(
    State(state): State<AppState>,
    Asker(caller): Asker,
    PathId(id): PathId<PodId>,
    JsonBody(approval): JsonBody<Approval>,
) -> Answer<Accepted> {
    Ok(accepted(state.backend.approve_setup(&caller, id, &approval.plan_digest).await?))
}

/// Set the pod up again
#[utoipa::path(post, path = "/pods/{id}/setup/retry", tag = "pods", params(("id" = PodId, Path)), responses((status = 202, body = Pod)))]
async fn retry_setup(State(state): State<AppState>, Asker(caller): Asker, PathId(id): PathId<PodId>) -> Answer<Accepted> {
    Ok(accepted(state.backend.retry_setup(&caller, id).await?))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EventList {
    /// Events after this number; all that are kept if left out. A stream goes by Last-Event-ID first.
    after: Option<String>,
    /// The `next_cursor` of the page before: another word for `after`, which it goes before.
    cursor: Option<String>,
    /// 1–1000; 100 if left out.
    limit: Option<u32>,
}

/// The pod's log
///
/// JSON, oldest first; or with Accept: text/event-stream the pod, its events and what runs in it, as they come.
#[utoipa::path(get, path = "/pods/{id}/events", tag = "pods", params(("id" = PodId, Path), EventList),
    responses((status = 200, body = Page<PodEvent>)))]
async fn events(
    State(state): State<AppState>,
    Asker(caller): Asker,
    PathId(id): PathId<PodId>,
    Params(list): Params<EventList>,
    headers: HeaderMap,
) -> Answer<Response> {
    let after = match list.cursor.as_deref() {
        Some(cursor) => sse::after_of(Some(cursor)).map_err(|_| paging::bad_cursor())?,
        None => sse::after_of(list.after.as_deref())?,
    };
    if wants_stream(&headers) {
        return sse::pod_news(state, caller, id, after, &headers).await;
    }
    let limit = paging::limit(list.limit, DEFAULT_EVENTS, MOST_EVENTS)?;
    let items = state.backend.events(&caller, id, after.unwrap_or(0), limit).await?;
    // A full page may be the last one: the next is empty then.
    let next_cursor = items.last().filter(|_| items.len() >= limit as usize).map(|last| last.seq.to_string());
    Ok(Json(Page { items, next_cursor }).into_response())
}

fn wants_stream(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT).iter().filter_map(|accept| accept.to_str().ok()).any(|accept| accept.contains("text/event-stream"))
}

/// Processes, ports and meters now
#[utoipa::path(get, path = "/pods/{id}/live", tag = "inside", params(("id" = PodId, Path)), responses((status = 200, body = PodLive)))]
async fn live(State(state): State<AppState>, Asker(caller): Asker, PathId(id): PathId<PodId>) -> Answer<Json<PodLive>> {
    Ok(Json(state.backend.live(&caller, id).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idempotency_key_is_bounded() {
        let key = |text: &str| idempotency_key(&HeaderMap::from_iter([(IDEMPOTENCY_KEY, HeaderValue::from_str(text).unwrap())]));
        assert_eq!(key("a-b").unwrap().as_deref(), Some("a-b"));
        assert!(key("").is_err() && key(&"a".repeat(256)).is_err());
        assert_eq!(idempotency_key(&HeaderMap::new()).unwrap(), None);
    }
}
