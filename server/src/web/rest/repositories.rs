//! `/repositories`: what the user's GitHub account offers.

use super::{
    extract::{ListQuery, Params},
    page_of,
};
use crate::web::{AppState, problem::Answer, session::Asker};
use axum::{
    Json,
    extract::{Path, State},
};
use pinacle_app::pods::{Branch, Page, Repository};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(repositories)).routes(routes!(branches))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Search {
    /// Part of `owner/name`.
    search: Option<String>,
    /// The `next_cursor` of the page before. Pages are as long as GitHub's.
    cursor: Option<String>,
}

/// Repositories of the user's GitHub account, newest push first
#[utoipa::path(get, path = "/repositories", tag = "repositories", params(Search), responses((status = 200, body = Page<Repository>)))]
async fn repositories(State(state): State<AppState>, Asker(caller): Asker, Params(query): Params<Search>) -> Answer<Json<Page<Repository>>> {
    Ok(Json(state.backend.repositories(&caller, query.search, query.cursor).await?))
}

/// Branches of one of them
#[utoipa::path(get, path = "/repositories/{owner}/{name}/branches", tag = "repositories",
    params(("owner" = String, Path), ("name" = String, Path), ListQuery), responses((status = 200, body = Page<Branch>)))]
async fn branches(
    State(state): State<AppState>,
    Asker(caller): Asker,
    Path((owner, name)): Path<(String, String)>,
    Params(query): Params<ListQuery>,
) -> Answer<Json<Page<Branch>>> {
    let branches = state.backend.branches(&caller, &owner, &name).await?;
    Ok(Json(page_of(branches, &query, |branch| branch.name.clone())?))
}
