//! `/secrets`, and what a pod gets of them. A value goes in and never comes out.

use super::extract::{JsonBody, Params, PathId};
use crate::web::{AppState, problem::Answer, session::Asker};
use axum::{Json, extract::State};
use http::StatusCode;
use pinacle_app::{
    ids::{PodId, SecretId, TeamId},
    pods::Page,
    secrets::{NewSecret, PodSecrets, Secret, SecretPatch},
};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(secrets, create_secret)).routes(routes!(secret, change_secret, delete_secret)).routes(routes!(pod_secrets))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SecretList {
    /// Those of one team; of all that the user is in if left out.
    team_id: Option<TeamId>,
    /// 1–100; 50 if left out.
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Secrets by name, without their values
#[utoipa::path(get, path = "/secrets", tag = "secrets", params(SecretList), responses((status = 200, body = Page<Secret>)))]
async fn secrets(State(state): State<AppState>, Asker(caller): Asker, Params(list): Params<SecretList>) -> Answer<Json<Page<Secret>>> {
    Ok(Json(state.backend.secrets(&caller, list.team_id, list.cursor, list.limit).await?))
}

/// A new secret of a team, which its owners may add
///
/// Pods get it at their next start.
#[utoipa::path(post, path = "/secrets", tag = "secrets", request_body = NewSecret, responses((status = 201, body = Secret)))]
async fn create_secret(
    State(state): State<AppState>,
    Asker(caller): Asker,
    JsonBody(new): JsonBody<NewSecret>,
) -> Answer<(StatusCode, Json<Secret>)> {
    Ok((StatusCode::CREATED, Json(state.backend.create_secret(&caller, new).await?)))
}

/// One secret, without its value
#[utoipa::path(get, path = "/secrets/{id}", tag = "secrets", params(("id" = SecretId, Path)), responses((status = 200, body = Secret)))]
async fn secret(State(state): State<AppState>, Asker(caller): Asker, PathId(id): PathId<SecretId>) -> Answer<Json<Secret>> {
    Ok(Json(state.backend.secret(&caller, id).await?))
}

/// Another value, another name, or both
///
/// Pods that run keep what they have and say so (`secrets_outdated`) until they are restarted.
#[utoipa::path(patch, path = "/secrets/{id}", tag = "secrets", params(("id" = SecretId, Path)), request_body = SecretPatch,
    responses((status = 200, body = Secret)))]
async fn change_secret(
    State(state): State<AppState>,
    Asker(caller): Asker,
    PathId(id): PathId<SecretId>,
    JsonBody(patch): JsonBody<SecretPatch>,
) -> Answer<Json<Secret>> {
    Ok(Json(state.backend.change_secret(&caller, id, patch).await?))
}

/// Delete a secret
#[utoipa::path(delete, path = "/secrets/{id}", tag = "secrets", params(("id" = SecretId, Path)), responses((status = 204)))]
async fn delete_secret(State(state): State<AppState>, Asker(caller): Asker, PathId(id): PathId<SecretId>) -> Answer<StatusCode> {
    state.backend.delete_secret(&caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Names of the secrets that a pod gets, and of those that have changed since it was booted
#[utoipa::path(get, path = "/pods/{id}/secrets", tag = "secrets", params(("id" = PodId, Path)), responses((status = 200, body = PodSecrets)))]
async fn pod_secrets(State(state): State<AppState>, Asker(caller): Asker, PathId(id): PathId<PodId>) -> Answer<Json<PodSecrets>> {
    Ok(Json(state.backend.pod_secrets(&caller, id).await?))
}
