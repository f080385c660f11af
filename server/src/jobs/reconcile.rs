//! Compares what Postgres has on each host with what the host has. What was lost is brought back or marked; what is left
//! of a deleted pod goes; a pod that Postgres does not know is stopped and its layer set aside, unless there are many:
//! then nothing is ended or removed there, for Postgres is more likely wrong than the host, until an operator says otherwise.

use super::run::failure;
use crate::{
    control::ControlPlane,
    hosts::{
        HostTarget,
        link::{self, LinkError},
        store, too_many_unknown,
    },
    pods::{
        self,
        store::{Observed, OnHost, Seen},
        wishes,
    },
};
use futures::StreamExt;
use pinacle_app::{
    ids::PodId,
    pods::{Desired, PodStatus},
};
use pinacle_host::protocol::{Command, Inventory, PodSeen, Reply, SandboxState};
use std::{collections::HashMap, time::Duration};
use uuid::Uuid;

const DEADLINE: Duration = Duration::from_secs(10);
const STOP_DEADLINE: Duration = Duration::from_secs(30);
/// Hosts that are looked through at the same time.
const AT_ONCE: usize = 32;

pub async fn run(control: &ControlPlane, lease: i64) -> Result<(), sqlx::Error> {
    let hosts = store::targets(&control.db).await?;
    let looks = futures::stream::iter(hosts.into_iter().map(|host| async move {
        // Asked before Postgres is read: a pod that is made in between is in both, or only in Postgres.
        match link::call(control, &host, Command::Inventory, DEADLINE).await {
            Ok(Reply::Inventory(inventory)) => one_host(control, &host, &inventory, lease).await,
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::debug!(host = host.name, %error, "a host can't be reconciled now");
                Ok(())
            }
        }
    }));
    let results: Vec<Result<(), sqlx::Error>> = looks.buffer_unordered(AT_ONCE).collect().await;
    results.into_iter().collect()
}

async fn one_host(control: &ControlPlane, host: &HostTarget, inventory: &Inventory, lease: i64) -> Result<(), sqlx::Error> {
    let seen = &inventory.pods;
    let wanted = pods::store::on_host(&control.db, host.id).await?;
    let by_id: HashMap<Uuid, &PodSeen> = seen.iter().map(|p| (p.pod, p)).collect();
    let elsewhere: Vec<&PodSeen> = seen.iter().filter(|p| !wanted.iter().any(|w| w.id == p.pod)).collect();
    let ids: Vec<Uuid> = elsewhere.iter().map(|p| p.pod).collect();
    let known: HashMap<Uuid, bool> = pods::store::known(&control.db, &ids).await?.into_iter().collect();
    let unknown = elsewhere.iter().filter(|p| !known.contains_key(&p.pod)).count();
    let hands_off = too_many_unknown(unknown, seen.len());
    if hands_off {
        tracing::error!(host = host.name, unknown, of = seen.len(), "too many pods that Postgres does not know; nothing is ended or removed");
    }
    for pod in &wanted {
        // Set aside while Postgres did not know it. Taken back at once, for what stays set aside is removed in the end; what is to run
        // is brought back by the next round.
        if inventory.orphans.iter().any(|orphan| orphan.pod == pod.id) {
            if !pod.behind {
                tracing::info!(pod = %pod.id, host = host.name, "taking back a disk that was set aside");
                let disk_bytes = u64::try_from(pod.disk_bytes).unwrap_or_default();
                ask(control, host, Command::Layer { pod: pod.id, fence: lease, disk_bytes, must_exist: true }).await;
            }
            continue;
        }
        match judge(pod, by_id.get(&pod.id).copied()) {
            Judgement::Fine => {}
            // What the host has may be the newer of the two.
            Judgement::End | Judgement::DiskLost if hands_off => {}
            Judgement::BringBack => {
                tracing::warn!(pod = %pod.id, host = host.name, "a running pod's sandbox is gone; bringing it back");
                look_again(control, PodId(pod.id)).await?;
            }
            Judgement::End => {
                tracing::warn!(pod = %pod.id, host = host.name, "ending a sandbox that is not meant to run");
                ask(control, host, Command::Stop { pod: pod.id, fence: lease }).await;
            }
            Judgement::DiskLost => {
                tracing::error!(pod = %pod.id, host = host.name, "a pod's disk is gone from its host");
                disk_lost(control, PodId(pod.id), lease).await?;
            }
        }
    }
    if hands_off {
        return Ok(());
    }
    for pod in elsewhere {
        let command = match known.get(&pod.pod) {
            // Deleted.
            Some(true) => Command::Delete { pod: pod.pod, fence: lease },
            // Made elsewhere since, and most likely never started here; the host knows.
            Some(false) => Command::Discard { pod: pod.pod, fence: lease },
            // What may hold somebody's work is set aside.
            None => Command::Orphan { pod: pod.pod, fence: lease },
        };
        tracing::warn!(pod = %pod.pod, host = host.name, ?command, "removing what is not meant to be here");
        ask(control, host, command).await;
    }
    Ok(())
}

/// What an operator asks for who has looked: whatever nobody knows there is ended and its disk set aside, however much it is.
pub async fn set_aside(control: &ControlPlane, host: &HostTarget, lease: i64) -> Result<(), String> {
    let inventory = match link::call(control, host, Command::Inventory, DEADLINE).await {
        Ok(Reply::Inventory(inventory)) => inventory,
        Ok(other) => return Err(format!("{} answered something else than its inventory: {other:?}", host.name)),
        Err(error) => return Err(error.to_string()),
    };
    let ids: Vec<Uuid> = inventory.pods.iter().map(|pod| pod.pod).collect();
    let known = pods::store::known(&control.db, &ids).await.map_err(|error| error.to_string())?;
    for pod in ids.into_iter().filter(|id| !known.iter().any(|(known, _)| known == id)) {
        tracing::warn!(%pod, host = host.name, "setting aside what nobody knows, as an operator has asked");
        link::call(control, host, Command::Orphan { pod, fence: lease }, STOP_DEADLINE).await.map_err(|error| error.to_string())?;
    }
    Ok(())
}

enum Judgement {
    Fine,
    BringBack,
    End,
    DiskLost,
}

/// What is to be done about a pod that this host should have; nothing while a wish is under way, for then its job does it.
fn judge(pod: &OnHost, seen: Option<&PodSeen>) -> Judgement {
    let runs = seen.is_some_and(|s| s.sandbox == SandboxState::Running);
    let has_layer = seen.is_some_and(|s| s.layer);
    match (pod.behind, PodStatus::parse(&pod.status), Desired::parse(&pod.desired)) {
        (false, Some(PodStatus::Running), Some(Desired::Running)) if !runs => Judgement::BringBack,
        (false, Some(PodStatus::Stopped | PodStatus::Failed), _) if runs => Judgement::End,
        (false, Some(PodStatus::Stopped), _) if pod.booted && !has_layer => Judgement::DiskLost,
        _ => Judgement::Fine,
    }
}

async fn disk_lost(control: &ControlPlane, pod: PodId, lease: i64) -> Result<(), sqlx::Error> {
    let mut tx = control.db.begin().await?;
    let mut why = failure("layer", "layer_lost", "The host has lost this pod's disk.", "Delete the pod and create it again.");
    why.tried = "Found while the host was looked through".to_owned();
    let seen = Seen { status: Some(PodStatus::Failed), failure: Some(Some(&why)), ..Seen::default() };
    if pods::store::observe(&mut tx, pod, lease, seen).await? != Observed::Lost {
        pods::tell(&mut tx, pod).await?;
    }
    tx.commit().await
}

async fn look_again(control: &ControlPlane, pod: PodId) -> Result<(), sqlx::Error> {
    let mut tx = control.db.begin().await?;
    pods::store::look_again(&mut tx, pod).await?;
    wishes::enqueue(&mut tx, pod, "start-pod", wishes::SWEPT).await?;
    pods::tell(&mut tx, pod).await?;
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
        OnHost { id: Uuid::nil(), status: status.into(), desired: desired.into(), behind, booted: true, disk_bytes: 1 }
    }

    fn seen(sandbox: SandboxState, layer: bool) -> PodSeen {
        PodSeen { pod: Uuid::nil(), sandbox, generation: 1, fence: 1, layer, address: None, disk_bytes: 0, fault: None }
    }

    #[test]
    fn only_a_settled_pod_is_judged() {
        use SandboxState::{Running, Stopped};
        let is = |pod: &OnHost, found: Option<PodSeen>| judge(pod, found.as_ref());
        assert!(matches!(is(&pod("running", "running", false), None), Judgement::BringBack));
        assert!(matches!(is(&pod("running", "running", false), Some(seen(Stopped, true))), Judgement::BringBack));
        assert!(matches!(is(&pod("running", "running", false), Some(seen(Running, true))), Judgement::Fine));
        assert!(matches!(is(&pod("running", "running", true), None), Judgement::Fine));
        assert!(matches!(is(&pod("stopped", "stopped", false), Some(seen(Running, true))), Judgement::End));
        assert!(matches!(is(&pod("failed", "running", false), Some(seen(Running, true))), Judgement::End));
        assert!(matches!(is(&pod("stopped", "stopped", false), Some(seen(Stopped, true))), Judgement::Fine));
        assert!(matches!(is(&pod("stopped", "stopped", false), None), Judgement::DiskLost));
        assert!(matches!(is(&pod("stopped", "running", true), None), Judgement::Fine));
    }
}
