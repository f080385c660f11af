//! `/teams`.

use super::{
    extract::{ListQuery, Params},
    page_of,
};
use crate::web::{AppState, problem::Answer, session::Asker};
use axum::{Json, extract::State};
use pinacle_app::{pods::Page, teams::Team};
use utoipa_axum::{router::OpenApiRouter, routes};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(teams))
}

/// Teams that the user belongs to, the personal one first
#[utoipa::path(get, path = "/teams", tag = "teams", params(ListQuery), responses((status = 200, body = Page<Team>)))]
async fn teams(State(state): State<AppState>, Asker(caller): Asker, Params(query): Params<ListQuery>) -> Answer<Json<Page<Team>>> {
    let teams = state.backend.teams(&caller).await?;
    Ok(Json(page_of(teams, &query, |team| team.id.to_string())?))
}
