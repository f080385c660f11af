//! `/me`, `/tokens`, `/sessions`.

use super::{
    extract::{JsonBody, ListQuery, Params, PathId},
    page_of,
};
use crate::web::{AppState, problem::Answer, session::Asker};
use axum::{Json, extract::State};
use http::StatusCode;
use pinacle_app::{
    account::{ApiToken, BrowserSession, Me, MePatch, NewToken, NewTokenMade, Quota},
    ids::{SessionId, TokenId},
    pods::Page,
};
use utoipa_axum::{router::OpenApiRouter, routes};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(me, change_me))
        .routes(routes!(quota))
        .routes(routes!(tokens, create_token))
        .routes(routes!(revoke_token))
        .routes(routes!(sessions, end_all_sessions))
        .routes(routes!(end_session))
}

/// The token's own user
#[utoipa::path(get, path = "/me", tag = "account", responses((status = 200, body = Me)))]
async fn me(State(state): State<AppState>, Asker(caller): Asker) -> Answer<Json<Me>> {
    Ok(Json(state.backend.me(&caller).await?))
}

/// Take another handle
#[utoipa::path(patch, path = "/me", tag = "account", request_body = MePatch, responses((status = 200, body = Me)))]
async fn change_me(State(state): State<AppState>, Asker(caller): Asker, JsonBody(patch): JsonBody<MePatch>) -> Answer<Json<Me>> {
    Ok(Json(state.backend.change_me(&caller, patch).await?))
}

/// What the user's pods may take together, and what they take
#[utoipa::path(get, path = "/quota", tag = "account", responses((status = 200, body = Quota)))]
async fn quota(State(state): State<AppState>, Asker(caller): Asker) -> Answer<Json<Quota>> {
    Ok(Json(state.backend.quota(&caller).await?))
}

/// API tokens that are good, newest first
#[utoipa::path(get, path = "/tokens", tag = "account", params(ListQuery), responses((status = 200, body = Page<ApiToken>)))]
async fn tokens(State(state): State<AppState>, Asker(caller): Asker, Params(query): Params<ListQuery>) -> Answer<Json<Page<ApiToken>>> {
    Ok(Json(state.backend.tokens(&caller, query.cursor, query.limit).await?))
}

/// A new API token; it is shown this once
#[utoipa::path(post, path = "/tokens", tag = "account", request_body = NewToken, responses((status = 201, body = NewTokenMade)))]
async fn create_token(
    State(state): State<AppState>,
    Asker(caller): Asker,
    JsonBody(new): JsonBody<NewToken>,
) -> Answer<(StatusCode, Json<NewTokenMade>)> {
    Ok((StatusCode::CREATED, Json(state.backend.create_token(&caller, new).await?)))
}

/// Revoke an API token
#[utoipa::path(delete, path = "/tokens/{id}", tag = "account", params(("id" = TokenId, Path)), responses((status = 204)))]
async fn revoke_token(State(state): State<AppState>, Asker(caller): Asker, PathId(id): PathId<TokenId>) -> Answer<StatusCode> {
    state.backend.revoke_token(&caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Signed-in browsers
#[utoipa::path(get, path = "/sessions", tag = "account", params(ListQuery), responses((status = 200, body = Page<BrowserSession>)))]
async fn sessions(State(state): State<AppState>, Asker(caller): Asker, Params(query): Params<ListQuery>) -> Answer<Json<Page<BrowserSession>>> {
    let sessions = state.backend.sessions(&caller).await?;
    Ok(Json(page_of(sessions, &query, |session| session.id.to_string())?))
}

/// Sign out everywhere
#[utoipa::path(delete, path = "/sessions", tag = "account", responses((status = 204)))]
async fn end_all_sessions(State(state): State<AppState>, Asker(caller): Asker) -> Answer<StatusCode> {
    state.backend.end_all_sessions(&caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sign a browser out; what is open on it closes within 2 s
#[utoipa::path(delete, path = "/sessions/{id}", tag = "account", params(("id" = SessionId, Path)), responses((status = 204)))]
async fn end_session(State(state): State<AppState>, Asker(caller): Asker, PathId(id): PathId<SessionId>) -> Answer<StatusCode> {
    state.backend.end_session(&caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
