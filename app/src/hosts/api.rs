//! What an operator's browser may ask of hosts.

use super::{Host, HostPod, HostVerb, JoinInvitation, Orphan, Transport};
use crate::error::AppError;
use crate::ids::{HostId, PodId};
use leptos::prelude::*;

#[server(prefix = "/fn", endpoint = "hosts/list")]
pub async fn list_hosts() -> Result<Vec<Host>, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.hosts(&caller).await
}

#[server(prefix = "/fn", endpoint = "hosts/get")]
pub async fn get_host(id: HostId) -> Result<Host, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.host(&caller, id).await
}

#[server(prefix = "/fn", endpoint = "hosts/pods")]
pub async fn list_host_pods(id: HostId) -> Result<Vec<HostPod>, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.host_pods(&caller, id).await
}

#[server(prefix = "/fn", endpoint = "hosts/orphans")]
pub async fn list_orphans() -> Result<Vec<Orphan>, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.orphans(&caller, None).await
}

#[server(prefix = "/fn", endpoint = "hosts/remove-orphan")]
pub async fn remove_orphan(id: HostId, pod: PodId) -> Result<(), AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.remove_orphan(&caller, id, pod).await
}

#[server(prefix = "/fn", endpoint = "hosts/set-aside")]
pub async fn set_aside(id: HostId) -> Result<(), AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.set_aside(&caller, id).await
}

#[server(prefix = "/fn", endpoint = "hosts/adopt")]
pub async fn adopt_orphan(id: HostId, pod: PodId, owner: String, name: String, tier: String) -> Result<HostPod, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.adopt_orphan(&caller, id, pod, super::Adoption { owner, name, tier }).await
}

#[server(prefix = "/fn", endpoint = "hosts/add")]
pub async fn add_host(name: String, transport: Transport, address: String, port: Option<String>) -> Result<JoinInvitation, AppError> {
    let (backend, caller) = crate::server::door()?;
    let port = match port.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
        Some(text) => Some(text.parse().map_err(|_| AppError::field("port", "A number from 1 to 65535."))?),
        None => None,
    };
    backend.add_host(&caller, super::NewHost { name, transport, address, port }).await
}

#[server(prefix = "/fn", endpoint = "hosts/change")]
pub async fn change_host(id: HostId, verb: HostVerb) -> Result<Host, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.change_host(&caller, id, verb).await
}

#[server(prefix = "/fn", endpoint = "hosts/rejoin")]
pub async fn rejoin_host(id: HostId) -> Result<JoinInvitation, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.rejoin_host(&caller, id).await
}

#[server(prefix = "/fn", endpoint = "hosts/retire-key")]
pub async fn retire_host_key(id: HostId, fingerprint: String) -> Result<Host, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.retire_host_key(&caller, id, &fingerprint).await
}

#[server(prefix = "/fn", endpoint = "hosts/trust-key")]
pub async fn trust_host_key(id: HostId, fingerprint: String) -> Result<Host, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.trust_host_key(&caller, id, &fingerprint).await
}
