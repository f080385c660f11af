//! Signing in: who may come in, and what becomes of an account that does.
//!
//! Accounts are known by GitHub's number. A renamed one stays itself and keeps its handle; whoever takes the name
//! that it has left is somebody else, gets another handle and inherits nothing.

use super::{
    github_grant, public_keys,
    store::{self, Profile},
    token_row,
};
use crate::{
    activity::{self, By, Entry, Home},
    config::{Config, SignIn},
    control::ControlPlane,
    github::{Email, GitHubError, Grant, User},
    teams::{
        self,
        invitations::{self, Closed, Holder},
    },
};
use pinacle_app::{
    ids::{TeamId, UserId},
    teams::{TeamRole, activity::Action},
};
use secrecy::{ExposeSecret, SecretString};
use sqlx::PgConnection;
use std::net::IpAddr;
use uuid::Uuid;

const MOST_NAME: usize = 100;
const MOST_HANDLE: usize = 39;
/// Addresses of one account that an invitation may be for.
const MOST_EMAILS: usize = 50;
/// Accounts whose names make the same handle; the next one is asked to try again.
const MOST_ALIKE: u32 = 1000;

/// Why somebody was not let in.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("the account is not invited")]
    NotInvited,
    #[error("the invitation does not let the account in: {0:?}")]
    Invitation(Closed),
    #[error("the account has no verified e-mail address")]
    NoVerifiedEmail,
    #[error(transparent)]
    GitHub(#[from] GitHubError),
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    #[error("no handle was free for {0}")]
    NoHandle(String),
}

/// Lets in who has allowed this, and keeps the token sealed. Where people are invited, a newcomer comes in by the code of an
/// invitation of its own; it is accepted later, by itself.
pub async fn sign_in(control: &ControlPlane, grant: &Grant, address: IpAddr, code: Option<&str>) -> Result<UserId, Refusal> {
    let token = &grant.token;
    let user = control.github.user(token).await?;
    let emails = verified(control.github.emails(token).await?);
    let email = emails.first().ok_or(Refusal::NoVerifiedEmail)?.clone();
    let emails: Vec<String> = emails.iter().map(|email| email.to_lowercase()).collect();
    let is_member = match &control.config.sign_in {
        SignIn::Orgs(organisations) => is_member_of_one(control, token, organisations).await?,
        SignIn::Invited | SignIn::Anyone => false,
    };
    let wider = keeps_wider(control, user.id).await?;
    let mut transaction = control.db.begin().await?;
    store::lock_account(&mut transaction, user.id).await?;
    let known = store::user_of_github(&mut transaction, user.id).await?;
    let is_operator_login = is_operator_login(&control.config, &user.login);
    let may_operate = is_operator_login && !store::operator_login_is_anothers(&mut transaction, &user.login, user.id).await?;
    let comes_in = match control.config.sign_in {
        SignIn::Anyone => true,
        SignIn::Invited if known.is_some() || may_operate => true,
        SignIn::Invited => match code {
            None => false,
            Some(code) => {
                let holder = Holder { github_id: user.id, emails: &emails };
                invitations::admits(&mut transaction, code, &holder).await?.map_err(Refusal::Invitation)?;
                true
            }
        },
        SignIn::Orgs(_) => is_member || may_operate,
    };
    if !comes_in {
        return Err(Refusal::NotInvited);
    }
    let name = shown_name(&user);
    let profile = Profile { github_id: user.id, login: &user.login, name: &name, email: &email, emails: &emails };
    let id = match known {
        Some(id) => id,
        None => create(&mut transaction, &profile).await?,
    };
    let sealed = control.sealer.seal(&token_row(id), token.expose_secret().as_bytes());
    let kept = known.is_some() && !grant.has_repositories() && wider.is_some_and(|wider| wider == id);
    store::update_user(&mut transaction, id, &profile, (!kept).then_some((&sealed, &grant.scopes))).await?;
    // Once: an operator whose right was taken back does not get it again by signing in.
    if may_operate && store::claim_operator_login(&mut transaction, &user.login, id).await? {
        store::set_operator(&mut transaction, id, true).await?;
    }
    let by = By::signing_in(id, address);
    activity::record(&mut transaction, &Entry { home: Home::Personal(id), by, action: Action::SessionBegin, object: None, name: "", detail: "" })
        .await?;
    public_keys::ask_soon(control, &mut transaction, id).await?;
    transaction.commit().await?;
    Ok(id)
}

/// The user whose earlier consent goes further than a sign-in does, and that GitHub still accepts: signing in takes nothing back.
async fn keeps_wider(control: &ControlPlane, github_id: i64) -> Result<Option<UserId>, Refusal> {
    let mut connection = control.db.acquire().await?;
    let Some(known) = store::user_of_github(&mut connection, github_id).await? else { return Ok(None) };
    drop(connection);
    // One that does not open is replaced.
    let Some(earlier) = github_grant(control, known).await.ok().flatten().filter(Grant::has_repositories) else { return Ok(None) };
    match control.github.user(&earlier.token).await {
        Ok(user) if user.id == github_id => Ok(Some(known)),
        Ok(_) | Err(GitHubError::Unauthorized) => Ok(None),
        // Not heard that it is bad: it is kept.
        Err(_) => Ok(Some(known)),
    }
}

async fn create(db: &mut PgConnection, profile: &Profile<'_>) -> Result<UserId, Refusal> {
    let id = UserId(Uuid::now_v7());
    for number in 1..=MOST_ALIKE {
        if store::insert_user(db, id, profile, &handle(profile.login, number)).await? {
            let team = TeamId(Uuid::now_v7());
            if !teams::names::claim(db, team, &handle(profile.login, number), "Personal", Some(id)).await? {
                return Err(Refusal::NoHandle(profile.login.to_owned()));
            }
            teams::store::add_member(db, team, id, TeamRole::Owner).await?;
            return Ok(id);
        }
    }
    Err(Refusal::NoHandle(profile.login.to_owned()))
}

async fn is_member_of_one(control: &ControlPlane, token: &SecretString, organisations: &[String]) -> Result<bool, GitHubError> {
    for organisation in organisations {
        if control.github.is_member(token, organisation).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_operator_login(config: &Config, login: &str) -> bool {
    config.operators.iter().any(|operator| operator.trim().eq_ignore_ascii_case(login))
}

/// Those that are verified, the primary one first.
fn verified(emails: Vec<Email>) -> Vec<String> {
    let mut verified: Vec<Email> = emails.into_iter().filter(|email| email.verified).collect();
    verified.sort_by_key(|email| !email.primary);
    verified.into_iter().take(MOST_EMAILS).map(|email| email.email).collect()
}

/// The name without what would change how a line reads; the login where there is none.
fn shown_name(user: &User) -> String {
    let name = user.name.as_deref().unwrap_or_default();
    let name: String = name.chars().filter(|c| !c.is_control() && !is_direction_mark(*c)).take(MOST_NAME).collect();
    let name = name.trim();
    if name.is_empty() { user.login.clone() } else { name.to_owned() }
}

/// Marks that turn the order of letters (Unicode's bidirectional controls).
fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The handle for a login: lower-case letters, digits and inner hyphens; a number at its end when others came before.
fn handle(login: &str, number: u32) -> String {
    let clean: String = login.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let clean = clean.trim_matches('-');
    let clean = if clean.is_empty() { "user" } else { clean };
    let end = if number == 1 { String::new() } else { format!("-{number}") };
    let stem: String = clean.chars().take(MOST_HANDLE - end.len()).collect();
    format!("{}{end}", stem.trim_end_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_made_of_the_login() {
        assert_eq!(handle("Two-Part-Name", 1), "two-part-name");
        assert_eq!(handle("octo_corp", 2), "octo-corp-2");
        assert_eq!(handle(&"a".repeat(39), 12), format!("{}-12", "a".repeat(36)));
        assert_eq!(handle("_", 1), "user");
        assert_eq!(handle(&format!("{}-b", "a".repeat(36)), 3), format!("{}-3", "a".repeat(36)));
    }

    #[test]
    fn only_a_verified_address_counts_and_the_primary_one_first() {
        let email = |email: &str, primary, verified| Email { email: email.to_owned(), primary, verified };
        assert!(verified(vec![email("a@x", true, false)]).is_empty());
        assert_eq!(verified(vec![email("a@x", false, true), email("b@x", true, true)]), ["b@x", "a@x"]);
        assert_eq!(verified(vec![email("a@x", true, false), email("b@x", false, true)]), ["b@x"]);
    }

    #[test]
    fn a_name_can_not_turn_the_order_of_letters() {
        let user = |name: Option<&str>| User { id: 1, login: "owner".to_owned(), name: name.map(str::to_owned) };
        assert_eq!(shown_name(&user(Some(" Olive\u{202e}\nOwner "))), "OliveOwner");
        assert_eq!(shown_name(&user(Some("\u{202e}"))), "owner");
        assert_eq!(shown_name(&user(None)), "owner");
    }
}
