//! Teams that the caller belongs to: who is in them, who is asked in, and what was done there.

use super::Caller;
use crate::error::AppResult;
use crate::ids::{InvitationId, TeamId, UserId};
use crate::pods::Page;
use crate::teams::activity::{Activity, ActivityQuery};
use crate::teams::{
    Invitation, InvitationMade, InvitationShown, Member, MemberPatch, NewInvitation, NewTeam, TakeOver, Team, TeamDetail, TeamOverview, TeamPatch,
};
use async_trait::async_trait;
use futures::stream::BoxStream;

#[async_trait]
pub trait Teams: Send + Sync {
    /// The personal team first.
    async fn teams(&self, caller: &Caller) -> AppResult<Vec<Team>>;
    async fn team(&self, caller: &Caller, id: TeamId) -> AppResult<TeamDetail>;
    /// What its page shows: members and activity as `members` and `activity` begin, invitations for owners.
    async fn team_overview(&self, caller: &Caller, slug: &str, query: ActivityQuery) -> AppResult<TeamOverview>;
    /// The caller is its first owner.
    async fn create_team(&self, caller: &Caller, new: NewTeam) -> AppResult<Team>;
    async fn rename_team(&self, caller: &Caller, id: TeamId, patch: TeamPatch) -> AppResult<Team>;
    /// A team that has pods goes with them only where its name is said.
    async fn delete_team(&self, caller: &Caller, id: TeamId, with_pods_of: Option<&str>) -> AppResult<()>;
    /// Owners first, then by login.
    async fn members(&self, caller: &Caller, id: TeamId, cursor: Option<String>, limit: Option<u32>) -> AppResult<Page<Member>>;
    /// A team keeps at least one owner.
    async fn change_member(&self, caller: &Caller, id: TeamId, member: UserId, patch: MemberPatch) -> AppResult<Member>;
    /// Removes somebody, or oneself. What it has open in the team's pods closes within 2 s; its pods stay with the team and, where that is
    /// asked for, become the caller's.
    async fn remove_member(&self, caller: &Caller, id: TeamId, member: UserId, take_over: bool) -> AppResult<()>;
    /// Makes pods whose owners have left the caller's; how many.
    async fn take_over(&self, caller: &Caller, id: TeamId, which: TakeOver) -> AppResult<u32>;
    /// Those that are open or have expired, newest first.
    async fn invitations(&self, caller: &Caller, id: TeamId) -> AppResult<Vec<Invitation>>;
    /// The code is in the answer, this once.
    async fn invite(&self, caller: &Caller, id: TeamId, new: NewInvitation) -> AppResult<InvitationMade>;
    /// Another code and another week; the former code is good no more.
    async fn resend_invitation(&self, caller: &Caller, id: TeamId, invitation: InvitationId) -> AppResult<InvitationMade>;
    async fn revoke_invitation(&self, caller: &Caller, id: TeamId, invitation: InvitationId) -> AppResult<()>;
    /// What accepting this code would do; refused as accepting it would be.
    async fn invitation(&self, caller: &Caller, code: &str) -> AppResult<InvitationShown>;
    /// Twice by the same account is once.
    async fn accept_invitation(&self, caller: &Caller, code: &str) -> AppResult<Team>;
    /// Newest first. Where somebody else was is for owners alone.
    async fn activity(&self, caller: &Caller, id: TeamId, query: ActivityQuery) -> AppResult<Page<Activity>>;
    /// Once now and whenever something was done in the team, until the caller has left it.
    async fn watch_team(&self, caller: &Caller, id: TeamId) -> AppResult<BoxStream<'static, ()>>;
}
