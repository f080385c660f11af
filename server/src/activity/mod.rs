//! Activity: who did what to what, when and from where. Whoever changes something records it in the same transaction, so that one
//! is never there without the other.

mod store;

pub use store::page;

use crate::{
    db::fault,
    news::{self, Change},
};
use pinacle_app::{
    AppResult,
    backend::{Caller, Door},
    ids::{TeamId, TokenId, UserId},
    teams::activity::Action,
};
use sqlx::PgConnection;
use std::net::IpAddr;
use uuid::Uuid;

/// Who did it, and from where.
#[derive(Clone, Copy, Debug)]
pub struct By {
    /// None: the command line.
    user: Option<UserId>,
    door: &'static str,
    token: Option<TokenId>,
    address: Option<IpAddr>,
}

impl By {
    pub const COMMAND_LINE: Self = Self { user: None, door: "command line", token: None, address: None };

    /// Somebody who is just signing in: there is no session yet.
    pub fn signing_in(user: UserId, address: IpAddr) -> Self {
        Self { user: Some(user), door: "web", token: None, address: Some(address) }
    }
}

impl From<&Caller> for By {
    fn from(caller: &Caller) -> Self {
        let (door, token) = match caller.door {
            Door::Session(_) => ("web", None),
            Door::Token(token) => ("api", Some(token)),
            Door::Key(_) => ("ssh", None),
        };
        Self { user: Some(caller.user), door, token, address: Some(caller.address) }
    }
}

/// Whose page tells it.
#[derive(Clone, Copy, Debug)]
pub enum Home {
    Team(TeamId),
    /// What belongs to no team is told in the personal team of its user: tokens, browsers, hosts.
    Personal(UserId),
}

/// One thing that is done. No value of a secret, ever: names alone.
pub struct Entry<'a> {
    pub home: Home,
    pub by: By,
    pub action: Action,
    pub object: Option<Uuid>,
    /// The object's name as it is now, for it may be gone when somebody reads this.
    pub name: &'a str,
    /// What is said after the name.
    pub detail: &'a str,
}

/// Characters of `Entry::name` and `Entry::detail` that are kept; the table's own bounds.
const MOST_NAME: usize = 300;
const MOST_DETAIL: usize = 1000;

/// Adds what a caller did.
pub async fn record_by(
    connection: &mut PgConnection,
    caller: &Caller,
    home: Home,
    action: Action,
    object: impl Into<Option<Uuid>>,
    name: &str,
    detail: &str,
) -> AppResult<()> {
    record(connection, &Entry { home, by: caller.into(), action, object: object.into(), name, detail }).await.map_err(fault)
}

/// Adds the entry, and tells whoever watches the team.
pub async fn record(connection: &mut PgConnection, entry: &Entry<'_>) -> Result<(), sqlx::Error> {
    let cut = |text: &str, most: usize| text.chars().take(most).collect::<String>();
    let (name, detail) = (cut(entry.name, MOST_NAME), cut(entry.detail, MOST_DETAIL));
    let team = store::insert(connection, entry, &name, &detail).await?;
    news::notify(connection, Change::Team(team)).await
}
