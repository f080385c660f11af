//! Pod hosts, as operators see them.

mod add;
pub mod api;
mod capacity;
mod keys;
mod orphans;
mod page;
mod pods;
mod row;

pub use page::HostsPage;

use crate::ids::{HostId, PodId};
use crate::pods::{PodStatus, Tier};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HostState {
    /// Added; the machine has not reported yet. Next: active.
    Joining,
    /// Gets new pods. Next: cordoned, draining, lost.
    Active,
    /// Keeps its pods, gets no new ones. Next: active, draining, lost.
    Cordoned,
    /// Its pods are stopped and moved away. Next: active, cordoned, lost.
    Draining,
    /// Given up by an operator: its pods can be deleted. Next: none.
    Lost,
}

/// What an operator may ask of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HostVerb {
    Cordon,
    Drain,
    Activate,
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    Ssh,
    Https,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Host {
    pub id: HostId,
    pub name: String,
    pub transport: Transport,
    pub address: String,
    pub port: u16,
    /// Range that its pods' addresses come from, such as `10.88.3.0/24`.
    pub pod_cidr: String,
    pub state: HostState,
    /// Heard within the last 30 s.
    pub reachable: bool,
    /// Thousandths of a core.
    pub cpu: Capacity,
    /// Bytes.
    pub memory: Capacity,
    /// Bytes.
    pub disk: Capacity,
    pub pods: u32,
    /// Pods that it has and nobody knows.
    pub unknown: u32,
    /// They are so many that nothing there is ended or removed before an operator has looked: the database may be wrong.
    pub left_alone: bool,
    /// Disks that were set aside there.
    pub orphans: u32,
    /// Fingerprints of the SSH keys that the host may show; several while one is replaced.
    pub trusted_keys: Vec<String>,
    /// Key fingerprints that were offered in place of the pinned ones and wait for an operator.
    pub offered_keys: Vec<String>,
    /// Versions of kernel, daemon, runsc and image, for a person.
    pub software: String,
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_seen_at: Option<OffsetDateTime>,
}

/// A pod that has its place on a host, as far as an operator may know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HostPod {
    pub id: PodId,
    pub name: String,
    /// Handle of the owner.
    pub owner: String,
    pub tier: Tier,
    pub status: PodStatus,
}

/// The disk of a pod that nobody knows any more, set aside on its host for 7 days.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Orphan {
    /// Id that the pod had; it gets it again when it is adopted.
    pub pod: PodId,
    pub host_id: HostId,
    /// Name of the host.
    pub host: String,
    #[serde(with = "time::serde::rfc3339")]
    pub set_aside_at: OffsetDateTime,
    /// Bytes that it takes.
    pub disk_bytes: u64,
}

/// Body of POST /hosts/{id}/orphans/{pod}/adopt: whose pod it becomes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Adoption {
    /// GitHub login of somebody who has signed in.
    pub owner: String,
    /// `[a-z0-9]{1,20}`, unique among the owner's pods.
    pub name: String,
    /// Such as `dev.small`; its disk at least as large as what the layer holds.
    pub tier: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Capacity {
    pub reserved: u64,
    /// What the machine really has.
    pub physical: u64,
    /// What may be reserved: physical times the over-commit.
    pub limit: u64,
}

/// Body of POST /hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewHost {
    /// `[a-z0-9-]{1,40}`, unique.
    pub name: String,
    pub transport: Transport,
    /// Host name or address that the control plane reaches it at.
    pub address: String,
    /// 22 for SSH, 443 for HTTPS if left out.
    #[serde(default)]
    pub port: Option<u16>,
}

/// What the operator takes to the machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JoinInvitation {
    pub host: Host,
    /// Good once, for an hour; goes into `pinacle-host join` by standard input.
    pub join_token: String,
    /// The command to paste on the machine.
    pub command: String,
}
