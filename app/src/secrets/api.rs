//! What the browser may ask of secrets. Values go up in the body of a request, and no answer has one.

#[cfg(feature = "ssr")]
use super::{Import, NewSecret, SecretPatch};
use super::{ImportEntry, Imported, PodSecrets, Restarted, Secret, SecretValue, SecretsView, Verdict};
use crate::error::AppError;
use crate::ids::{PodId, SecretId, TeamId};
use leptos::prelude::*;
use leptos::server_fn::codec::Json;

#[server(prefix = "/fn", endpoint = "secrets/view", input = Json)]
pub async fn view_secrets(team: Option<String>, project: Option<String>) -> Result<SecretsView, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.secrets_view(&caller, team, project).await
}

/// `whose` says whether it is for one repository, as the form has both.
#[server(prefix = "/fn", endpoint = "secrets/create")]
pub async fn create_secret(
    team: TeamId,
    name: String,
    value: SecretValue,
    whose: Option<String>,
    project: Option<String>,
) -> Result<Secret, AppError> {
    let (backend, caller) = crate::server::door()?;
    let project_ref = project.filter(|_| whose.as_deref() == Some("repository"));
    backend.create_secret(&caller, NewSecret { name, value: value.typed(), team_id: Some(team), project_ref }).await
}

#[server(prefix = "/fn", endpoint = "secrets/replace")]
pub async fn replace_secret(id: SecretId, value: SecretValue) -> Result<Secret, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.change_secret(&caller, id, SecretPatch { value: Some(value.typed()), ..SecretPatch::default() }).await
}

#[server(prefix = "/fn", endpoint = "secrets/rename")]
pub async fn rename_secret(id: SecretId, name: String) -> Result<Secret, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.change_secret(&caller, id, SecretPatch { name: Some(name), ..SecretPatch::default() }).await
}

#[server(prefix = "/fn", endpoint = "secrets/delete")]
pub async fn delete_secret(id: SecretId) -> Result<(), AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.delete_secret(&caller, id).await
}

#[server(prefix = "/fn", endpoint = "secrets/of-pod")]
pub async fn secrets_of_pod(pod: PodId) -> Result<PodSecrets, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.pod_secrets(&caller, pod).await
}

#[server(prefix = "/fn", endpoint = "secrets/check-import", input = Json)]
pub async fn check_import(team: TeamId, project: Option<String>, entries: Vec<ImportEntry>) -> Result<Vec<Verdict>, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.check_import(&caller, Import { team_id: team, project_ref: project, entries }).await
}

#[server(prefix = "/fn", endpoint = "secrets/import", input = Json)]
pub async fn import_secrets(team: TeamId, project: Option<String>, entries: Vec<ImportEntry>) -> Result<Imported, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.import_secrets(&caller, Import { team_id: team, project_ref: project, entries }).await
}

#[server(prefix = "/fn", endpoint = "secrets/restart-pods")]
pub async fn restart_outdated(team: TeamId) -> Result<Restarted, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.restart_outdated(&caller, team).await
}
