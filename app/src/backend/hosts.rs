//! Pod hosts: for operators only; to everybody else they are not there.

use super::Caller;
use crate::error::AppResult;
use crate::hosts::{Adoption, Host, HostPod, HostVerb, JoinInvitation, NewHost, Orphan};
use crate::ids::{HostId, PodId};
use async_trait::async_trait;

#[async_trait]
pub trait Hosts: Send + Sync {
    async fn hosts(&self, caller: &Caller) -> AppResult<Vec<Host>>;
    async fn host(&self, caller: &Caller, id: HostId) -> AppResult<Host>;
    /// The pods that have their place on it, by owner and name.
    async fn host_pods(&self, caller: &Caller, id: HostId) -> AppResult<Vec<HostPod>>;
    /// Disks that were set aside, on one host or on all, the oldest first.
    async fn orphans(&self, caller: &Caller, host: Option<HostId>) -> AppResult<Vec<Orphan>>;
    /// Has a set-aside disk removed before its time.
    async fn remove_orphan(&self, caller: &Caller, id: HostId, pod: PodId) -> AppResult<()>;
    /// Has whatever nobody knows there ended and its disks set aside, also where it is so much that it was left alone.
    async fn set_aside(&self, caller: &Caller, id: HostId) -> AppResult<()>;
    /// Makes a set-aside disk somebody's stopped pod, under the id that it had.
    async fn adopt_orphan(&self, caller: &Caller, id: HostId, pod: PodId, adoption: Adoption) -> AppResult<HostPod>;
    /// Adds a host that is to join, or makes a new token for one of that name that has not joined yet.
    async fn add_host(&self, caller: &Caller, new: NewHost) -> AppResult<JoinInvitation>;
    async fn change_host(&self, caller: &Caller, id: HostId, verb: HostVerb) -> AppResult<Host>;
    /// A new token for a host that has joined: after it was installed anew, or has lost what it was told. Its row, its range and its
    /// pods stay.
    async fn rejoin_host(&self, caller: &Caller, id: HostId) -> AppResult<JoinInvitation>;
    /// Trusts a host key that was offered, beside those that are trusted already.
    async fn trust_host_key(&self, caller: &Caller, id: HostId, fingerprint: &str) -> AppResult<Host>;
    /// Trusts one of several host keys no more.
    async fn retire_host_key(&self, caller: &Caller, id: HostId, fingerprint: &str) -> AppResult<Host>;
}
