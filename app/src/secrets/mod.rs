//! Secrets: values that pods get as environment variables. They go in, and never come out.

mod add;
pub mod api;
mod change;
pub mod env_file;
mod import;
mod name;
mod of_pod;
mod outdated;
mod page;
mod rows;
mod storeys;
mod value;

pub use name::{SecretName, SecretNameError};
pub use of_pod::SecretsOfPod;
pub use page::SecretsPage;
pub use value::{SecretValue, SecretValueError};

use crate::ids::{PodId, SecretId, TeamId};
use crate::teams::Team;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

/// What is known of a secret but its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Secret {
    pub id: SecretId,
    pub team_id: TeamId,
    pub name: String,
    /// The one repository whose pods get it, `owner/name` or an https address; every pod of the team without.
    pub project_ref: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub changed_at: OffsetDateTime,
    /// Login of who changed it last.
    pub changed_by: Option<String>,
    /// The pod that was given it last, and when.
    pub last_used: Option<LastUse>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LastUse {
    pub pod_id: PodId,
    pub pod: String,
    /// False: the pod was deleted since.
    pub is_there: bool,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

/// Body of POST /secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSecret {
    /// `[A-Z_][A-Z0-9_]*`, at most 128; names that would change what every process runs are refused.
    pub name: String,
    /// UTF-8 without NUL, at most 64 KiB.
    #[schema(value_type = String)]
    pub value: SecretValue,
    /// The personal team if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team_id: Option<TeamId>,
    /// For the pods of one repository, over those of the whole team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_ref: Option<String>,
}

/// Body of PATCH /secrets/{id}: what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretPatch {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub value: Option<SecretValue>,
}

/// Whether a pod gets a secret, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// There is no other of its name.
    Only,
    /// The repository's, which wins over the team's.
    Wins,
    /// The team's, of whose name the repository has one.
    Beaten,
}

/// A secret as a pod of one repository meets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reaching {
    #[serde(flatten)]
    pub secret: Secret,
    pub reach: Reach,
}

/// A team's secrets as a pod of one repository meets them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretsView {
    pub team: Team,
    /// All of the team's.
    pub total: u32,
    /// Repositories that the team has pods or secrets of.
    pub projects: Vec<String>,
    /// The one that is shown; a pod without one if None.
    pub project: Option<String>,
    /// By name, the one that wins first.
    pub secrets: Vec<Reaching>,
    /// How many belong to other repositories.
    pub elsewhere: Vec<(String, u32)>,
    /// Running pods of the whole team whose values are not the latest; the first of them by name.
    pub outdated: Vec<OutdatedPod>,
    /// How many such pods there are.
    pub outdated_total: u32,
}

/// A pod that runs with what was before a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OutdatedPod {
    pub id: PodId,
    pub name: String,
    /// Names of the secrets that have changed since it was booted.
    pub secrets: Vec<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub changed_at: OffsetDateTime,
}

/// What became of pods that were to be restarted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Restarted {
    pub restarted: Vec<OutdatedPod>,
    /// They stay marked.
    pub refused: Vec<RefusedPod>,
}

/// A pod that was not restarted, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RefusedPod {
    pub id: PodId,
    pub name: String,
    pub why: String,
}

/// The secrets of one pod, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PodSecrets {
    /// What it gets at its next start.
    pub secrets: Vec<PodSecret>,
    /// Names of those that have changed since it was booted; none while it does not run.
    pub outdated: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PodSecret {
    pub name: String,
    /// Whether it is the repository's own.
    pub of_repository: bool,
}

/// Names and values for one team or one repository of its; at most as many as one scope may have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    pub team_id: TeamId,
    pub project_ref: Option<String>,
    pub entries: Vec<ImportEntry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportEntry {
    pub name: String,
    pub value: SecretValue,
}

/// What would become of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// And whether it wins over the team's.
    Created {
        wins: bool,
    },
    /// And how many running pods have the older value.
    Changed {
        pods: u32,
    },
    /// The value is what it was.
    Same,
    Refused {
        why: String,
    },
}

/// What became of an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    pub created: u32,
    pub changed: u32,
}
