//! Who is in a team: roles, leaving, being removed, and what becomes of the pods of those who left.
//!
//! Whoever changes any of it holds the team's row, so that two owners who demote each other do it one after the other, and the
//! second is refused. Locks are taken in one order everywhere: team, user, membership, pods.

use super::store;
use crate::{
    activity::{self, Home},
    control::ControlPlane,
    db::fault,
    news::{self, Change},
    pods,
};
use pinacle_app::{
    AppError, AppResult, ErrorCode,
    backend::Caller,
    ids::{PodId, TeamId, UserId},
    pods::PodName,
    teams::{Member, MemberPatch, TakeOver, TeamRole, activity::Action},
};
use sqlx::PgConnection;

/// The caller's role, with the team's row held; 404 for who is not in it.
pub(super) async fn hold(tx: &mut PgConnection, caller: &Caller, team: TeamId) -> AppResult<TeamRole> {
    if !store::lock(tx, team).await.map_err(fault)? {
        return Err(AppError::not_found());
    }
    store::role(&mut *tx, team, caller.user).await.map_err(fault)?.ok_or_else(AppError::not_found)
}

/// As `hold`; members who are no owners are refused.
pub async fn hold_as_owner(tx: &mut PgConnection, caller: &Caller, team: TeamId) -> AppResult<()> {
    owner_alone(hold(tx, caller, team).await?)
}

pub fn owner_alone(role: TeamRole) -> AppResult<()> {
    match role {
        TeamRole::Owner => Ok(()),
        TeamRole::Member => Err(AppError::forbidden("Only the team's owners do this.")),
    }
}

/// A member of the team, as its row is now.
async fn find(tx: &mut PgConnection, team: TeamId, user: UserId) -> AppResult<Member> {
    store::member(tx, team, user).await.map_err(fault)?.ok_or_else(AppError::not_found)
}

async fn keep_an_owner(tx: &mut PgConnection, team: TeamId, member: &Member) -> AppResult<()> {
    if member.role == TeamRole::Owner && store::count_owners(tx, team).await.map_err(fault)? < 2 {
        let message = format!("{} is the only owner, and a team keeps one. Make somebody else an owner first.", member.login);
        return Err(AppError::new(ErrorCode::WrongState, message));
    }
    Ok(())
}

pub async fn change(control: &ControlPlane, caller: &Caller, team: TeamId, user: UserId, patch: MemberPatch) -> AppResult<Member> {
    let mut tx = control.db.begin().await.map_err(fault)?;
    hold_as_owner(&mut tx, caller, team).await?;
    let member = find(&mut tx, team, user).await?;
    if member.role != patch.role {
        if patch.role == TeamRole::Member {
            keep_an_owner(&mut tx, team, &member).await?;
        }
        store::set_role(&mut tx, team, user, patch.role).await.map_err(fault)?;
        let detail = if patch.role == TeamRole::Owner { "an owner" } else { "a member" };
        activity::record_by(&mut tx, caller, Home::Team(team), Action::MemberRole, user.0, &member.login, detail).await?;
        if patch.role == TeamRole::Member {
            revoke_invitations_of(&mut tx, caller, team, user, "since who invited is no owner any more").await?;
        }
    }
    let member = find(&mut tx, team, user).await?;
    tx.commit().await.map_err(fault)?;
    Ok(member)
}

/// Ends a membership: the caller's own, or by an owner somebody else's. Everything goes with it in one transaction; what is open closes by
/// the news of it.
pub async fn remove(control: &ControlPlane, caller: &Caller, team: TeamId, user: UserId, take_over: bool) -> AppResult<()> {
    let mut tx = control.db.begin().await.map_err(fault)?;
    let role = hold(&mut tx, caller, team).await?;
    let leaves = user == caller.user;
    if !leaves {
        owner_alone(role)?;
    }
    let member = find(&mut tx, team, user).await?;
    if store::is_personal(&mut tx, team).await.map_err(fault)? {
        return Err(AppError::new(ErrorCode::WrongState, "A personal team stays its user's."));
    }
    keep_an_owner(&mut tx, team, &member).await?;
    let take_over = take_over && !leaves;
    if take_over {
        pods::store::lock_owner(&mut tx, caller.user).await.map_err(fault)?;
    }
    // Waits for a pod that the member is just creating, so that it is among those below.
    store::remove_member(&mut tx, team, user).await.map_err(fault)?;
    let (action, name) = if leaves { (Action::MemberLeave, "") } else { (Action::MemberRemove, &*member.login) };
    activity::record_by(&mut tx, caller, Home::Team(team), action, user.0, name, "").await?;
    revoke_invitations_of(&mut tx, caller, team, user, "since who invited has left").await?;
    let left = pods::store::owner_left(&mut tx, team, user).await.map_err(fault)?;
    for pod in &left {
        news::notify(&mut tx, Change::Pod { pod: *pod, team }).await.map_err(fault)?;
    }
    if take_over {
        take(&mut tx, caller, team, Some(left.as_slice())).await?;
    }
    news::notify(&mut tx, Change::Left { team, user }).await.map_err(fault)?;
    tx.commit().await.map_err(fault)
}

/// Or somebody could take back by an invitation of their own making what has just been taken.
async fn revoke_invitations_of(tx: &mut PgConnection, caller: &Caller, team: TeamId, user: UserId, why: &str) -> AppResult<()> {
    for (id, invited) in store::revoke_invitations_of(tx, team, user).await.map_err(fault)? {
        activity::record_by(tx, caller, Home::Team(team), Action::InvitationRevoke, id.0, &invited, why).await?;
    }
    Ok(())
}

/// Makes pods whose owners have left the caller's; how many.
pub async fn take_over(control: &ControlPlane, caller: &Caller, team: TeamId, which: TakeOver) -> AppResult<u32> {
    let mut tx = control.db.begin().await.map_err(fault)?;
    hold_as_owner(&mut tx, caller, team).await?;
    pods::store::lock_owner(&mut tx, caller.user).await.map_err(fault)?;
    let taken = take(&mut tx, caller, team, which.pods.as_deref()).await?;
    tx.commit().await.map_err(fault)?;
    Ok(taken)
}

/// They count for the team's owners already (`pods::quota`), so that nothing more is used by taking them. A name that the caller's pods
/// have is counted up.
async fn take(tx: &mut PgConnection, caller: &Caller, team: TeamId, only: Option<&[PodId]>) -> AppResult<u32> {
    let left = pods::store::left_in(tx, team).await.map_err(fault)?;
    if let Some(only) = only
        && only.iter().any(|id| !left.iter().any(|pod| pod.id == *id))
    {
        return Err(AppError::field("pods", "Only pods of this team whose owners have left."));
    }
    let mut names = pods::store::names_of(&mut *tx, caller.user).await.map_err(fault)?;
    let mut taken = 0;
    for pod in left.iter().filter(|pod| only.is_none_or(|only| only.contains(&pod.id))) {
        let name = if names.contains(&pod.name) { PodName::suggest(Some(&pod.name), &names).as_str().to_owned() } else { pod.name.clone() };
        pods::store::take_over(tx, pod.id, caller.user, &name).await.map_err(fault)?;
        let renamed = if name == pod.name { String::new() } else { format!(", as {name}") };
        let detail = format!("of {}{renamed}", pod.owner);
        activity::record_by(tx, caller, Home::Team(team), Action::PodTakeOver, pod.id.0, &pod.name, &detail).await?;
        news::notify(tx, Change::Pod { pod: pod.id, team }).await.map_err(fault)?;
        names.push(name);
        taken += 1;
    }
    Ok(taken)
}

/// A new member has the pods again that it left here, but for those whose names it has given to others since.
pub(super) async fn bring_back(tx: &mut PgConnection, team: TeamId, user: UserId) -> AppResult<()> {
    let left = pods::store::left_in(tx, team).await.map_err(fault)?;
    let mut names = pods::store::names_of(&mut *tx, user).await.map_err(fault)?;
    for pod in left.into_iter().filter(|pod| pod.owner_id == user) {
        if !names.contains(&pod.name) {
            pods::store::take_over(tx, pod.id, user, &pod.name).await.map_err(fault)?;
            news::notify(tx, Change::Pod { pod: pod.id, team }).await.map_err(fault)?;
            names.push(pod.name);
        }
    }
    Ok(())
}
