//! Accounts: who is signed in, with what, and how much it may use.

pub mod api;
mod browsers;
mod github;
mod handle_form;
mod page;
mod public_keys;
mod quota;
mod sign_in;
pub mod theme;
mod theme_form;
mod tokens;

pub use github::consent_address;
pub use page::AccountPage;
pub use sign_in::SignInPage;
pub use theme_form::ThemeForm;

use crate::ids::{KeyId, SessionId, TeamId, TokenId, UserId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

/// What somebody has allowed at GitHub.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Allowed {
    /// Nothing, or nothing that GitHub still accepts.
    #[default]
    Nothing,
    /// To know who it is.
    SignIn,
    /// And its repositories, private ones included.
    Repositories,
}

/// The caller itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Me {
    pub id: UserId,
    /// At GitHub; follows a renaming.
    pub login: String,
    /// Stands in preview names; changed only by its user.
    pub handle: String,
    pub name: String,
    pub operator: bool,
    pub personal_team: TeamId,
    /// What the caller has allowed at GitHub.
    #[serde(default)]
    pub github: Allowed,
}

/// Body of PATCH /me.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MePatch {
    /// `[a-z0-9]([a-z0-9-]{0,37}[a-z0-9])?`; one that nobody else has or ever had. Previews move to it at once.
    pub handle: String,
}

/// What pods of one owner may take together, and what they take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Quota {
    pub pods: Allowance,
    /// Thousandths of a core, of pods that are not stopped.
    pub cpu_milli: Allowance,
    /// Bytes, of pods that are not stopped.
    pub memory_bytes: Allowance,
    /// Bytes, of all pods.
    pub disk_bytes: Allowance,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Allowance {
    pub used: u64,
    pub limit: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenScope {
    Read,
    Write,
}

/// An API token in a list; the token itself is shown once, when it is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApiToken {
    pub id: TokenId,
    pub name: String,
    pub scope: TokenScope,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_used_at: Option<OffsetDateTime>,
}

/// Body of POST /tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// 1–60 characters.
    pub name: String,
    pub scope: TokenScope,
    /// 1–365.
    pub expires_days: u32,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewTokenMade {
    /// The bearer token.
    pub token: String,
    #[serde(flatten)]
    pub listed: ApiToken,
}

impl std::fmt::Debug for NewTokenMade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewTokenMade").field("listed", &self.listed).finish_non_exhaustive()
    }
}

/// A public key of the caller's GitHub account: what the SSH gateway knows it by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PublicKey {
    pub id: KeyId,
    /// Such as `ssh-ed25519`.
    pub kind: String,
    /// Such as `SHA256:…`, as `ssh-keygen -l` prints it.
    pub fingerprint: String,
    #[serde(with = "time::serde::rfc3339")]
    pub first_seen_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_used_at: Option<OffsetDateTime>,
}

/// Where pods are reached over SSH.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Gateway {
    pub host: String,
    pub port: u16,
    /// Fingerprint of its host key.
    pub fingerprint: String,
}

/// A signed-in browser.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BrowserSession {
    pub id: SessionId,
    /// The one that asks.
    pub current: bool,
    /// As its User-Agent says, at most 200 characters.
    pub agent: String,
    pub address: String,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub seen_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
}
