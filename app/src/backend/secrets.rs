//! Secrets: owners of a team manage them, its members see their names. A value goes in; no answer has one.

use super::Caller;
use crate::error::AppResult;
use crate::ids::{PodId, SecretId, TeamId};
use crate::pods::Page;
use crate::secrets::{Import, Imported, NewSecret, PodSecrets, Restarted, Secret, SecretPatch, SecretsView, Verdict};
use async_trait::async_trait;

#[async_trait]
pub trait Secrets: Send + Sync {
    /// By name; of one team, or of all that the caller is in.
    async fn secrets(&self, caller: &Caller, team: Option<TeamId>, cursor: Option<String>, limit: Option<u32>) -> AppResult<Page<Secret>>;
    async fn secret(&self, caller: &Caller, id: SecretId) -> AppResult<Secret>;
    async fn create_secret(&self, caller: &Caller, new: NewSecret) -> AppResult<Secret>;
    /// Pods that run keep what they have, and are marked until they are restarted.
    async fn change_secret(&self, caller: &Caller, id: SecretId, patch: SecretPatch) -> AppResult<Secret>;
    async fn delete_secret(&self, caller: &Caller, id: SecretId) -> AppResult<()>;
    /// Which secrets a pod of this repository gets, and why. The team by its slug, without one the personal; without a repository the one of the
    /// team's newest pod; an empty one is a pod without.
    async fn secrets_view(&self, caller: &Caller, team: Option<String>, project: Option<String>) -> AppResult<SecretsView>;
    async fn pod_secrets(&self, caller: &Caller, pod: PodId) -> AppResult<PodSecrets>;
    /// What an import would do, entry by entry; nothing is written.
    async fn check_import(&self, caller: &Caller, import: Import) -> AppResult<Vec<Verdict>>;
    /// All of it or nothing.
    async fn import_secrets(&self, caller: &Caller, import: Import) -> AppResult<Imported>;
    /// Restarts all running pods of the team whose values are not the latest. One that can't be restarted holds up none of the others;
    /// where none can, the error says why.
    async fn restart_outdated(&self, caller: &Caller, team: TeamId) -> AppResult<Restarted>;
}
