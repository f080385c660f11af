//! `/hosts`: for operators; to everybody else they are not there. Joining is a machine's, with its one-time token.

use super::{
    bearer,
    extract::{JsonBody, ListQuery, Params, PathId, PathPair},
    page_of,
};
use crate::web::{
    AppState,
    problem::{Answer, Problem},
    session::Asker,
};
use axum::{
    Json,
    extract::{FromRequestParts, State},
};
use http::{StatusCode, request::Parts};
use pinacle_app::{
    AppError, ErrorCode,
    backend::Caller,
    hosts::{Adoption, Host, HostPod, HostVerb, JoinInvitation, NewHost, Orphan},
    ids::{HostId, PodId},
    pods::Page,
};
use pinacle_host::protocol::{JoinReply, JoinRequest};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(hosts, add))
        .routes(routes!(host))
        .routes(routes!(host_pods))
        .routes(routes!(orphans))
        .routes(routes!(remove_orphan))
        .routes(routes!(adopt))
        .routes(routes!(set_aside))
        .routes(routes!(cordon))
        .routes(routes!(drain))
        .routes(routes!(activate))
        .routes(routes!(lost))
        .routes(routes!(rejoin))
        .routes(routes!(trust_key))
        .routes(routes!(retire_key))
}

/// Without an API token.
pub fn open_router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(join))
}

/// Pod hosts
#[utoipa::path(get, path = "/hosts", tag = "hosts", params(ListQuery), responses((status = 200, body = Page<Host>)))]
async fn hosts(State(state): State<AppState>, Asker(caller): Asker, Params(query): Params<ListQuery>) -> Answer<Json<Page<Host>>> {
    let hosts = state.backend.hosts(&caller).await?;
    Ok(Json(page_of(hosts, &query, |host| host.id.to_string())?))
}

/// Add a host that is to join
#[utoipa::path(post, path = "/hosts", tag = "hosts", request_body = NewHost, responses((status = 201, body = JoinInvitation)))]
async fn add(State(state): State<AppState>, Asker(caller): Asker, JsonBody(new): JsonBody<NewHost>) -> Answer<(StatusCode, Json<JoinInvitation>)> {
    Ok((StatusCode::CREATED, Json(state.backend.add_host(&caller, new).await?)))
}

/// One host
#[utoipa::path(get, path = "/hosts/{id}", tag = "hosts", params(("id" = HostId, Path)), responses((status = 200, body = Host)))]
async fn host(State(state): State<AppState>, Asker(caller): Asker, PathId(id): PathId<HostId>) -> Answer<Json<Host>> {
    Ok(Json(state.backend.host(&caller, id).await?))
}

/// Pods that have their place on a host
#[utoipa::path(get, path = "/hosts/{id}/pods", tag = "hosts", params(("id" = HostId, Path), ListQuery),
    responses((status = 200, body = Page<HostPod>)))]
async fn host_pods(
    State(state): State<AppState>,
    Asker(caller): Asker,
    PathId(id): PathId<HostId>,
    Params(query): Params<ListQuery>,
) -> Answer<Json<Page<HostPod>>> {
    let pods = state.backend.host_pods(&caller, id).await?;
    Ok(Json(page_of(pods, &query, |pod| pod.id.to_string())?))
}

/// Disks of pods that nobody knows, set aside on a host for 7 days
#[utoipa::path(get, path = "/hosts/{id}/orphans", tag = "hosts", params(("id" = HostId, Path), ListQuery),
    responses((status = 200, body = Page<Orphan>)))]
async fn orphans(
    State(state): State<AppState>,
    Asker(caller): Asker,
    PathId(id): PathId<HostId>,
    Params(query): Params<ListQuery>,
) -> Answer<Json<Page<Orphan>>> {
    let orphans = state.backend.orphans(&caller, Some(id)).await?;
    Ok(Json(page_of(orphans, &query, |orphan| orphan.pod.to_string())?))
}

/// Remove a set-aside disk before its time
#[utoipa::path(delete, path = "/hosts/{id}/orphans/{pod}", tag = "hosts", params(("id" = HostId, Path), ("pod" = PodId, Path)),
    responses((status = 202)))]
async fn remove_orphan(State(state): State<AppState>, Asker(caller): Asker, PathPair(id, pod): PathPair) -> Answer<StatusCode> {
    let (id, pod) = (id.parse().map_err(|_| AppError::not_found())?, pod.parse().map_err(|_| AppError::not_found())?);
    state.backend.remove_orphan(&caller, id, pod).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Make a set-aside disk somebody's stopped pod
#[utoipa::path(post, path = "/hosts/{id}/orphans/{pod}/adopt", tag = "hosts", params(("id" = HostId, Path), ("pod" = PodId, Path)),
    request_body = Adoption, responses((status = 201, body = HostPod)))]
async fn adopt(
    State(state): State<AppState>,
    Asker(caller): Asker,
    PathPair(id, pod): PathPair,
    JsonBody(adoption): JsonBody<Adoption>,
) -> Answer<(StatusCode, Json<HostPod>)> {
    let (id, pod) = (id.parse().map_err(|_| AppError::not_found())?, pod.parse().map_err(|_| AppError::not_found())?);
    Ok((StatusCode::CREATED, Json(state.backend.adopt_orphan(&caller, id, pod, adoption).await?)))
}

/// Set aside whatever nobody knows on a host, however much it is
#[utoipa::path(post, path = "/hosts/{id}/set-aside", tag = "hosts", params(("id" = HostId, Path)), responses((status = 202)))]
async fn set_aside(State(state): State<AppState>, Asker(caller): Asker, PathId(id): PathId<HostId>) -> Answer<StatusCode> {
    state.backend.set_aside(&caller, id).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Give a host no new pods
#[utoipa::path(post, path = "/hosts/{id}/cordon", tag = "hosts", params(("id" = HostId, Path)), responses((status = 200, body = Host)))]
async fn cordon(State(state): State<AppState>, Asker(caller): Asker, PathId(id): PathId<HostId>) -> Answer<Json<Host>> {
    change(&state, &caller, id, HostVerb::Cordon).await
}

/// Stop a host's pods and give it no new ones
#[utoipa::path(post, path = "/hosts/{id}/drain", tag = "hosts", params(("id" = HostId, Path)), responses((status = 200, body = Host)))]
async fn drain(State(state): State<AppState>, Asker(caller): Asker, PathId(id): PathId<HostId>) -> Answer<Json<Host>> {
    change(&state, &caller, id, HostVerb::Drain).await
}

/// Give a host pods again
#[utoipa::path(post, path = "/hosts/{id}/activate", tag = "hosts", params(("id" = HostId, Path)), responses((status = 200, body = Host)))]
async fn activate(State(state): State<AppState>, Asker(caller): Asker, PathId(id): PathId<HostId>) -> Answer<Json<Host>> {
    change(&state, &caller, id, HostVerb::Activate).await
}

/// Give a host up: its pods can be deleted
#[utoipa::path(post, path = "/hosts/{id}/lost", tag = "hosts", params(("id" = HostId, Path)), responses((status = 200, body = Host)))]
async fn lost(State(state): State<AppState>, Asker(caller): Asker, PathId(id): PathId<HostId>) -> Answer<Json<Host>> {
    change(&state, &caller, id, HostVerb::Lost).await
}

async fn change(state: &AppState, caller: &Caller, id: HostId, verb: HostVerb) -> Answer<Json<Host>> {
    Ok(Json(state.backend.change_host(caller, id, verb).await?))
}

/// A new join token for a host that has joined
///
/// After it was installed anew. Its pods stay; those whose disks are gone with the old installation say so.
#[utoipa::path(post, path = "/hosts/{id}/rejoin", tag = "hosts", params(("id" = HostId, Path)), responses((status = 201, body = JoinInvitation)))]
async fn rejoin(State(state): State<AppState>, Asker(caller): Asker, PathId(id): PathId<HostId>) -> Answer<(StatusCode, Json<JoinInvitation>)> {
    Ok((StatusCode::CREATED, Json(state.backend.rejoin_host(&caller, id).await?)))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct HostKey {
    /// One of the host's `offered_keys` or `trusted_keys`.
    fingerprint: String,
}

/// Trust one of several host keys no more
#[utoipa::path(post, path = "/hosts/{id}/keys/retire", tag = "hosts", params(("id" = HostId, Path)), request_body = HostKey,
    responses((status = 200, body = Host)))]
async fn retire_key(
    State(state): State<AppState>,
    Asker(caller): Asker,
    PathId(id): PathId<HostId>,
    JsonBody(key): JsonBody<HostKey>,
) -> Answer<Json<Host>> {
    Ok(Json(state.backend.retire_host_key(&caller, id, &key.fingerprint).await?))
}

/// Trust a host key that was offered, beside those that are trusted already
#[utoipa::path(post, path = "/hosts/{id}/keys", tag = "hosts", params(("id" = HostId, Path)), request_body = HostKey,
    responses((status = 200, body = Host)))]
async fn trust_key(
    State(state): State<AppState>,
    Asker(caller): Asker,
    PathId(id): PathId<HostId>,
    JsonBody(key): JsonBody<HostKey>,
) -> Answer<Json<Host>> {
    Ok(Json(state.backend.trust_host_key(&caller, id, &key.fingerprint).await?))
}

/// A machine joins
///
/// What `pinacle-host join` asks, with the one-time token of POST /hosts as Bearer.
#[utoipa::path(post, path = "/hosts/join", tag = "hosts", request_body = Object, responses((status = 200, body = Object)))]
async fn join(State(state): State<AppState>, JoinToken(token): JoinToken, JsonBody(request): JsonBody<JoinRequest>) -> Answer<Json<JoinReply>> {
    Ok(Json(crate::hosts::join(&state.control, token.expose_secret(), request).await?))
}

/// Asked for before the body is read.
struct JoinToken(SecretString);

impl<S: Sync> FromRequestParts<S> for JoinToken {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let refused = || AppError::new(ErrorCode::Unauthenticated, "Send the one-time token: Authorization: Bearer …");
        Ok(Self(bearer(&parts.headers).ok_or_else(refused)?))
    }
}
