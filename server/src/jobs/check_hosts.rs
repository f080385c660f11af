//! Asks every host how it is. One that answers is reachable for the next 30 s; one that shows another key is refused,
//! and the key is shown to operators; pods that failed only because their host was silent are looked at again.

use crate::{
    control::ControlPlane,
    hosts::{
        HostTarget, SILENT_AFTER,
        link::{self, LinkError},
        store,
    },
    pods::{self, wishes},
    ssh::SshError,
};
use futures::StreamExt;
use pinacle_app::{ids::HostId, pods::Desired};
use pinacle_host::protocol::{Command, Inventory, Reply};
use std::time::Duration;
use time::OffsetDateTime;

const DEADLINE: Duration = Duration::from_secs(6);
/// Hosts that are asked at the same time.
const AT_ONCE: usize = 32;
/// A pod that failed because its host did not answer is tried again no sooner, though the host answers this check.
const AGAIN_AFTER: Duration = Duration::from_secs(30);
/// Watchers are told for this long after a host has fallen silent: longer than the time between two checks.
const TELL_SILENCE: Duration = Duration::from_secs(15);

pub async fn run(control: &ControlPlane) -> Result<(), sqlx::Error> {
    let hosts = store::targets(&control.db).await?;
    let checks = futures::stream::iter(hosts.into_iter().map(|host| async move {
        let answered = link::call(control, &host, Command::Inventory, DEADLINE).await;
        note(control, &host, answered).await
    }));
    let results: Vec<Result<(), sqlx::Error>> = checks.buffer_unordered(AT_ONCE).collect().await;
    results.into_iter().collect()
}

async fn note(control: &ControlPlane, host: &HostTarget, answered: Result<Reply, LinkError>) -> Result<(), sqlx::Error> {
    match answered {
        Ok(Reply::Inventory(inventory)) => heard(control, host, &inventory).await,
        Ok(other) => {
            tracing::warn!(host = host.name, answer = ?other, "a host answered something else than its inventory");
            Ok(())
        }
        Err(LinkError::Ssh(SshError::HostKeyChanged { algorithm, key, fingerprint })) => {
            tracing::error!(host = host.name, fingerprint, "refused a host that shows another key than the one it joined with");
            store::offer_key(&control.db, host.id, &algorithm, &key).await?;
            silent(control, host.id).await
        }
        Err(error) => {
            tracing::warn!(host = host.name, %error, "a host does not answer");
            silent(control, host.id).await
        }
    }
}

async fn heard(control: &ControlPlane, host: &HostTarget, inventory: &Inventory) -> Result<(), sqlx::Error> {
    let was_silent = store::last_seen(&control.db, host.id).await?.is_some_and(|(_, reachable)| !reachable);
    let mut tx = control.db.begin().await?;
    store::heard_from(&mut tx, host.id, inventory).await?;
    if was_silent {
        tracing::info!(host = host.name, "a host answers again");
        tell(&mut tx, host.id).await?;
    }
    tx.commit().await?;
    if was_silent {
        control.host_back.notify_one();
    }
    let ago = if was_silent { Duration::ZERO } else { AGAIN_AFTER };
    for pod in pods::store::failed_by_silence(&control.db, host.id, ago).await? {
        let mut tx = control.db.begin().await?;
        pods::store::look_again(&mut tx, pod).await?;
        wishes::enqueue(&mut tx, pod, wishes::job_name(Desired::Running, true), wishes::SWEPT).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// Whoever watches a pod of this host hears that it is silent.
async fn silent(control: &ControlPlane, id: HostId) -> Result<(), sqlx::Error> {
    let Some(seen) = store::last_seen(&control.db, id).await?.and_then(|(at, _)| at) else { return Ok(()) };
    let age = OffsetDateTime::now_utc() - seen;
    if age < SILENT_AFTER || age > SILENT_AFTER + TELL_SILENCE {
        return Ok(());
    }
    let mut tx = control.db.begin().await?;
    tell(&mut tx, id).await?;
    tx.commit().await
}

async fn tell(connection: &mut sqlx::PgConnection, id: HostId) -> Result<(), sqlx::Error> {
    for pod in pods::store::ids_on_host(connection, id).await? {
        pods::tell(connection, pod).await?;
    }
    Ok(())
}
