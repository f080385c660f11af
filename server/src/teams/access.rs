//! What a caller may ask about teams: members see their team and leave it, owners change it. To everybody else it is not there.

use super::{ending, invitations, members, names, store};
use crate::{
    account::{self, may_change},
    activity::{self, Home},
    control::ControlPlane,
    db::fault,
    news::{self, Change},
    paging, pods,
};
use async_trait::async_trait;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use futures::stream::BoxStream;
use pinacle_app::{
    AppError, AppResult, ErrorCode,
    backend::{Caller, Teams},
    ids::{InvitationId, TeamId, UserId},
    pods::Page,
    teams::{
        Invitation, InvitationMade, InvitationShown, Member, MemberPatch, NewInvitation, NewTeam, TakeOver, Team, TeamDetail, TeamName, TeamOverview,
        TeamPatch, TeamRole,
        activity::{Action, Activity, ActivityKind, ActivityQuery},
    },
};
use uuid::Uuid;

/// Rows of activity that are read at once.
const MAX_ACTIVITY: u32 = 1000;
/// That one user owns, the personal one too.
const MOST_OWNED: i64 = 100;
const MOST_ACTOR: usize = 100;
/// A watcher that has not heard of the last change need not hear of it twice.
const ON_THE_WAY: usize = 1;

fn cursor_text(member: &Member) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(format!("{} {}", member.role.as_str(), member.login))
}

fn parse_cursor(text: &str) -> AppResult<store::After> {
    let parsed = || {
        let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let (role, login) = text.split_once(' ')?;
        let role = [TeamRole::Owner, TeamRole::Member].into_iter().find(|known| known.as_str() == role)?;
        (!login.contains('\0')).then(|| store::After { role, login: login.to_owned() })
    };
    parsed().ok_or_else(paging::bad_cursor)
}

impl ControlPlane {
    /// The caller's role; 404 for who is not in the team.
    async fn role_in(&self, caller: &Caller, team: TeamId) -> AppResult<TeamRole> {
        store::role(&self.db, team, caller.user).await.map_err(fault)?.ok_or_else(AppError::not_found)
    }

    async fn own_team(&self, caller: &Caller, team: TeamId) -> AppResult<Team> {
        store::team(&self.db, team, caller.user).await.map_err(fault)?.ok_or_else(AppError::not_found)
    }

    /// Whether the caller is there, then whether its credential may change anything: a foreign id is not found in any case.
    async fn changes(&self, caller: &Caller, team: TeamId) -> AppResult<TeamRole> {
        let role = self.role_in(caller, team).await?;
        may_change(caller)?;
        Ok(role)
    }

    async fn owner_changes(&self, caller: &Caller, team: TeamId) -> AppResult<()> {
        members::owner_alone(self.changes(caller, team).await?)
    }

    async fn detail(&self, team: Team) -> AppResult<TeamDetail> {
        let mut db = self.db.acquire().await.map_err(fault)?;
        let (members, pods, created_at) = store::figures(&mut db, team.id).await.map_err(fault)?;
        let left = pods::store::left_in(&mut db, team.id).await.map_err(fault)?;
        let left_pods = left.into_iter().map(|pod| pinacle_app::teams::LeftPod { id: pod.id, name: pod.name, owner: pod.owner }).collect();
        Ok(TeamDetail { team, members, pods, left_pods, created_at })
    }

    async fn page_of_members(&self, id: TeamId, cursor: Option<String>, limit: Option<u32>) -> AppResult<Page<Member>> {
        let limit = paging::limit(limit, paging::DEFAULT, paging::MOST)?;
        let after = cursor.as_deref().map(parse_cursor).transpose()?;
        let items = store::members(&self.db, id, after.as_ref(), i64::from(limit) + 1).await.map_err(fault)?;
        Ok(paging::page(items, limit, cursor_text))
    }

    /// What `role` lets the caller see of it.
    async fn page_of_activity(&self, caller: &Caller, id: TeamId, role: TeamRole, query: ActivityQuery) -> AppResult<Page<Activity>> {
        let limit = paging::limit(query.limit, paging::DEFAULT, MAX_ACTIVITY)?;
        let given = |text: Option<String>| text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let kind = match given(query.kind) {
            None => None,
            Some(kind) => Some(ActivityKind::parse(&kind).ok_or_else(|| AppError::field("kind", "One of people, pods, secrets, access, hosts."))?),
        };
        let actor = given(query.actor);
        if actor.as_ref().is_some_and(|actor| actor.len() > MOST_ACTOR || actor.contains('\0')) {
            return Err(AppError::field("actor", format!("A login, at most {MOST_ACTOR} characters.")));
        }
        let before =
            given(query.cursor).map(|cursor| cursor.parse::<i64>().ok().filter(|seq| *seq > 0).ok_or_else(paging::bad_cursor)).transpose()?;
        let items = activity::page(&self.db, id, kind, actor.as_deref(), before, i64::from(limit) + 1).await.map_err(fault)?;
        let mut page = paging::page(items, limit, |last| last.seq.to_string());
        if role != TeamRole::Owner {
            // Where others were, and what their tokens are called, is no member's matter.
            for item in page.items.iter_mut().filter(|item| item.actor_id != Some(caller.user)) {
                (item.address, item.token) = (None, None);
                // Nor who is invited, as at the invitations' own door.
                if item.action.starts_with("invitation.") {
                    "somebody".clone_into(&mut item.object);
                }
            }
        }
        Ok(page)
    }
}

#[async_trait]
impl Teams for ControlPlane {
    async fn teams(&self, caller: &Caller) -> AppResult<Vec<Team>> {
        store::teams(&self.db, caller.user).await.map_err(fault)
    }

    async fn team(&self, caller: &Caller, id: TeamId) -> AppResult<TeamDetail> {
        let team = self.own_team(caller, id).await?;
        self.detail(team).await
    }

    async fn team_overview(&self, caller: &Caller, slug: &str, query: ActivityQuery) -> AppResult<TeamOverview> {
        let slug = Some(slug).filter(|slug| !slug.contains('\0')).ok_or_else(AppError::not_found)?;
        let team = store::by_slug(&self.db, slug, caller.user).await.map_err(fault)?.ok_or_else(AppError::not_found)?;
        let (id, role) = (team.id, team.role);
        let team = self.detail(team).await?;
        let members = self.page_of_members(id, None, None).await?;
        let invitations = if role == TeamRole::Owner { store::invitations::list(&self.db, id).await.map_err(fault)? } else { Vec::new() };
        let activity = self.page_of_activity(caller, id, role, query).await?;
        Ok(TeamOverview { team, members, invitations, activity })
    }

    async fn create_team(&self, caller: &Caller, new: NewTeam) -> AppResult<Team> {
        may_change(caller)?;
        let name = TeamName::parse(&new.name).map_err(|error| AppError::field("name", error.to_string()))?;
        let id = TeamId(Uuid::now_v7());
        let mut tx = self.db.begin().await.map_err(fault)?;
        account::store::lock_user(&mut tx, caller.user).await.map_err(fault)?;
        if store::count_owned(&mut tx, caller.user).await.map_err(fault)? >= MOST_OWNED {
            return Err(AppError::new(ErrorCode::QuotaExceeded, format!("You own {MOST_OWNED} teams. Delete one first, or hand it on.")));
        }
        if !names::claim(&mut tx, id, name.as_str(), name.as_str(), None).await.map_err(fault)? {
            return Err(AppError { code: ErrorCode::Taken, ..AppError::field("name", "Too many teams have this name. Choose another one.") });
        }
        store::add_member(&mut tx, id, caller.user, TeamRole::Owner).await.map_err(fault)?;
        activity::record_by(&mut tx, caller, Home::Team(id), Action::TeamCreate, id.0, name.as_str(), "").await?;
        news::notify(&mut tx, Change::Joined { team: id, user: caller.user }).await.map_err(fault)?;
        tx.commit().await.map_err(fault)?;
        self.own_team(caller, id).await
    }

    async fn rename_team(&self, caller: &Caller, id: TeamId, patch: TeamPatch) -> AppResult<Team> {
        self.owner_changes(caller, id).await?;
        let name = TeamName::parse(&patch.name).map_err(|error| AppError::field("name", error.to_string()))?;
        let mut tx = self.db.begin().await.map_err(fault)?;
        members::hold_as_owner(&mut tx, caller, id).await?;
        if store::is_personal(&mut tx, id).await.map_err(fault)? {
            return Err(AppError::new(ErrorCode::WrongState, "A personal team keeps its name."));
        }
        let before = store::name(&mut tx, id).await.map_err(fault)?.ok_or_else(AppError::not_found)?;
        if before != name.as_str() {
            store::rename(&mut tx, id, name.as_str()).await.map_err(fault)?;
            activity::record_by(&mut tx, caller, Home::Team(id), Action::TeamRename, id.0, &before, &format!("to {name}")).await?;
        }
        tx.commit().await.map_err(fault)?;
        self.own_team(caller, id).await
    }

    async fn delete_team(&self, caller: &Caller, id: TeamId, with_pods_of: Option<&str>) -> AppResult<()> {
        self.owner_changes(caller, id).await?;
        ending::delete(self, caller, id, with_pods_of).await
    }

    async fn members(&self, caller: &Caller, id: TeamId, cursor: Option<String>, limit: Option<u32>) -> AppResult<Page<Member>> {
        self.role_in(caller, id).await?;
        self.page_of_members(id, cursor, limit).await
    }

    async fn change_member(&self, caller: &Caller, id: TeamId, member: UserId, patch: MemberPatch) -> AppResult<Member> {
        self.owner_changes(caller, id).await?;
        members::change(self, caller, id, member, patch).await
    }

    async fn remove_member(&self, caller: &Caller, id: TeamId, member: UserId, take_over: bool) -> AppResult<()> {
        self.changes(caller, id).await?;
        members::remove(self, caller, id, member, take_over).await
    }

    async fn take_over(&self, caller: &Caller, id: TeamId, which: TakeOver) -> AppResult<u32> {
        self.owner_changes(caller, id).await?;
        members::take_over(self, caller, id, which).await
    }

    async fn invitations(&self, caller: &Caller, id: TeamId) -> AppResult<Vec<Invitation>> {
        members::owner_alone(self.role_in(caller, id).await?)?;
        store::invitations::list(&self.db, id).await.map_err(fault)
    }

    async fn invite(&self, caller: &Caller, id: TeamId, new: NewInvitation) -> AppResult<InvitationMade> {
        self.owner_changes(caller, id).await?;
        invitations::invite(self, caller, id, new).await
    }

    async fn resend_invitation(&self, caller: &Caller, id: TeamId, invitation: InvitationId) -> AppResult<InvitationMade> {
        self.owner_changes(caller, id).await?;
        invitations::resend(self, caller, id, invitation).await
    }

    async fn revoke_invitation(&self, caller: &Caller, id: TeamId, invitation: InvitationId) -> AppResult<()> {
        self.owner_changes(caller, id).await?;
        invitations::revoke(self, caller, id, invitation).await
    }

    async fn invitation(&self, caller: &Caller, code: &str) -> AppResult<InvitationShown> {
        invitations::show(self, caller, code).await
    }

    async fn accept_invitation(&self, caller: &Caller, code: &str) -> AppResult<Team> {
        may_change(caller)?;
        invitations::accept(self, caller, code).await
    }

    async fn activity(&self, caller: &Caller, id: TeamId, query: ActivityQuery) -> AppResult<Page<Activity>> {
        let role = self.role_in(caller, id).await?;
        self.page_of_activity(caller, id, role, query).await
    }

    async fn watch_team(&self, caller: &Caller, id: TeamId) -> AppResult<BoxStream<'static, ()>> {
        self.role_in(caller, id).await?;
        Ok(watch(self.clone(), caller.clone(), id))
    }
}

/// Says when to look again, until the watcher has gone or is in the team no more.
fn watch(control: ControlPlane, caller: Caller, id: TeamId) -> BoxStream<'static, ()> {
    use tokio::sync::mpsc::{self, error::TrySendError};
    let (sender, receiver) = mpsc::channel(ON_THE_WAY);
    tokio::spawn(async move {
        let mut changes = control.news.subscribe();
        let mut look = true;
        loop {
            if look {
                let role = store::role(&control.db, id, caller.user).await;
                // Also at last: whoever looks again then finds that it is in the team no more.
                let gone = matches!(sender.try_send(()), Err(TrySendError::Closed(())));
                match role {
                    Ok(Some(_)) if !gone => {}
                    Ok(_) => return,
                    Err(error) => {
                        tracing::warn!(%error, "a team's watcher could not be told");
                        return;
                    }
                }
            }
            let change = tokio::select! {
                change = changes.next() => change,
                () = sender.closed() => return,
            };
            look = match change {
                None => return,
                Some(Change::Missed) => true,
                Some(Change::Team(team)) => team == id,
                Some(Change::Left { team, .. } | Change::Joined { team, .. }) => team == id,
                Some(_) => false,
            };
        }
    });
    Box::pin(futures::stream::unfold(receiver, |mut from| async move { from.recv().await.map(|()| ((), from)) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    fn member(role: TeamRole, login: &str) -> Member {
        Member {
            user_id: UserId(Uuid::nil()),
            login: login.to_owned(),
            handle: String::new(),
            name: String::new(),
            role,
            pods: 0,
            joined_at: time::OffsetDateTime::UNIX_EPOCH,
            active_at: None,
        }
    }

    proptest! {
        #[test]
        fn any_cursor_is_a_place_among_the_members_or_refused_at_its_field(text in prop_oneof![
            ".{0,60}",
            "[A-Za-z0-9_=-]{0,80}",
            "(owner|member|operator|) ?.{0,40}".prop_map(|text| BASE64_URL_SAFE_NO_PAD.encode(text)),
            vec(any::<u8>(), 0..40).prop_map(|bytes| BASE64_URL_SAFE_NO_PAD.encode(bytes)),
        ]) {
            match parse_cursor(&text) {
                Ok(after) => {
                    prop_assert!(!after.login.contains('\0'), "Postgres keeps none");
                    prop_assert_eq!(parse_cursor(&cursor_text(&member(after.role, &after.login))), Ok(after));
                }
                Err(error) => prop_assert!(error.of("cursor").is_some()),
            }
        }

        #[test]
        fn the_cursor_of_any_member_is_read_back(login in "[A-Za-z0-9_-]{1,39}", owns in any::<bool>()) {
            let role = if owns { TeamRole::Owner } else { TeamRole::Member };
            prop_assert_eq!(parse_cursor(&cursor_text(&member(role, &login))), Ok(store::After { role, login }));
        }
    }

    #[test]
    fn a_cursor_that_is_not_ours_is_refused() {
        for text in ["", "x", "AAAA", "b3BlcmF0b3IgeA"] {
            assert!(parse_cursor(text).unwrap_err().of("cursor").is_some());
        }
        let cursor = BASE64_URL_SAFE_NO_PAD.encode("member two-part-name");
        assert_eq!(parse_cursor(&cursor), Ok(store::After { role: TeamRole::Member, login: "two-part-name".into() }));
    }
}
