//! Teams: every pod belongs to exactly one, a person's own to the personal team. Who is in it, who is asked in, what was done.

pub mod activity;
mod activity_list;
pub mod api;
mod ending;
mod invitation_page;
mod invitations;
mod left;
mod members;
mod name;
mod new;
mod page;
pub mod place;
mod rename;
mod switcher;

pub use invitation_page::InvitationPage;
pub use name::{TeamName, TeamNameError};
pub use new::NewTeamPage;
pub use page::TeamPage;
pub use switcher::TeamSwitcher;

use crate::ids::{InvitationId, PodId, TeamId, UserId};
use crate::pods::Page;
use activity::Activity;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

/// Owners also manage members, invitations and secrets, and delete others' pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TeamRole {
    Owner,
    Member,
}

impl TeamRole {
    pub fn label(self) -> &'static str {
        match self {
            TeamRole::Owner => "Owner",
            TeamRole::Member => "Member",
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            TeamRole::Owner => "owner",
            TeamRole::Member => "member",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Team {
    pub id: TeamId,
    /// Stands in addresses; stays when the team is renamed.
    pub slug: String,
    pub name: String,
    pub personal: bool,
    /// The caller's.
    pub role: TeamRole,
}

impl Team {
    /// Where the team's pages are.
    pub fn address(&self) -> String {
        format!("/teams/{}", self.slug)
    }
}

/// A team with what its page says above everything else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TeamDetail {
    #[serde(flatten)]
    pub team: Team,
    pub members: u32,
    pub pods: u32,
    /// Pods whose owners have left: an owner may take them over.
    pub left_pods: Vec<LeftPod>,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// What a team's page shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TeamOverview {
    pub team: TeamDetail,
    pub members: Page<Member>,
    /// Empty for who is no owner.
    pub invitations: Vec<Invitation>,
    pub activity: Page<Activity>,
}

/// A pod whose owner has left the team.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeftPod {
    pub id: PodId,
    pub name: String,
    /// Login of who made it.
    pub owner: String,
}

/// Body of POST /teams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTeam {
    /// 1–60 characters.
    pub name: String,
}

impl NewTeam {
    /// Where the form goes on after an error: its page says what is wrong with the name.
    pub fn form_address(&self) -> String {
        let pairs = url::form_urlencoded::Serializer::new(String::new()).append_pair("checked", "1").append_pair("name", &self.name).finish();
        format!("/teams/new?{pairs}")
    }
}

/// Body of PATCH /teams/{id}.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TeamPatch {
    /// 1–60 characters; the slug stays.
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Member {
    pub user_id: UserId,
    /// At GitHub.
    pub login: String,
    pub handle: String,
    pub name: String,
    pub role: TeamRole,
    /// That it has in this team.
    pub pods: u32,
    #[serde(with = "time::serde::rfc3339")]
    pub joined_at: OffsetDateTime,
    /// When a browser or token of its was last seen, to about a minute.
    #[serde(with = "time::serde::rfc3339::option")]
    pub active_at: Option<OffsetDateTime>,
}

/// Body of PATCH /teams/{id}/members/{user_id}.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MemberPatch {
    pub role: TeamRole,
}

/// Body of POST /teams/{id}/pods/take-over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TakeOver {
    /// Pods whose owners have left; all of them if left out. Each becomes the caller's.
    pub pods: Option<Vec<PodId>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InvitationState {
    Open,
    Expired,
}

/// An invitation that was neither accepted nor revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Invitation {
    pub id: InvitationId,
    /// The login that the invited GitHub account had then; the account is known by its number.
    pub github_login: Option<String>,
    pub email: Option<String>,
    pub role: TeamRole,
    /// Login of who invited.
    pub invited_by: String,
    pub state: InvitationState,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
}

impl Invitation {
    /// Who is invited, as it was said.
    pub fn invited(&self) -> &str {
        self.github_login.as_deref().or(self.email.as_deref()).unwrap_or_default()
    }
}

/// Body of POST /teams/{id}/invitations: one of the two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewInvitation {
    pub github_login: Option<String>,
    pub email: Option<String>,
    pub role: TeamRole,
}

/// An invitation with its code, this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InvitationMade {
    /// Good for one joining, by the invited account alone.
    pub code: String,
    /// What the owner sends to whom it invited: no mail is sent.
    pub url: String,
    #[serde(flatten)]
    pub listed: Invitation,
}

impl InvitationMade {
    /// The link, within this site.
    pub fn address(&self) -> String {
        format!("/invitations/{}", self.code)
    }
}

impl std::fmt::Debug for InvitationMade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InvitationMade").field("listed", &self.listed).finish_non_exhaustive()
    }
}

/// What the invited sees before it accepts, and an owner of the team before it passes the link on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InvitationShown {
    pub team: String,
    pub role: TeamRole,
    /// Login of who invited.
    pub invited_by: String,
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
    /// For an owner whom it is not meant for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pass_on: Option<PassOn>,
}

/// A link that an owner of the team passes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PassOn {
    /// Who is invited, as it was said.
    pub invited: String,
    pub url: String,
    /// The team's page, such as `/teams/acme`.
    pub team_page: String,
}
