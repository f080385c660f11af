//! A pod's life on this host: what each unary command brings about, whatever it finds.

use super::{Daemon, Pod, client, store::PodRecord};
use crate::{
    inside::{Boot, SHUTDOWN_GRACE, What},
    pod::{failed, network, rootfs, sandbox, sandbox::Running},
    protocol::{Booted, Command, HostError, HostErrorCode, Reply},
};
use std::{collections::BTreeMap, fs, io, io::Read, net::Ipv4Addr, sync::Arc, time::Duration};
use tokio::{
    sync::OwnedMutexGuard,
    time::{Instant, timeout},
};
use uuid::Uuid;

/// How long a command waits for another one of the same pod.
const TURN_DEADLINE: Duration = Duration::from_secs(120);
/// For what PID 1 does at once.
const INSIDE_DEADLINE: Duration = Duration::from_secs(30);
/// Stands in the sandbox's folder while its namespace has never been used: gVisor takes the address off the link.
const FRESH: &str = "network-is-fresh";

/// The one command that may change a pod, as long as it is held.
pub(super) struct Turn {
    pod: Arc<Pod>,
    _guard: OwnedMutexGuard<()>,
}

/// What a boot is given.
struct Wish {
    generation: i64,
    hostname: String,
    cpu_milli: u32,
    memory_bytes: u64,
}

impl Daemon {
    pub async fn perform(self: Arc<Self>, command: Command) -> Result<Reply, HostError> {
        match command {
            Command::Inventory => self.inventory().map(|inventory| Reply::Inventory(Box::new(inventory))),
            Command::Pod { pod } => self.report(pod).await.map(|report| Reply::Pod(Box::new(report))),
            Command::Layer { pod, fence, disk_bytes, must_exist } => self.layer(pod, fence, disk_bytes, must_exist).await,
            Command::Network { pod, fence, address } => self.address(pod, fence, address).await,
            Command::Sandbox { pod, fence, generation, boot_after, hostname, cpu_milli, memory_bytes } => {
                self.sandbox(pod, fence, boot_after, Wish { generation, hostname, cpu_milli, memory_bytes }).await
            }
            Command::Stop { pod, fence } => self.stop(pod, fence).await,
            Command::Orphan { pod, fence } => self.orphan(pod, fence).await,
            Command::Delete { pod, fence } => self.delete(pod, fence).await,
            Command::Discard { pod, fence } => self.discard(pod, fence).await,
            Command::Configure { pod, fence, .. } | Command::Processes { pod, fence, .. } => {
                let _turn = self.turn(pod, fence).await?;
                client::command(&self.running(pod)?.boot, command, INSIDE_DEADLINE).await
            }
            Command::RestartProcess { pod, .. } | Command::Terminals { pod } | Command::EndTerminal { pod, .. } => {
                client::command(&self.running(pod)?.boot, command, INSIDE_DEADLINE).await
            }
            _ => Err(HostError::new(HostErrorCode::Invalid, "not a command that is answered once")),
        }
    }

    /// Waits for this pod's other commands, then admits the fence.
    async fn turn(&self, id: Uuid, fence: i64) -> Result<Turn, HostError> {
        let turn = self.wait(id).await?;
        self.store.raise_fence(id, fence)?;
        Ok(turn)
    }

    /// Waits for this pod's other commands.
    pub(super) async fn wait(&self, id: Uuid) -> Result<Turn, HostError> {
        let waited = timeout(TURN_DEADLINE, async {
            loop {
                let pod = self.pod(id);
                let guard = pod.commands.clone().lock_owned().await;
                // One that was deleted meanwhile is forgotten: what comes now begins anew.
                if self.known(id).is_some_and(|known| Arc::ptr_eq(&known, &pod)) {
                    return Turn { pod, _guard: guard };
                }
            }
        });
        waited.await.map_err(|_| HostError::new(HostErrorCode::Timeout, "another command of this pod does not end"))
    }

    /// The sandbox of a pod that runs.
    pub fn running(&self, id: Uuid) -> Result<Arc<Running>, HostError> {
        let known = self.known(id);
        let running = known.as_ref().and_then(|pod| pod.running.borrow().clone());
        match running {
            Some(running) if running.is_alive() => Ok(running),
            _ if known.is_some_and(|pod| pod.place.layer().exists()) || self.orphans.has(id) => {
                Err(HostError::new(HostErrorCode::NotRunning, "the pod does not run"))
            }
            _ => Err(HostError::new(HostErrorCode::NoSuchPod, "this host has no such pod")),
        }
    }

    async fn layer(&self, id: Uuid, fence: i64, disk_bytes: u64, must_exist: bool) -> Result<Reply, HostError> {
        let turn = self.turn(id, fence).await?;
        let pod = &turn.pod;
        if pod.running.borrow().as_ref().is_some_and(|running| running.is_alive()) {
            self.remember_size(id, disk_bytes)?;
            return Ok(Reply::Done);
        }
        if !pod.place.layer().exists() {
            let taken_back = self.orphans.take_back(&pod.place).map_err(failed("the pod's layer, which was set aside"))?;
            if taken_back {
                tracing::info!(pod = %id, "took its layer back");
                self.remember_start(id)?;
            } else if must_exist {
                self.forget_empty(turn);
                return Err(HostError::new(HostErrorCode::NoSuchPod, "this host has no layer of the pod"));
            }
        }
        rootfs::ensure_layer(&pod.place, disk_bytes).await?;
        self.remember_size(id, disk_bytes)?;
        Ok(Reply::Done)
    }

    /// What was set aside may hold somebody's work, and goes on doing so.
    fn remember_start(&self, id: Uuid) -> Result<(), HostError> {
        let mut record = self.store.record(id).map_err(failed("what is known of the pod"))?;
        record.generation = record.generation.max(1);
        self.store.keep_record(id, &record).map_err(failed("what is known of the pod"))
    }

    fn remember_size(&self, id: Uuid, disk_bytes: u64) -> Result<(), HostError> {
        let mut record = self.store.record(id).map_err(failed("what is known of the pod"))?;
        if record.disk_bytes != disk_bytes {
            record.disk_bytes = disk_bytes;
            self.store.keep_record(id, &record).map_err(failed("what is known of the pod"))?;
        }
        Ok(())
    }

    async fn address(&self, id: Uuid, fence: i64, address: Ipv4Addr) -> Result<Reply, HostError> {
        let turn = self.turn(id, fence).await?;
        let pod = &turn.pod;
        let range = self.range()?;
        network::check_address(range, address)?;
        self.check_free(id, address)?;
        if let Some(running) = pod.running.borrow().as_ref().filter(|running| running.is_alive()) {
            let same = running.boot.address == address;
            return if same {
                Ok(Reply::Done)
            } else {
                Err(HostError::new(HostErrorCode::Invalid, "the pod runs with another address: stop it first"))
            };
        }
        let mut record = self.store.record(id).map_err(failed("what is known of the pod"))?;
        if record.address != Some(address) {
            record.address = Some(address);
            self.store.keep_record(id, &record).map_err(failed("what is known of the pod"))?;
        }
        self.fresh_network(pod, range, address).await?;
        Ok(Reply::Done)
    }

    async fn fresh_network(&self, pod: &Pod, range: ipnet::Ipv4Net, address: Ipv4Addr) -> Result<(), HostError> {
        fs::create_dir_all(&pod.place.run).map_err(failed("the sandbox's folder"))?;
        self.network.create(&pod.place, range, address).await?;
        fs::write(pod.place.run.join(FRESH), address.to_string()).map_err(failed("the sandbox's folder"))
    }

    fn range(&self) -> Result<ipnet::Ipv4Net, HostError> {
        let joined = self.joined().ok_or_else(|| HostError::new(HostErrorCode::WrongInstallation, "this host has not joined yet"))?;
        Ok(joined.pod_cidr)
    }

    fn check_free(&self, id: Uuid, address: Ipv4Addr) -> Result<(), HostError> {
        for other in self.store.pods().map_err(failed("the host's pods"))?.into_iter().filter(|other| *other != id) {
            if self.address_of(other) == Some(address) {
                // Not for good: a pod that has moved to another host leaves it here until the hosts are reconciled.
                return Err(HostError::new(HostErrorCode::Failed, format!("{address} is still another pod's")));
            }
        }
        Ok(())
    }

    /// The address of a pod, also of one that runs and of which nothing can be read: that one doesn't stand in others' way.
    fn address_of(&self, id: Uuid) -> Option<Ipv4Addr> {
        let running = self.known(id).and_then(|pod| pod.running.borrow().as_ref().map(|running| running.boot.address));
        running.or_else(|| match self.store.record(id) {
            Ok(record) => record.address,
            Err(error) => {
                tracing::error!(pod = %id, %error, "what is known of a pod cannot be read");
                None
            }
        })
    }

    async fn sandbox(self: &Arc<Self>, id: Uuid, fence: i64, boot_after: i64, wish: Wish) -> Result<Reply, HostError> {
        let turn = self.turn(id, fence).await?;
        let pod = &turn.pod;
        let running = pod.running.borrow().clone();
        if let Some(running) = running.filter(|running| running.is_alive() && running.generation >= boot_after) {
            return Ok(Reply::Booted(Booted { generation: running.generation, started: false }));
        }
        let mut record = self.store.record(id).map_err(failed("what is known of the pod"))?;
        let Some(address) = record.address.filter(|_| pod.place.layer().exists()) else {
            return Err(HostError::new(HostErrorCode::Invalid, "a sandbox needs its layer and its network first"));
        };
        let is_fresh = fs::read_to_string(pod.place.run.join(FRESH)).is_ok_and(|made_for| made_for == address.to_string());
        if !is_fresh {
            self.end_sandbox(pod).await?;
            self.fresh_network(pod, self.range()?, address).await?;
        }
        // Asked for while the sandbox that has just been ended held the disk.
        rootfs::grow(&pod.place, record.disk_bytes).await?;
        (record.generation, record.ended) = (wish.generation, None);
        self.store.keep_record(id, &record).map_err(failed("what is known of the pod"))?;
        let generation = wish.generation;
        match self.boot(pod, address, wish).await {
            Ok(running) => {
                let running = Arc::new(running);
                pod.running.send_replace(Some(running.clone()));
                self.clone().watch_over(turn.pod.clone(), running);
                Ok(Reply::Booted(Booted { generation, started: true }))
            }
            Err(error) => {
                // What went wrong first is what is told; what this leaves is swept by the next command.
                if let Err(also) = self.end_sandbox(pod).await {
                    tracing::warn!(pod = %id, error = %also, output = also.output, "a sandbox that did not boot could not be cleared away");
                }
                Err(error)
            }
        }
    }

    async fn boot(&self, pod: &Pod, address: Ipv4Addr, wish: Wish) -> Result<Running, HostError> {
        let begun = Instant::now();
        rootfs::released(&pod.place).await?;
        crate::pod::gone(fs::remove_file(pod.place.run.join(FRESH))).map_err(failed("the sandbox's folder"))?;
        let boot =
            Boot { token: token().map_err(failed("a random token"))?, hostname: wish.hostname, address, gateway: network::gateway(self.range()?) };
        let (running, complaints) = sandbox::boot(&self.ground, &pod.place, boot, wish.generation, wish.memory_bytes).await?;
        let spawned = begun.elapsed();
        client::wait_for_boot(&running, &complaints).await?;
        let cpu_milli = wish.cpu_milli.min(self.facts.cpu_milli);
        self.ground.cgroups.limit_cpu(&pod.place.container(), cpu_milli).map_err(failed("the pod's share of CPU"))?;
        running.keep(&pod.place)?;
        tracing::info!(pod = %pod.place.id, generation = wish.generation, runsc_ms = spawned.as_millis(), ready_ms = begun.elapsed().as_millis(), "booted");
        Ok(running)
    }

    /// Ends the sandbox: orderly if it answers, and whatever is left of it at once.
    async fn end_sandbox(&self, pod: &Pod) -> Result<(), HostError> {
        let running = pod.running.send_replace(None).or_else(|| Running::read(&pod.place).map(Arc::new));
        *super::locked(&pod.cpu_seen) = None;
        if let Some(running) = running.as_ref().filter(|running| running.is_alive()) {
            // One that does not answer is ended all the same.
            if let Err(error) = client::ask(&running.boot, What::Shutdown, SHUTDOWN_GRACE * 2).await {
                tracing::info!(pod = %pod.place.id, %error, "a sandbox did not end in order");
            }
        }
        let known = running.map_or_else(Vec::new, |running| running.processes.clone());
        sandbox::end(&self.ground, &self.network, &pod.place, &known).await?;
        *super::locked(&pod.fault) = None;
        Ok(())
    }

    async fn stop(&self, id: Uuid, fence: i64) -> Result<Reply, HostError> {
        let turn = self.turn(id, fence).await?;
        let pod = &turn.pod;
        self.end_sandbox(pod).await?;
        if self.store.pod_folder(id).exists() {
            // A stop mends what cannot be read: nothing of it is needed for the next start.
            let mut record = self.store.record(id).unwrap_or_else(|error| {
                tracing::error!(pod = %id, %error, "what is known of a pod cannot be read: beginning anew");
                PodRecord::default()
            });
            (record.address, record.ended) = (None, None);
            self.store.keep_record(id, &record).map_err(failed("what is known of the pod"))?;
        }
        Ok(Reply::Done)
    }

    async fn orphan(&self, id: Uuid, fence: i64) -> Result<Reply, HostError> {
        let turn = self.turn(id, fence).await?;
        self.set_aside(turn).await
    }

    async fn set_aside(&self, turn: Turn) -> Result<Reply, HostError> {
        let (pod, id) = (&turn.pod, turn.pod.place.id);
        self.end_sandbox(pod).await?;
        self.orphans.set_aside(&pod.place).map_err(failed("the layer of a pod that nobody knows"))?;
        // What is known of the pod goes last: killed before, the daemon lists the pod and is told again.
        rootfs::remove(&pod.place).await?;
        self.store.keep_fence(id).map_err(failed("the pod's fence"))?;
        self.forget_empty(turn);
        Ok(Reply::Done)
    }

    async fn delete(&self, id: Uuid, fence: i64) -> Result<Reply, HostError> {
        let turn = self.wait(id).await?;
        self.store.raise_fence_to_make_room(id, fence)?;
        self.remove(turn).await
    }

    async fn discard(&self, id: Uuid, fence: i64) -> Result<Reply, HostError> {
        let turn = self.turn(id, fence).await?;
        // Written before each boot. What can't be read may have been one.
        let may_have_started = self.store.record(id).map_or(true, |record| record.generation > 0) || self.orphans.has(id);
        if may_have_started { self.set_aside(turn).await } else { self.remove(turn).await }
    }

    async fn remove(&self, turn: Turn) -> Result<Reply, HostError> {
        let (pod, id) = (&turn.pod, turn.pod.place.id);
        self.end_sandbox(pod).await?;
        rootfs::remove(&pod.place).await?;
        self.orphans.remove(id).map_err(failed("the pod's layer, which was set aside"))?;
        self.store.keep_fence(id).map_err(failed("the pod's fence"))?;
        self.forget_empty(turn);
        Ok(Reply::Done)
    }

    /// Ends the turn of a pod of which nothing may be left; then it is known no more.
    pub(super) fn forget_empty(&self, turn: Turn) {
        if !turn.pod.place.state.exists() && turn.pod.running.borrow().is_none() {
            super::locked(&self.pods).remove(&turn.pod.place.id);
        }
    }

    /// Ends a sandbox that has ended by itself, and keeps why.
    pub(super) async fn bury(&self, pod: &Pod, running: &Arc<Running>) -> Result<(), HostError> {
        let _turn = pod.commands.lock().await;
        let is_current = pod.running.borrow().as_ref().is_some_and(|current| Arc::ptr_eq(current, running));
        // A command has ended it, or booted another.
        if !is_current {
            return Ok(());
        }
        let starved = self.ground.cgroups.ran_out_of_memory(&pod.place.container()).unwrap_or(false);
        let why = if starved { "out_of_memory" } else { "crashed" };
        tracing::warn!(pod = %pod.place.id, why, "a sandbox ended by itself");
        if let Err(error) = self.store.note_end(pod.place.id, why) {
            tracing::error!(pod = %pod.place.id, %error, "why a sandbox ended could not be written down");
        }
        self.end_sandbox(pod).await
    }

    pub(super) fn runs_any(&self) -> bool {
        super::locked(&self.pods).values().any(|pod| pod.running.borrow().is_some())
    }

    /// Links of the pods that run, with their addresses.
    pub(super) fn fenced(&self) -> BTreeMap<String, Ipv4Addr> {
        let pods = super::locked(&self.pods);
        pods.values().filter_map(|pod| Some((pod.place.link.clone(), pod.running.borrow().as_ref()?.boot.address))).collect()
    }
}

/// 32 random bytes in hexadecimal.
fn token() -> io::Result<String> {
    let mut bytes = [0; 32];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
