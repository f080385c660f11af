//! Towards a running machine: reserve a host, then address, layer, sandbox, keys. The same for the first time, a start,
//! a restart, and after a sandbox was lost; what is there already is left as it is.

use super::{
    pod::PodJob,
    run::{Halt, Run, failure, halt},
    set_up_pod,
};
use crate::{
    account,
    hosts::{
        self, HostTarget,
        link::{self, LinkError},
    },
    pods::{
        event_store,
        git_access::{self, Way},
        placement,
        store::{self, PodRow, Release, Seen},
    },
    secrets::{self, Delivery, DeliveryError},
};
use pinacle_app::{
    ids::{HostId, TeamId, UserId},
    pods::{Desired, PodStatus, timeline::JobStep},
};
use pinacle_host::protocol::{Command, HostErrorCode, PodConfig, Reply, SandboxState};
use serde_json::json;
use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

const SHORT: Duration = Duration::from_secs(20);
const BOOT: Duration = Duration::from_secs(60);
/// For what runs to say so where it is to be ended in any case.
const LOOK_BEFORE_RESTART: Duration = Duration::from_secs(3);
/// How soon a machine that was slow to answer is asked again.
const SLOW_AGAIN: Duration = Duration::from_secs(30);
/// How soon a pod that found no room looks again.
const ROOM_AGAIN: Duration = Duration::from_secs(3);
/// A machine that ended by itself so often within an hour is not started again without being asked for.
const MOST_ENDS_AN_HOUR: i64 = 5;

/// Answers with the host that the pod runs on.
pub async fn run(job: &PodJob, run: &Run<'_>, row: &PodRow) -> Result<HostTarget, Halt> {
    if row.host_state.as_deref() == Some("lost") {
        let message = "The pod's host was given up, and the pod's disk with it.";
        return Err(Halt::Final(failure("reserve", "host_lost", message, "Delete the pod and create it again.")));
    }
    if let Some(host) = runs_already(run, row).await? {
        run.observe(running(run)).await?;
        return Ok(host);
    }
    let began = Instant::now();
    let reserved = reserve(run, row).await;
    if let Err(halt @ Halt::Later { why: Some(why), .. }) = &reserved
        && row.waiting_for.as_ref() == Some(why)
    {
        // It waits for the same as before: the log has said so.
        return Err(halt.clone());
    }
    if reserved.is_ok() {
        let status = if row.booted { PodStatus::Starting } else { PodStatus::Provisioning };
        run.observe(Seen { status: Some(status), failure: Some(None), waiting_for: Some(None), ..Seen::default() }).await?;
    }
    let (host, address) = run.step_since(began, JobStep::Reserve, row.tier.as_str(), async { reserved }).await?;
    let _place = job.place(host.id).await?;
    run.still_wished().await?;
    boot(run, row, &host, address).await?;
    set_up_pod::machine_is_new(run, row).await?;
    run.observe(running(run)).await?;
    Ok(host)
}

fn running(run: &Run<'_>) -> Seen<'static> {
    Seen { status: Some(PodStatus::Running), generation: Some(run.generation), failure: Some(None), waiting_for: Some(None), ..Seen::default() }
}

/// Whether its sandbox runs and is new enough; then nothing has to be done.
async fn runs_already(run: &Run<'_>, row: &PodRow) -> Result<Option<HostTarget>, Halt> {
    let (PodStatus::Running, Some(id)) = (row.status(), row.host_id) else { return Ok(None) };
    // A restart that is not answered yet: what runs is to be ended, whether it answers or not.
    let restart = row.boot_after > row.seen_generation;
    let host = target(run, HostId(id)).await?;
    match link::call(run.control, &host, Command::Pod { pod: run.pod.0 }, if restart { LOOK_BEFORE_RESTART } else { SHORT }).await {
        // Booted before the restart: how it ended is nobody's matter any more.
        Ok(Reply::Pod(report)) if report.generation < row.boot_after => Ok(None),
        Ok(Reply::Pod(report)) => {
            if let Some(why) = report.ended.as_deref().filter(|_| report.sandbox == SandboxState::Stopped) {
                ended_by_itself(run, why).await?;
            }
            Ok((report.sandbox == SandboxState::Running).then_some(host))
        }
        Err(_) if restart => Ok(None),
        // Nobody has wished anything of the machine: what runs there goes on.
        Err(LinkError::Host(error)) if error.code == HostErrorCode::Timeout && !row.is_behind() => Err(Halt::Later { after: SLOW_AGAIN, why: None }),
        // Not there, or there and hung: the host's own command for a sandbox decides without asking it.
        Ok(_) => Ok(None),
        Err(error) if answers_for_the_pod(&error) => Ok(None),
        Err(error) => Err(halt("sandbox", error)),
    }
}

/// A host that is silent, another's or of another version says nothing of what runs there.
fn answers_for_the_pod(error: &LinkError) -> bool {
    matches!(error, LinkError::Host(error) if !matches!(error.code, HostErrorCode::WrongInstallation | HostErrorCode::WrongProtocol))
}

/// Says in the log why a machine ended by itself, and halts one that does so again and again.
async fn ended_by_itself(run: &Run<'_>, why: &str) -> Result<(), Halt> {
    let words = match why {
        "out_of_memory" => "its memory was full",
        "crashed" => "its sandbox broke down",
        other => other,
    };
    run.note(JobStep::Sandbox, &format!("The machine ended by itself: {words}.\n"), json!({ "ended": why })).await?;
    if event_store::ended_by_itself(&run.control.db, run.pod).await? < MOST_ENDS_AN_HOUR {
        return Ok(());
    }
    let message = format!("The machine ended by itself {MOST_ENDS_AN_HOUR} times within an hour, the last time because {words}.");
    Err(Halt::Final(failure("sandbox", "crash_loop", message, "Choose a larger tier, or stop what takes the memory; then retry.")))
}

async fn target(run: &Run<'_>, id: HostId) -> Result<HostTarget, Halt> {
    hosts::store::target(&run.control.db, id)
        .await?
        .ok_or_else(|| Halt::Final(failure("reserve", "host_lost", "The pod's host is gone.", "Delete the pod.")))
}

/// Takes CPU, memory, disk and an address: of the host that has the layer, or of the least loaded one.
async fn reserve(run: &Run<'_>, row: &PodRow) -> Result<((HostTarget, IpAddr), String), Halt> {
    let tier = row.tier();
    let no_room = |why: placement::NoRoom| Halt::Later { after: ROOM_AGAIN, why: Some(why.to_string()) };
    let mut tx = run.control.db.begin().await?;
    let all = hosts::store::lock_for_placement(&mut tx, row.host_id.map(HostId)).await?;
    let (placed, address) = match (row.host_id, row.address, &row.reason) {
        (Some(_), Some(address), Some(reason)) => {
            let host = all.first().ok_or_else(|| no_room(placement::NoRoom::NoHosts))?;
            placement::fits_again(host, tier, row.held()).map_err(no_room)?;
            (reason.0.clone(), address)
        }
        _ => {
            let placed = placement::choose(&all, tier).map_err(no_room)?;
            let host = all.iter().find(|h| h.id == placed.host_id).ok_or_else(|| no_room(placement::NoRoom::NoHosts))?;
            let taken = store::addresses_on(&mut tx, host.id).await?;
            let full = || no_room(placement::NoRoom::Full(format!("{} has no address left", host.name)));
            let address = placement::free_address(host.pod_cidr, &taken).ok_or_else(full)?;
            (placed, address)
        }
    };
    if store::hold(&mut tx, run.pod, run.lease()).await?.is_none() {
        return Err(Halt::Lost);
    }
    store::reserve(&mut tx, run.pod, &placed, address, tier).await?;
    tx.commit().await?;
    let words = placed.words();
    Ok(((target(run, placed.host_id).await?, address.addr()), words))
}

async fn boot(run: &Run<'_>, row: &PodRow, host: &HostTarget, address: IpAddr) -> Result<(), Halt> {
    let (pod, fence, tier) = (run.pod.0, run.lease(), row.tier());
    let call = |step: JobStep, command: Command, deadline: Duration| async move {
        link::call(run.control, host, command, deadline).await.map_err(|error| halt(step.key(), error))
    };
    let IpAddr::V4(address) = address else { return Err(Halt::Final(failure("address", "refused", "Pods have IPv4 addresses.", ""))) };
    let gb = format!("{} GB", tier.disk_gb());
    let network = call(JobStep::Address, Command::Network { pod, fence, address }, SHORT);
    // A layer that was started once is never made anew: an empty disk would stand in its place.
    let layer = call(JobStep::Layer, Command::Layer { pod, fence, disk_bytes: tier.disk_bytes(), must_exist: row.booted }, SHORT);
    // Neither needs the other: while the host does the one, the other is on its way.
    let words = address.to_string();
    let (networked, layered) = tokio::join!(
        run.step(JobStep::Address, &words, async { network.await.map(|_| ((), words.clone())) }),
        run.step(JobStep::Layer, &gb, async { layer.await.map(|_| ((), gb.clone())) }),
    );
    networked.and(layered)?;
    run.still_wished().await?;
    // Written before the boot: from here on the layer may hold somebody's work.
    run.observe(Seen { booted: true, ..Seen::default() }).await?;
    let sandbox = Command::Sandbox {
        pod,
        fence,
        generation: run.generation,
        boot_after: row.boot_after,
        hostname: row.name.clone(),
        cpu_milli: tier.cpu_milli(),
        memory_bytes: tier.memory_bytes(),
    };
    let size = format!("{} vCPU, {} GB", tier.cores(), tier.memory_gb());
    let sandbox = call(JobStep::Sandbox, sandbox, BOOT);
    // What it will be told is gathered while it boots.
    let (_, gathered) = tokio::try_join!(run.step(JobStep::Sandbox, &size, async { sandbox.await.map(|_| ((), size.clone())) }), async {
        let way = git_access::settle(run.control, row, run.lease(), false).await.unwrap_or_else(|error| {
            tracing::warn!(%error, pod = %run.pod, "how the pod's git reaches GitHub could not be settled");
            None
        });
        // Its failure is the next step's.
        Ok::<_, Halt>(gather(run, row, JobStep::Keys, way).await)
    })?;
    let told = async {
        let (words, delivery) = tell(run, host, JobStep::Keys, gathered?).await?;
        given(run, &delivery).await?;
        let count = delivery.secrets.len();
        let secrets = format!("{count} secret{}", if count == 1 { "" } else { "s" });
        Ok(((), if words.is_empty() { secrets } else { format!("{words}, {secrets}") }))
    };
    run.step(JobStep::Keys, "git identity and secrets", told).await
}

/// Tells a pod that runs already, its git's way settled once more; where that fails, it keeps what it has. What it gets of its team's
/// secrets goes with it, but what runs in it was started with those of its boot: it stays marked until it is restarted. A failure is
/// `step`'s.
pub async fn configure(run: &Run<'_>, row: &PodRow, host: &HostTarget, step: JobStep) -> Result<(), Halt> {
    match git_access::settle(run.control, row, run.lease(), true).await {
        Ok(way) => tell(run, host, step, gather(run, row, step, way).await?).await.map(drop),
        Err(error) => {
            tracing::warn!(%error, pod = %run.pod, "how the pod's git reaches GitHub could not be settled anew");
            Ok(())
        }
    }
}

/// What a pod is told: who commits in it and how its git gets at its repository, that way in words, and its secrets.
struct Gathered {
    config: PodConfig,
    words: String,
    delivery: Delivery,
}

/// Without a name for commits and without a way for git the pod still runs. A failure is `step`'s.
async fn gather(run: &Run<'_>, row: &PodRow, step: JobStep, way: Option<Way>) -> Result<Gathered, Halt> {
    let mut config = PodConfig::default();
    match account::git_identity(run.control, UserId(row.owner_id)).await {
        Ok(identity) => (config.git_name, config.git_email) = (identity.name, identity.email),
        Err(error) => tracing::warn!(%error, pod = %run.pod, "the owner's git identity can't be had"),
    }
    let words = way.as_ref().map(|way| way.access.way.label().to_lowercase()).unwrap_or_default();
    if let Some(way) = way {
        way.tell(run.control, &mut config);
    }
    Ok(Gathered { config, words, delivery: delivery(run, row, step).await? })
}

/// Answers in words with the way that git takes, and with the secrets that were given; a failure is `step`'s.
async fn tell(run: &Run<'_>, host: &HostTarget, step: JobStep, gathered: Gathered) -> Result<(String, Delivery), Halt> {
    let Gathered { mut config, words, delivery } = gathered;
    config.env = delivery.env.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect();
    let command = Command::Configure { pod: run.pod.0, fence: run.lease(), config };
    link::call(run.control, host, command, SHORT).await.map_err(|error| halt(step.key(), error))?;
    Ok((words, delivery))
}

/// The team's secrets. Without them the pod would run into something else than what was asked for.
async fn delivery(run: &Run<'_>, row: &PodRow, step: JobStep) -> Result<Delivery, Halt> {
    secrets::for_pod(run.control, TeamId(row.team_id), row.repository.as_deref()).await.map_err(|error| match error {
        DeliveryError::Database(error) => error.into(),
        DeliveryError::Closed(name) => {
            let remedy = "Replace its value, or ask an operator for the master key that it was sealed with; then retry.";
            Halt::Final(failure(step.key(), "secret_closed", format!("The secret {name} does not open with the server's master key."), remedy))
        }
    })
}

/// Notes what the machine has now: the pod is marked once that is not the latest any more.
async fn given(run: &Run<'_>, delivery: &Delivery) -> Result<(), Halt> {
    let mut tx = run.control.db.begin().await?;
    if !secrets::store::given(&mut tx, run.pod, run.lease(), delivery.seq, &delivery.secrets).await? {
        return Err(Halt::Lost);
    }
    tx.commit().await?;
    Ok(())
}

/// A pod that never started lets go of a host that does not answer: the next try may find another. What it has there goes
/// when the hosts are reconciled.
pub async fn elsewhere(run: &Run<'_>) -> Result<(), Halt> {
    match store::get(&run.control.db, run.pod).await? {
        Some(now) if !now.booted && now.desired() == Desired::Running => run.observe(Seen { release: Release::All, ..Seen::default() }).await,
        Some(_) | None => Ok(()),
    }
}

/// After a failure: CPU and memory are free again; the address and the disk only where no layer was ever started.
pub async fn release(run: &Run<'_>, row: &PodRow) -> Result<Release, Halt> {
    // As it is now: the run may have reserved and booted.
    let Some(now) = store::get(&run.control.db, run.pod).await? else { return Ok(Release::Nothing) };
    let Some(host) = run.host_unless_lost(&now).await?.filter(|_| row.desired() != Desired::Deleted) else { return Ok(Release::Machine) };
    let (pod, fence) = (run.pod.0, run.lease());
    // A restored Postgres may not remember that it was started: the host does.
    let command = if now.booted { Command::Stop { pod, fence } } else { Command::Discard { pod, fence } };
    match link::call(run.control, &host, command, SHORT).await {
        Ok(_) if !now.booted => Ok(Release::All),
        Ok(_) => Ok(Release::Machine),
        // It never started: it may be made on another host. What it has here goes when the hosts are reconciled.
        Err(error) if !now.booted && error.is_unreachable() => {
            tracing::warn!(%error, pod = %run.pod, host = host.name, "a host that does not answer keeps what is left of a pod until it is reconciled");
            Ok(Release::All)
        }
        Err(error) => {
            tracing::warn!(%error, pod = %run.pod, host = host.name, "what a failed pod has on its host stays there until it is reconciled, retried or deleted");
            Ok(Release::Machine)
        }
    }
}
