//! What the browser may ask of teams. Those that a plain form calls lead it to a page, too.

use super::activity::{Activity, ActivityQuery};
use super::{InvitationMade, InvitationShown, Member, Team, TeamOverview, TeamRole};
use crate::error::AppError;
use crate::ids::{InvitationId, TeamId, UserId};
use crate::pods::Page;
use leptos::prelude::*;

#[server(prefix = "/fn", endpoint = "teams/list")]
pub async fn list_teams() -> Result<Vec<Team>, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.teams(&caller).await
}

/// All that a team's page shows; `kind` is of activity, everything if it is empty.
#[server(prefix = "/fn", endpoint = "teams/view")]
pub async fn view_team(slug: String, kind: String) -> Result<TeamOverview, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.team_overview(&caller, &slug, ActivityQuery { kind: Some(kind), ..ActivityQuery::default() }).await
}

#[server(prefix = "/fn", endpoint = "teams/create")]
pub async fn create_team(name: String) -> Result<Team, AppError> {
    let (backend, caller) = crate::server::door()?;
    let wants_page = crate::server::wants_page();
    let new = super::NewTeam { name };
    match backend.create_team(&caller, new.clone()).await {
        Ok(team) => {
            leptos_axum::redirect(&team.address());
            Ok(team)
        }
        Err(error) => {
            if wants_page {
                leptos_axum::redirect(&new.form_address());
            }
            Err(error)
        }
    }
}

#[server(prefix = "/fn", endpoint = "teams/rename")]
pub async fn rename_team(id: TeamId, name: String) -> Result<Team, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.rename_team(&caller, id, super::TeamPatch { name }).await
}

/// `with_pods_of`: the team's name, where it has pods that are to go with it.
#[server(prefix = "/fn", endpoint = "teams/delete")]
pub async fn delete_team(id: TeamId, with_pods_of: Option<String>) -> Result<(), AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.delete_team(&caller, id, with_pods_of.as_deref()).await?;
    leptos_axum::redirect("/");
    Ok(())
}

#[server(prefix = "/fn", endpoint = "teams/members")]
pub async fn list_members(id: TeamId, cursor: Option<String>) -> Result<Page<Member>, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.members(&caller, id, cursor, None).await
}

#[server(prefix = "/fn", endpoint = "teams/change-member")]
pub async fn change_member(id: TeamId, user: UserId, role: TeamRole) -> Result<Member, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.change_member(&caller, id, user, super::MemberPatch { role }).await
}

#[server(prefix = "/fn", endpoint = "teams/remove-member")]
pub async fn remove_member(id: TeamId, user: UserId, #[server(default)] take_over: bool) -> Result<(), AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.remove_member(&caller, id, user, take_over).await?;
    if user == caller.user {
        leptos_axum::redirect("/");
    }
    Ok(())
}

/// How many pods have become the caller's.
#[server(prefix = "/fn", endpoint = "teams/take-over")]
pub async fn take_over_pods(id: TeamId) -> Result<u32, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.take_over(&caller, id, super::TakeOver::default()).await
}

/// `who` is an e-mail address if there is an @ inside of it, else a GitHub login. Without JavaScript, the invitation's page has the link.
#[server(prefix = "/fn", endpoint = "teams/invite")]
pub async fn invite(id: TeamId, who: String, role: TeamRole) -> Result<InvitationMade, AppError> {
    let (backend, caller) = crate::server::door()?;
    let who = who.trim().to_owned();
    let is_email = who.trim_start_matches('@').contains('@');
    let (github_login, email) = if is_email { (None, Some(who)) } else { (Some(who), None) };
    let wants_page = crate::server::wants_page();
    let made = backend.invite(&caller, id, super::NewInvitation { github_login, email, role }).await?;
    if wants_page {
        leptos_axum::redirect(&made.address());
    }
    Ok(made)
}

#[server(prefix = "/fn", endpoint = "teams/resend-invitation")]
pub async fn resend_invitation(id: TeamId, invitation: InvitationId) -> Result<InvitationMade, AppError> {
    let (backend, caller) = crate::server::door()?;
    let wants_page = crate::server::wants_page();
    let made = backend.resend_invitation(&caller, id, invitation).await?;
    if wants_page {
        leptos_axum::redirect(&made.address());
    }
    Ok(made)
}

#[server(prefix = "/fn", endpoint = "teams/revoke-invitation")]
pub async fn revoke_invitation(id: TeamId, invitation: InvitationId) -> Result<(), AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.revoke_invitation(&caller, id, invitation).await
}

#[server(prefix = "/fn", endpoint = "teams/activity")]
pub async fn team_activity(id: TeamId, #[server(default)] query: ActivityQuery) -> Result<Page<Activity>, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.activity(&caller, id, query).await
}

#[server(prefix = "/fn", endpoint = "invitations/get")]
pub async fn get_invitation(code: String) -> Result<InvitationShown, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.invitation(&caller, &code).await
}

/// Goes to the team's pods; without JavaScript, what refuses it is said by the invitation's page.
#[server(prefix = "/fn", endpoint = "invitations/accept")]
pub async fn accept_invitation(code: String) -> Result<Team, AppError> {
    let (backend, caller) = crate::server::door()?;
    let team = backend.accept_invitation(&caller, &code).await?;
    leptos_axum::redirect(&format!("{}/pods", team.address()));
    Ok(team)
}
