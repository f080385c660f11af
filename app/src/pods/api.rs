//! What the browser may ask of pods. What is live comes over the streams instead.

use super::timeline::UsualTime;
use super::{MonthUse, Page, Pod, PodEvent, PodLive, PodQuery, PodStart, Terminal, Wish};
use crate::error::AppError;
use crate::ids::{PodId, TeamId};
use leptos::prelude::*;

#[server(prefix = "/fn", endpoint = "pods/list")]
pub async fn list_pods(#[server(default)] query: PodQuery) -> Result<Page<Pod>, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.pods(&caller, query).await
}

#[server(prefix = "/fn", endpoint = "pods/view")]
pub async fn view_pod(id: PodId) -> Result<PodStart, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.pod_start(&caller, id).await
}

/// This, `pods/events` and `pods/usual-times` are what pages of an earlier release ask that are still open.
#[server(prefix = "/fn", endpoint = "pods/get")]
pub async fn get_pod(id: PodId) -> Result<Pod, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.pod(&caller, id).await
}

/// What creating it would be refused for, by field; as one types.
#[server(prefix = "/fn", endpoint = "pods/check")]
pub async fn check_pod(name: String, tier: String, repository: Option<String>, branch: Option<String>) -> Result<Option<AppError>, AppError> {
    let (backend, caller) = crate::server::door()?;
    let given = |text: Option<String>| text.map(|t| t.trim().to_owned()).filter(|t| !t.is_empty());
    let new = super::NewPod { name, tier, team_id: None, repository: given(repository), branch: given(branch) };
    // What a person is still typing is no failed request.
    Ok(backend.check_pod(&caller, &new).await.err())
}

#[server(prefix = "/fn", endpoint = "pods/suggest-name")]
pub async fn suggest_pod_name(repository: Option<String>) -> Result<String, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.suggest_name(&caller, repository.as_deref().filter(|text| !text.is_empty())).await
}

/// Goes to the new pod's page. `address` is what the form without JavaScript has beside the list of repositories;
/// `key` makes a form that is sent twice one pod.
#[server(prefix = "/fn", endpoint = "pods/create")]
pub async fn create_pod(
    name: String,
    tier: String,
    repository: Option<String>,
    address: Option<String>,
    branch: Option<String>,
    team_id: Option<TeamId>,
    key: Option<String>,
) -> Result<Pod, AppError> {
    let (backend, caller) = crate::server::door()?;
    let wants_page = crate::server::wants_page();
    let given = |text: Option<String>| text.map(|t| t.trim().to_owned()).filter(|t| !t.is_empty());
    let repository = given(address).or(given(repository));
    let new = super::NewPod { name, tier, team_id, repository, branch: given(branch) };
    match backend.create_pod(&caller, new.clone(), given(key)).await {
        Ok(pod) => {
            leptos_axum::redirect(&pod.address());
            Ok(pod)
        }
        Err(error) => {
            if wants_page {
                leptos_axum::redirect(&new.form_address());
            }
            Err(error)
        }
    }
}

#[server(prefix = "/fn", endpoint = "pods/update")]
pub async fn update_pod(id: PodId, name: Option<String>, tier: Option<String>) -> Result<Pod, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.update_pod(&caller, id, super::PodPatch { name, tier }).await
}

#[server(prefix = "/fn", endpoint = "pods/wish")]
pub async fn wish_pod(id: PodId, wish: Wish) -> Result<Pod, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.wish(&caller, id, wish).await
}

#[server(prefix = "/fn", endpoint = "pods/approve-setup")]
pub async fn approve_setup(id: PodId, plan_digest: String) -> Result<Pod, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.approve_setup(&caller, id, &plan_digest).await
}

#[server(prefix = "/fn", endpoint = "pods/retry-setup")]
pub async fn retry_setup(id: PodId) -> Result<Pod, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.retry_setup(&caller, id).await
}

#[server(prefix = "/fn", endpoint = "pods/events")]
pub async fn pod_events(id: PodId, after: i64, limit: u32) -> Result<Vec<PodEvent>, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.events(&caller, id, after, limit).await
}

#[server(prefix = "/fn", endpoint = "pods/usual-times")]
pub async fn pod_usual_times(id: PodId) -> Result<Vec<UsualTime>, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.usual_times(&caller, id).await
}

#[server(prefix = "/fn", endpoint = "pods/month-use")]
pub async fn pod_month_use(id: PodId) -> Result<MonthUse, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.month_use(&caller, id).await
}

#[server(prefix = "/fn", endpoint = "pods/live")]
pub async fn pod_live_now(id: PodId) -> Result<PodLive, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.live(&caller, id).await
}

#[server(prefix = "/fn", endpoint = "pods/restart-process")]
pub async fn restart_process(id: PodId, name: String) -> Result<(), AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.restart_process(&caller, id, &name).await
}

#[server(prefix = "/fn", endpoint = "pods/terminals")]
pub async fn list_terminals(id: PodId) -> Result<Vec<Terminal>, AppError> {
    let (backend, caller) = crate::server::door()?;
    match backend.terminals(&caller, id).await {
        // A machine that has just stopped has none.
        Err(error) if error.code == crate::ErrorCode::WrongState => Ok(Vec::new()),
        list => list,
    }
}

#[server(prefix = "/fn", endpoint = "pods/end-terminal")]
pub async fn end_terminal(id: PodId, name: String) -> Result<(), AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.end_terminal(&caller, id, &name).await
}
