//! Invitations: an owner asks a GitHub account or the holder of an address in, by a link that it sends itself. The code in the link is good
//! for one joining, by the invited account alone; the table has its hash.

use super::{members, store};
use crate::{
    account,
    activity::{self, Home},
    control::ControlPlane,
    db::fault,
    github::{self, GitHubError},
    news::{self, Change},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use pinacle_app::{
    AppError, AppResult, ErrorCode,
    backend::Caller,
    ids::{InvitationId, TeamId, UserId},
    teams::{InvitationMade, InvitationShown, InvitationState, NewInvitation, PassOn, Team, TeamRole, activity::Action},
};
use rand::RngCore;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use std::time::Duration;
use store::invitations::{Found, Invitee};
use time::OffsetDateTime;
use uuid::Uuid;

/// How long a code is good.
pub const VALID: Duration = Duration::from_secs(7 * 24 * 3600);
/// Invitations of one team that are neither accepted nor revoked.
const MOST_OPEN: i64 = 100;
/// Codes that one invitation has had.
const MOST_CODES: i64 = 50;
/// In one team.
pub const MOST_MEMBERS: i64 = 1000;
const MOST_EMAIL: usize = 254;
/// A code of ours has 43 characters.
const MOST_CODE: usize = 100;

/// A new code and the hash that is stored of it.
fn new_code() -> (String, Vec<u8>) {
    let mut bytes = [0u8; 32];
    rand::rng().fill_bytes(&mut bytes);
    let code = BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let hash = hash(&code);
    (code, hash)
}

fn hash(code: &str) -> Vec<u8> {
    Sha256::digest(code).to_vec()
}

/// What was typed, before GitHub was asked who that is.
enum Said {
    Login(String),
    Email(String),
}

fn parse(new: &NewInvitation) -> AppResult<Said> {
    let given = |text: &Option<String>| text.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    match (given(&new.github_login), given(&new.email)) {
        (Some(login), None) => {
            let login = login.strip_prefix('@').unwrap_or(&login).to_owned();
            if github::is_login(&login) {
                Ok(Said::Login(login))
            } else {
                Err(AppError::field("github_login", "A GitHub login: letters, digits, hyphens and underscores, at most 39."))
            }
        }
        (None, Some(email)) if is_email(&email) => Ok(Said::Email(email.to_ascii_lowercase())),
        (None, Some(_)) => Err(AppError::field("email", "An e-mail address, such as name@example.com.")),
        (None, None) => Err(AppError::field("github_login", "Say whom: a GitHub login or an e-mail address.")),
        (Some(_), Some(_)) => Err(AppError::field("email", "Either a GitHub login or an e-mail address, not both.")),
    }
}

/// Not what the standard allows, but what people have.
fn is_email(text: &str) -> bool {
    let Some((name, domain)) = text.rsplit_once('@') else { return false };
    text.len() <= MOST_EMAIL
        && text.bytes().all(|b| b.is_ascii_graphic())
        && !name.is_empty()
        && !name.contains('@')
        && domain.contains('.')
        && !domain.starts_with('.')
        && !domain.ends_with('.')
}

pub async fn invite(control: &ControlPlane, caller: &Caller, team: TeamId, new: NewInvitation) -> AppResult<InvitationMade> {
    let invitee = match parse(&new)? {
        Said::Email(email) => Invitee::Email(email),
        // Pinned to the number now: whoever has the login later is somebody else.
        Said::Login(login) => {
            let token = account::github_token(control, caller.user).await?;
            match control.github.user_by_login(token.as_ref(), &login).await {
                Ok(account) => Invitee::GitHub { id: account.id, login: account.login },
                Err(GitHubError::NotFound) => return Err(AppError::field("github_login", "GitHub has no account of this login.")),
                Err(error) => return Err(error.into()),
            }
        }
    };
    let field = match invitee {
        Invitee::GitHub { .. } => "github_login",
        Invitee::Email(_) => "email",
    };
    let taken = |message: String| AppError { code: ErrorCode::Taken, ..AppError::field(field, message) };
    let (code, hash) = new_code();
    let mut tx = control.db.begin().await.map_err(fault)?;
    members::hold_as_owner(&mut tx, caller, team).await?;
    if store::is_personal(&mut tx, team).await.map_err(fault)? {
        return Err(AppError::new(ErrorCode::WrongState, "A personal team is one person's. Make a team to share pods."));
    }
    if store::invitations::is_member(&mut tx, team, &invitee).await.map_err(fault)? {
        return Err(taken(format!("{} is in the team already.", invitee.text())));
    }
    if store::invitations::count_open(&mut tx, team).await.map_err(fault)? >= MOST_OPEN {
        return Err(AppError::new(ErrorCode::QuotaExceeded, format!("{MOST_OPEN} invitations are open. Revoke one first.")));
    }
    let id = InvitationId(Uuid::now_v7());
    let expires_at = OffsetDateTime::now_utc() + VALID;
    if !store::invitations::insert(&mut tx, id, team, &invitee, new.role, caller.user, &hash, expires_at).await.map_err(fault)? {
        return Err(taken(format!("{} is invited already. Send that invitation again for a new link.", invitee.text())));
    }
    let detail = format!("as {}", new.role.label());
    activity::record_by(&mut tx, caller, Home::Team(team), Action::InvitationMake, id.0, invitee.text(), &detail).await?;
    let listed = store::invitations::get(&mut tx, team, id).await.map_err(fault)?.ok_or_else(AppError::internal)?;
    tx.commit().await.map_err(fault)?;
    Ok(made(control, code, listed))
}

fn made(control: &ControlPlane, code: String, listed: pinacle_app::teams::Invitation) -> InvitationMade {
    InvitationMade { url: link(control, &code), code, listed }
}

fn link(control: &ControlPlane, code: &str) -> String {
    format!("{}/invitations/{code}", control.config.url.as_str().trim_end_matches('/'))
}

/// Another code, and its whole time again; the code before says that it is old.
pub async fn resend(control: &ControlPlane, caller: &Caller, team: TeamId, id: InvitationId) -> AppResult<InvitationMade> {
    let (code, hash) = new_code();
    let mut tx = control.db.begin().await.map_err(fault)?;
    members::hold_as_owner(&mut tx, caller, team).await?;
    let listed = store::invitations::get(&mut tx, team, id).await.map_err(fault)?.ok_or_else(AppError::not_found)?;
    if store::invitations::count_codes(&mut tx, id).await.map_err(fault)? >= MOST_CODES {
        return Err(AppError::new(ErrorCode::WrongState, "It was sent often enough. Revoke it and invite again."));
    }
    store::invitations::renew(&mut tx, id, &hash, OffsetDateTime::now_utc() + VALID).await.map_err(fault)?;
    activity::record_by(&mut tx, caller, Home::Team(team), Action::InvitationResend, id.0, listed.invited(), "").await?;
    let listed = store::invitations::get(&mut tx, team, id).await.map_err(fault)?.ok_or_else(AppError::internal)?;
    tx.commit().await.map_err(fault)?;
    Ok(made(control, code, listed))
}

pub async fn revoke(control: &ControlPlane, caller: &Caller, team: TeamId, id: InvitationId) -> AppResult<()> {
    let mut tx = control.db.begin().await.map_err(fault)?;
    members::hold_as_owner(&mut tx, caller, team).await?;
    let listed = store::invitations::get(&mut tx, team, id).await.map_err(fault)?.ok_or_else(AppError::not_found)?;
    store::invitations::revoke(&mut tx, id).await.map_err(fault)?;
    activity::record_by(&mut tx, caller, Home::Team(team), Action::InvitationRevoke, id.0, listed.invited(), "").await?;
    tx.commit().await.map_err(fault)
}

/// Why a code opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    Unknown,
    Foreign,
    Accepted,
    Revoked,
    Replaced,
    Expired,
    TeamGone,
}

impl From<Closed> for AppError {
    fn from(closed: Closed) -> Self {
        let over = |message| AppError::new(ErrorCode::WrongState, message);
        match closed {
            Closed::Unknown => AppError::new(ErrorCode::NotFound, "There is no such invitation. Ask for the link again: it may have been cut short."),
            Closed::Foreign => AppError::forbidden("This invitation is for another account. Sign in with the one that was invited."),
            Closed::Accepted => over("This invitation has been used. Ask an owner of the team for another one."),
            Closed::Revoked => over("This invitation was revoked. Ask an owner of the team for another one."),
            Closed::Replaced => over("This link is an old one: the invitation was sent again. Use the newer link."),
            Closed::Expired => over("This invitation has expired. Ask an owner of the team to send it again."),
            Closed::TeamGone => over("The team of this invitation was deleted."),
        }
    }
}

/// Who comes with a code.
pub struct Holder<'a> {
    pub github_id: i64,
    /// Verified at GitHub, in lower case.
    pub emails: &'a [String],
}

/// What stands in a code's way. Whether it is this account's comes first: to others it tells nothing more.
fn closed(found: &Found, holder: &Holder<'_>) -> Option<Closed> {
    let is_theirs = match &found.invitee {
        Invitee::GitHub { id, .. } => *id == holder.github_id,
        Invitee::Email(email) => holder.emails.contains(email),
    };
    if is_theirs { over(found) } else { Some(Closed::Foreign) }
}

/// What became of it, whoever asks.
fn over(found: &Found) -> Option<Closed> {
    if found.team_gone {
        Some(Closed::TeamGone)
    } else if found.accepted_by.is_some() {
        Some(Closed::Accepted)
    } else if found.is_revoked {
        Some(Closed::Revoked)
    } else if !found.is_newest_code {
        Some(Closed::Replaced)
    } else if found.state == InvitationState::Expired {
        Some(Closed::Expired)
    } else {
        None
    }
}

async fn look_up(db: &mut PgConnection, code: &str) -> Result<Result<Found, Closed>, sqlx::Error> {
    let found = if code.len() > MOST_CODE { None } else { store::invitations::by_code(db, &hash(code)).await? };
    Ok(found.ok_or(Closed::Unknown))
}

async fn find(db: &mut PgConnection, code: &str) -> AppResult<Found> {
    Ok(look_up(db, code).await.map_err(fault)??)
}

/// Whether this account may sign in for the first time because it holds this code.
pub async fn admits(db: &mut PgConnection, code: &str, holder: &Holder<'_>) -> Result<Result<(), Closed>, sqlx::Error> {
    Ok(look_up(db, code).await?.and_then(|found| closed(&found, holder).map_or(Ok(()), Err)))
}

/// What accepting would do; refused as accepting would be, but for an owner of the team, who may pass the link on.
pub async fn show(control: &ControlPlane, caller: &Caller, code: &str) -> AppResult<InvitationShown> {
    let mut db = control.db.acquire().await.map_err(fault)?;
    let found = find(&mut db, code).await?;
    let (github_id, emails) = identity(&mut db, caller.user).await?;
    let pass_on = match closed(&found, &Holder { github_id, emails: &emails }) {
        None => None,
        Some(Closed::Foreign) if store::role(&mut *db, found.team, caller.user).await.map_err(fault)? == Some(TeamRole::Owner) => {
            if let Some(why) = over(&found) {
                return Err(why.into());
            }
            let team_page = format!("/teams/{}", found.team_slug);
            Some(PassOn { invited: found.invitee.text().to_owned(), url: link(control, code), team_page })
        }
        Some(why) => return Err(why.into()),
    };
    Ok(InvitationShown { team: found.team_name, role: found.role, invited_by: found.invited_by, expires_at: found.expires_at, pass_on })
}

async fn identity(db: &mut PgConnection, user: UserId) -> AppResult<(i64, Vec<String>)> {
    account::store::identity(db, user).await.map_err(fault)?.ok_or_else(AppError::unauthenticated)
}

pub async fn accept(control: &ControlPlane, caller: &Caller, code: &str) -> AppResult<Team> {
    let mut tx = control.db.begin().await.map_err(fault)?;
    let team = find(&mut tx, code).await?.team;
    store::lock(&mut tx, team).await.map_err(fault)?;
    // As it is now that nobody else accepts, sends or revokes it.
    let found = find(&mut tx, code).await?;
    let (github_id, emails) = identity(&mut tx, caller.user).await?;
    let is_in = store::role(&mut *tx, team, caller.user).await.map_err(fault)?.is_some();
    match closed(&found, &Holder { github_id, emails: &emails }) {
        // A second click on the same button.
        Some(Closed::Accepted) if is_in && found.accepted_by == Some(caller.user) => {}
        Some(why) => return Err(why.into()),
        None if is_in => return Err(AppError::new(ErrorCode::WrongState, format!("You are in {} already.", found.team_name))),
        None => {
            if store::count_members(&mut tx, team).await.map_err(fault)? >= MOST_MEMBERS {
                return Err(AppError::new(
                    ErrorCode::QuotaExceeded,
                    format!("{} has {MOST_MEMBERS} members, the most that a team may have.", found.team_name),
                ));
            }
            store::invitations::accepted(&mut tx, found.id, caller.user).await.map_err(fault)?;
            store::add_member(&mut tx, team, caller.user, found.role).await.map_err(fault)?;
            crate::pods::store::lock_owner(&mut tx, caller.user).await.map_err(fault)?;
            members::bring_back(&mut tx, team, caller.user).await?;
            let detail = format!("as {}, invited by {}", found.role.label(), found.invited_by);
            activity::record_by(&mut tx, caller, Home::Team(team), Action::MemberJoin, caller.user.0, "", &detail).await?;
            account::public_keys::ask_soon(control, &mut tx, caller.user).await.map_err(fault)?;
            news::notify(&mut tx, Change::Joined { team, user: caller.user }).await.map_err(fault)?;
        }
    }
    let joined = store::team(&mut *tx, team, caller.user).await.map_err(fault)?.ok_or_else(AppError::internal)?;
    tx.commit().await.map_err(fault)?;
    Ok(joined)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pinacle_app::teams::TeamRole;

    fn found() -> Found {
        Found {
            id: InvitationId(Uuid::nil()),
            team: TeamId(Uuid::nil()),
            team_name: "acme".into(),
            team_slug: "acme".into(),
            team_gone: false,
            invitee: Invitee::GitHub { id: 7, login: "milo".into() },
            role: TeamRole::Member,
            invited_by: "owner".into(),
            state: InvitationState::Open,
            expires_at: OffsetDateTime::UNIX_EPOCH,
            accepted_by: None,
            is_revoked: false,
            is_newest_code: true,
        }
    }

    #[test]
    fn whose_a_code_is_comes_before_what_became_of_it() {
        let theirs = Holder { github_id: 7, emails: &["milo@example.test".to_owned()] };
        let other = Holder { github_id: 8, emails: &["otto@example.test".to_owned()] };
        assert_eq!(closed(&found(), &theirs), None);
        let by_mail = Found { invitee: Invitee::Email("milo@example.test".into()), ..found() };
        assert_eq!((closed(&by_mail, &theirs), closed(&by_mail, &other)), (None, Some(Closed::Foreign)));
        for (over, why) in [
            (Found { accepted_by: Some(UserId(Uuid::nil())), ..found() }, Closed::Accepted),
            (Found { is_revoked: true, ..found() }, Closed::Revoked),
            (Found { is_newest_code: false, ..found() }, Closed::Replaced),
            (Found { state: InvitationState::Expired, ..found() }, Closed::Expired),
            (Found { team_gone: true, ..found() }, Closed::TeamGone),
        ] {
            assert_eq!((closed(&over, &theirs), closed(&over, &other)), (Some(why), Some(Closed::Foreign)));
        }
    }

    #[test]
    fn one_of_login_and_address_is_said() {
        let new = |login: Option<&str>, email: Option<&str>| NewInvitation {
            github_login: login.map(str::to_owned),
            email: email.map(str::to_owned),
            role: TeamRole::Member,
        };
        assert!(matches!(parse(&new(Some("@milo"), None)), Ok(Said::Login(login)) if login == "milo"));
        assert!(matches!(parse(&new(Some("milo_acme"), None)), Ok(Said::Login(login)) if login == "milo_acme"));
        assert!(matches!(parse(&new(Some(" "), Some("A@Example.test"))), Ok(Said::Email(email)) if email == "a@example.test"));
        for (login, email, field) in [
            (None, None, "github_login"),
            (Some("a/../b"), None, "github_login"),
            (Some("a"), Some("a@example.test"), "email"),
            (None, Some("nobody"), "email"),
            (None, Some("a b@example.test"), "email"),
            (None, Some("a@b@example.test"), "email"),
            (None, Some("a@example"), "email"),
        ] {
            assert!(parse(&new(login, email)).err().unwrap().of(field).is_some(), "{login:?} {email:?}");
        }
    }
}
