//! `/teams`, `/invitations`: who is in a team, who is asked in, and what was done there.

use super::{
    extract::{JsonBody, ListQuery, Params, PathId, PathPair},
    page_of,
};
use crate::web::{AppState, csv, problem::Answer, session::Asker};
use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ACCEPT, LOCATION},
};
use pinacle_app::{
    AppError, AppResult,
    ids::{InvitationId, TeamId, UserId},
    pods::Page,
    teams::{
        Invitation, InvitationMade, InvitationShown, Member, MemberPatch, NewInvitation, NewTeam, TakeOver, Team, TeamDetail, TeamPatch,
        activity::{Activity, ActivityQuery},
    },
};
use serde::{Deserialize, Serialize};
use std::str::FromStr;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(teams, create))
        .routes(routes!(team, rename, delete))
        .routes(routes!(members))
        .routes(routes!(change_member, remove_member))
        .routes(routes!(take_over))
        .routes(routes!(invitations, invite))
        .routes(routes!(revoke))
        .routes(routes!(resend))
        .routes(routes!(activity))
        .routes(routes!(invitation, accept))
}

/// Two ids of a path. What is no id is as unknown as an unknown one.
fn ids<A: FromStr, B: FromStr>(PathPair(one, other): PathPair) -> AppResult<(A, B)> {
    match (one.parse(), other.parse()) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        _ => Err(AppError::not_found()),
    }
}

/// Teams that the user belongs to, the personal one first
#[utoipa::path(get, path = "/teams", tag = "teams", params(ListQuery), responses((status = 200, body = Page<Team>)))]
async fn teams(State(state): State<AppState>, Asker(caller): Asker, Params(query): Params<ListQuery>) -> Answer<Json<Page<Team>>> {
    let teams = state.backend.teams(&caller).await?;
    Ok(Json(page_of(teams, &query, |team| team.id.to_string())?))
}

/// Make a team; the user is its first owner
#[utoipa::path(post, path = "/teams", tag = "teams", request_body = NewTeam, responses((status = 201, body = Team)))]
async fn create(State(state): State<AppState>, Asker(caller): Asker, JsonBody(new): JsonBody<NewTeam>) -> Answer<Response> {
    let team = state.backend.create_team(&caller, new).await?;
    let location = HeaderValue::try_from(format!("/api/v1/teams/{}", team.id)).map_err(|_| AppError::internal())?;
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(team)).into_response())
}

/// One team
#[utoipa::path(get, path = "/teams/{id}", tag = "teams", params(("id" = TeamId, Path)), responses((status = 200, body = TeamDetail)))]
async fn team(State(state): State<AppState>, Asker(caller): Asker, PathId(id): PathId<TeamId>) -> Answer<Json<TeamDetail>> {
    Ok(Json(state.backend.team(&caller, id).await?))
}

/// Rename a team; its slug stays
#[utoipa::path(patch, path = "/teams/{id}", tag = "teams", params(("id" = TeamId, Path)), request_body = TeamPatch, responses((status = 200, body = Team)))]
async fn rename(
    State(state): State<AppState>,
    Asker(caller): Asker,
    PathId(id): PathId<TeamId>,
    JsonBody(patch): JsonBody<TeamPatch>,
) -> Answer<Json<Team>> {
    Ok(Json(state.backend.rename_team(&caller, id, patch).await?))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Ending {
    /// The team's name: its pods are deleted with it. Without, a team that has pods is not deleted.
    with_pods_of: Option<String>,
}

/// Delete a team
#[utoipa::path(delete, path = "/teams/{id}", tag = "teams", params(("id" = TeamId, Path), Ending), responses((status = 204)))]
async fn delete(
    State(state): State<AppState>,
    Asker(caller): Asker,
    PathId(id): PathId<TeamId>,
    Params(ending): Params<Ending>,
) -> Answer<StatusCode> {
    state.backend.delete_team(&caller, id, ending.with_pods_of.as_deref()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who is in a team, owners first
#[utoipa::path(get, path = "/teams/{id}/members", tag = "teams", params(("id" = TeamId, Path), ListQuery),
    responses((status = 200, body = Page<Member>)))]
async fn members(
    State(state): State<AppState>,
    Asker(caller): Asker,
    PathId(id): PathId<TeamId>,
    Params(query): Params<ListQuery>,
) -> Answer<Json<Page<Member>>> {
    Ok(Json(state.backend.members(&caller, id, query.cursor, query.limit).await?))
}

/// Make a member an owner, or an owner a member
#[utoipa::path(patch, path = "/teams/{id}/members/{user_id}", tag = "teams", params(("id" = TeamId, Path), ("user_id" = UserId, Path)),
    request_body = MemberPatch, responses((status = 200, body = Member)))]
async fn change_member(
    State(state): State<AppState>,
    Asker(caller): Asker,
    path: PathPair,
    JsonBody(patch): JsonBody<MemberPatch>,
) -> Answer<Json<Member>> {
    let (id, member) = ids(path)?;
    Ok(Json(state.backend.change_member(&caller, id, member, patch).await?))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Removal {
    /// Whether the member's pods become the user's own; they stay with the team in any case.
    #[serde(default)]
    take_over: bool,
}

/// Remove a member, or leave
///
/// What it has open in the team's pods closes within 2 s.
#[utoipa::path(delete, path = "/teams/{id}/members/{user_id}", tag = "teams",
    params(("id" = TeamId, Path), ("user_id" = UserId, Path), Removal), responses((status = 204)))]
async fn remove_member(State(state): State<AppState>, Asker(caller): Asker, path: PathPair, Params(removal): Params<Removal>) -> Answer<StatusCode> {
    let (id, member) = ids(path)?;
    state.backend.remove_member(&caller, id, member, removal.take_over).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How many pods have become the user's.
#[derive(Serialize, ToSchema)]
struct Taken {
    pods: u32,
}

/// Take over pods whose owners have left
#[utoipa::path(post, path = "/teams/{id}/pods/take-over", tag = "teams", params(("id" = TeamId, Path)), request_body = TakeOver,
    responses((status = 200, body = Taken)))]
async fn take_over(
    State(state): State<AppState>,
    Asker(caller): Asker,
    PathId(id): PathId<TeamId>,
    JsonBody(which): JsonBody<TakeOver>,
) -> Answer<Json<Taken>> {
    Ok(Json(Taken { pods: state.backend.take_over(&caller, id, which).await? }))
}

/// Invitations that were neither accepted nor revoked, newest first
#[utoipa::path(get, path = "/teams/{id}/invitations", tag = "teams", params(("id" = TeamId, Path), ListQuery),
    responses((status = 200, body = Page<Invitation>)))]
async fn invitations(
    State(state): State<AppState>,
    Asker(caller): Asker,
    PathId(id): PathId<TeamId>,
    Params(query): Params<ListQuery>,
) -> Answer<Json<Page<Invitation>>> {
    let invitations = state.backend.invitations(&caller, id).await?;
    Ok(Json(page_of(invitations, &query, |invitation| invitation.id.to_string())?))
}

/// Invite somebody; the code is shown this once
#[utoipa::path(post, path = "/teams/{id}/invitations", tag = "teams", params(("id" = TeamId, Path)), request_body = NewInvitation,
    responses((status = 201, body = InvitationMade)))]
async fn invite(
    State(state): State<AppState>,
    Asker(caller): Asker,
    PathId(id): PathId<TeamId>,
    JsonBody(new): JsonBody<NewInvitation>,
) -> Answer<(StatusCode, Json<InvitationMade>)> {
    Ok((StatusCode::CREATED, Json(state.backend.invite(&caller, id, new).await?)))
}

/// Revoke an invitation
#[utoipa::path(delete, path = "/teams/{id}/invitations/{invitation_id}", tag = "teams",
    params(("id" = TeamId, Path), ("invitation_id" = InvitationId, Path)), responses((status = 204)))]
async fn revoke(State(state): State<AppState>, Asker(caller): Asker, path: PathPair) -> Answer<StatusCode> {
    let (id, invitation) = ids(path)?;
    state.backend.revoke_invitation(&caller, id, invitation).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Send an invitation again: another code, for another week; the former one is good no more
#[utoipa::path(post, path = "/teams/{id}/invitations/{invitation_id}/resend", tag = "teams",
    params(("id" = TeamId, Path), ("invitation_id" = InvitationId, Path)), responses((status = 200, body = InvitationMade)))]
async fn resend(State(state): State<AppState>, Asker(caller): Asker, path: PathPair) -> Answer<Json<InvitationMade>> {
    let (id, invitation) = ids(path)?;
    Ok(Json(state.backend.resend_invitation(&caller, id, invitation).await?))
}

/// What was done in a team, newest first
///
/// JSON, page by page; or with Accept: text/csv all of it.
#[utoipa::path(get, path = "/teams/{id}/activity", tag = "teams", params(("id" = TeamId, Path), ActivityQuery),
    responses((status = 200, body = Page<Activity>)))]
async fn activity(
    State(state): State<AppState>,
    Asker(caller): Asker,
    PathId(id): PathId<TeamId>,
    Params(query): Params<ActivityQuery>,
    headers: HeaderMap,
) -> Answer<Response> {
    if headers.get_all(ACCEPT).iter().filter_map(|accept| accept.to_str().ok()).any(|accept| accept.contains("text/csv")) {
        return csv::activity(state, caller, id, query).await;
    }
    Ok(Json(state.backend.activity(&caller, id, query).await?).into_response())
}

/// What accepting an invitation would do
#[utoipa::path(get, path = "/invitations/{code}", tag = "teams", params(("code" = String, Path)), responses((status = 200, body = InvitationShown)))]
async fn invitation(State(state): State<AppState>, Asker(caller): Asker, Path(code): Path<String>) -> Answer<Json<InvitationShown>> {
    Ok(Json(state.backend.invitation(&caller, &code).await?))
}

/// Accept an invitation
#[utoipa::path(post, path = "/invitations/{code}", tag = "teams", params(("code" = String, Path)), responses((status = 200, body = Team)))]
async fn accept(State(state): State<AppState>, Asker(caller): Asker, Path(code): Path<String>) -> Answer<Json<Team>> {
    Ok(Json(state.backend.accept_invitation(&caller, &code).await?))
}
