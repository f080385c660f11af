//! Compares what Postgres has on each host with what the host has. What was lost is brought back; what is left of a
//! deleted pod goes; a sandbox that Postgres does not know is stopped, its layer kept, unless there are many: then
//! nothing is touched, for then Postgres is more likely wrong than the host.

use crate::{
    control::ControlPlane,
    hosts::{
        HostTarget,
        link::{self, LinkError},
        store,
    },
    news::{self, Change},
    pods::{self, store::OnHost, wishes},
};
use pinacle_app::{
    ids::PodId,
    pods::{Desired, PodStatus},
};
use pinacle_host::protocol::{Command, PodSeen, Reply, SandboxState};
use std::{collections::HashMap, time::Duration};
use uuid::Uuid;

const DEADLINE: Duration = Duration::from_secs(10);
const STOP_DEADLINE: Duration = Duration::from_secs(30);
/// More unknown pods than this on one host, or than this share of all of its pods: hands off.
const MAX_UNKNOWN: usize = 3;
const MAX_UNKNOWN_SHARE: f64 = 0.1;

pub async fn run(control: &ControlPlane, lease: i64) -> Result<(), sqlx::Error> {
    for host in store::targets(&control.db).await? {
        // Asked before Postgres is read: a pod that is made in between is in both, or only in Postgres.
        match link::call(control, &host, Command::Inventory, DEADLINE).await {
            Ok(Reply::Inventory(inventory)) => one_host(control, &host, &inventory.pods, lease).await?,
            Ok(_) => {}
            Err(error) => tracing::debug!(host = host.name, %error, "a host can't be reconciled now"),
        }
    }
    Ok(())
}

async fn one_host(control: &ControlPlane, host: &HostTarget, seen: &[PodSeen], lease: i64) -> Result<(), sqlx::Error> {
    let wanted = pods::store::on_host(&control.db, host.id).await?;
    let by_id: HashMap<Uuid, &PodSeen> = seen.iter().map(|p| (p.pod, p)).collect();
    for pod in &wanted {
        if is_lost(pod, by_id.get(&pod.id).copied()) {
            tracing::warn!(pod = %pod.id, host = host.name, "a running pod's sandbox is gone; bringing it back");
            look_again(control, PodId(pod.id)).await?;
        }
    }
    let elsewhere: Vec<&PodSeen> = seen.iter().filter(|p| !wanted.iter().any(|w| w.id == p.pod)).collect();
    let ids: Vec<Uuid> = elsewhere.iter().map(|p| p.pod).collect();
    let known: HashMap<Uuid, String> = pods::store::known(&control.db, &ids).await?.into_iter().collect();
    let unknown: Vec<&&PodSeen> = elsewhere.iter().filter(|p| !known.contains_key(&p.pod)).collect();
    if too_many(unknown.len(), seen.len()) {
        tracing::error!(host = host.name, unknown = unknown.len(), of = seen.len(), "too many pods that Postgres does not know; nothing is touched");
    } else {
        for pod in unknown.into_iter().filter(|p| p.sandbox == SandboxState::Running) {
            tracing::warn!(pod = %pod.pod, host = host.name, "stopping a sandbox that Postgres does not know; its layer is kept");
            ask(control, host, Command::Stop { pod: pod.pod, fence: lease }).await;
        }
    }
    for pod in elsewhere.iter().filter(|p| known.get(&p.pod).map(String::as_str) == Some(PodStatus::Deleted.as_str())) {
        tracing::warn!(pod = %pod.pod, host = host.name, "removing what is left of a deleted pod");
        ask(control, host, Command::Delete { pod: pod.pod, fence: lease }).await;
    }
    Ok(())
}

/// Postgres says that it runs, nothing newer is wished, and the host says that it does not.
fn is_lost(pod: &OnHost, seen: Option<&PodSeen>) -> bool {
    pod.status == PodStatus::Running.as_str()
        && pod.desired == Desired::Running.as_str()
        && !pod.behind
        && seen.is_none_or(|s| s.sandbox == SandboxState::Stopped)
}

fn too_many(unknown: usize, all: usize) -> bool {
    unknown > MAX_UNKNOWN || (unknown > 1 && unknown as f64 > all as f64 * MAX_UNKNOWN_SHARE)
}

async fn look_again(control: &ControlPlane, pod: PodId) -> Result<(), sqlx::Error> {
    let mut tx = control.db.begin().await?;
    pods::store::look_again(&mut tx, pod).await?;
    wishes::enqueue(&mut tx, pod, "start-pod", wishes::SWEPT).await?;
    news::notify(&mut tx, Change::Pod(pod)).await?;
    tx.commit().await
}

/// What fails now is found by the next round.
async fn ask(control: &ControlPlane, host: &HostTarget, command: Command) {
    let answered: Result<Reply, LinkError> = link::call(control, host, command, STOP_DEADLINE).await;
    if let Err(error) = answered {
        tracing::warn!(host = host.name, %error, "a host could not be cleaned up");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(status: &str, desired: &str, behind: bool) -> OnHost {
        OnHost { id: Uuid::nil(), status: status.into(), desired: desired.into(), behind, booted: true }
    }

    #[test]
    fn only_a_settled_running_pod_without_a_sandbox_is_lost() {
        assert!(is_lost(&pod("running", "running", false), None));
        assert!(!is_lost(&pod("running", "running", true), None));
        assert!(!is_lost(&pod("running", "stopped", false), None));
        assert!(!is_lost(&pod("stopped", "stopped", false), None));
    }

    #[test]
    fn many_unknown_pods_are_left_alone() {
        assert!(!too_many(1, 1));
        assert!(!too_many(3, 40));
        assert!(too_many(4, 400));
        assert!(too_many(2, 10));
    }
}
