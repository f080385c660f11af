//! What the host says of itself and of its pods.

use super::{CpuSeen, Daemon, Pod, client, store::PodRecord};
use crate::{
    pod::{failed, orphan, rootfs},
    protocol::{Command, HostError, HostErrorCode, Inventory, PodReport, PodSeen, Reply, SandboxState, Usage},
};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};
use uuid::Uuid;

const DEADLINE: Duration = Duration::from_secs(10);
/// A shorter time between two readings of the CPU's meter says nothing.
const SHORTEST: Duration = Duration::from_millis(200);
/// After a longer one the average says nothing of "now".
const LONGEST: Duration = Duration::from_secs(60);

impl Daemon {
    pub(super) fn inventory(&self) -> Result<Inventory, HostError> {
        let pods: BTreeSet<Uuid> = self.store.pods().map_err(failed("the host's pods"))?.into_iter().chain(self.at_fault()).collect();
        let pods = pods.into_iter().map(|id| self.seen(id)).collect();
        let mut orphans = self.orphans.list().map_err(failed("the layers that were set aside"))?;
        orphans.truncate(orphan::MAX_LISTED);
        self.facts.inventory(&self.options.state_dir, pods, orphans).map_err(failed("the host's figures"))
    }

    /// Pods of which something is left that could not be cleared away, whether or not anything else is known of them.
    fn at_fault(&self) -> Vec<Uuid> {
        super::locked(&self.pods).iter().filter(|(_, pod)| super::locked(&pod.fault).is_some()).map(|(id, _)| *id).collect()
    }

    fn seen(&self, id: Uuid) -> PodSeen {
        let pod = self.pod(id);
        let running = pod.running.borrow().clone().filter(|running| running.is_alive());
        let (record, unreadable) = match self.store.record(id) {
            Ok(record) => (record, None),
            Err(error) => {
                tracing::error!(pod = %id, %error, "what is known of a pod cannot be read");
                (PodRecord::default(), Some(format!("what is known of it cannot be read: {error}")))
            }
        };
        PodSeen {
            pod: id,
            sandbox: if running.is_some() { SandboxState::Running } else { SandboxState::Stopped },
            generation: running.as_ref().map_or(record.generation, |running| running.generation),
            fence: self.store.fence(id),
            layer: pod.place.layer().exists(),
            address: running.map(|running| running.boot.address).or(record.address),
            disk_bytes: rootfs::allocated(&pod.place),
            fault: unreadable.or_else(|| super::locked(&pod.fault).clone()),
        }
    }

    /// The pod as it is now.
    pub(super) async fn report(&self, id: Uuid) -> Result<PodReport, HostError> {
        let Some(pod) = self.known(id).filter(|pod| pod.place.layer().exists()) else {
            return self.report_of_orphan(id);
        };
        let running = pod.running.borrow().clone().filter(|running| running.is_alive());
        let Some(running) = running else { return self.report_of_stopped(&pod) };
        match client::command(&running.boot, Command::Pod { pod: id }, DEADLINE).await {
            Ok(Reply::Pod(inside)) => Ok(self.complete(&pod, *inside)),
            Ok(_) => Err(HostError::new(HostErrorCode::Failed, "the pod answered something else")),
            // It ended while it was asked.
            Err(_) if !running.is_alive() => self.report_of_stopped(&pod),
            Err(error) => Err(error),
        }
    }

    pub(super) fn report_of_stopped(&self, pod: &Pod) -> Result<PodReport, HostError> {
        let record = self.store.record(pod.place.id).map_err(failed("what is known of the pod"))?;
        Ok(PodReport {
            sandbox: SandboxState::Stopped,
            generation: record.generation,
            ended: record.ended,
            usage: Usage { disk_bytes: rootfs::allocated(&pod.place), ..Usage::default() },
            processes: Vec::new(),
            ports: Vec::new(),
        })
    }

    /// A pod whose layer was set aside is a stopped one: it can be started again.
    fn report_of_orphan(&self, id: Uuid) -> Result<PodReport, HostError> {
        if !self.orphans.has(id) {
            return Err(HostError::new(HostErrorCode::NoSuchPod, "this host has no such pod"));
        }
        Ok(PodReport {
            sandbox: SandboxState::Stopped,
            generation: 0,
            ended: None,
            usage: Usage { disk_bytes: self.orphans.allocated(id), ..Usage::default() },
            processes: Vec::new(),
            ports: Vec::new(),
        })
    }

    /// Adds to what the pod says of itself what only the host knows.
    pub(super) fn complete(&self, pod: &Pod, inside: PodReport) -> PodReport {
        let (cpu_milli, memory_bytes) = self.meters(pod);
        let generation = pod.running.borrow().as_ref().map_or(0, |running| running.generation);
        let usage = Usage { cpu_milli, memory_bytes, ..inside.usage };
        PodReport { sandbox: SandboxState::Running, generation, ended: None, usage, ..inside }
    }

    /// Thousandths of a core since the last reading, and bytes of memory; zeros for a sandbox that has just ended.
    fn meters(&self, pod: &Pod) -> (u32, u64) {
        let Ok(meters) = self.ground.cgroups.meters(&pod.place.container()) else { return (0, 0) };
        let (now, nanoseconds) = (Instant::now(), meters.cpu_nanoseconds);
        let mut seen = super::locked(&pod.cpu_seen);
        let milli = match *seen {
            // Readers in quick succession must not take each other's interval away.
            Some(last) if now - last.at < SHORTEST => return (last.milli, meters.memory_bytes),
            Some(last) if now - last.at <= LONGEST => {
                let used = u128::from(nanoseconds.saturating_sub(last.nanoseconds));
                u32::try_from(used * 1000 / (now - last.at).as_nanos().max(1)).unwrap_or(u32::MAX)
            }
            _ => 0,
        };
        *seen = Some(CpuSeen { at: now, nanoseconds, milli });
        (milli, meters.memory_bytes)
    }
}
