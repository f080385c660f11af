//! What a daemon does first: goes on with the sandboxes that run, removes everything of those that do not. A pod of which
//! something cannot be removed is told of, and keeps none of the others from going on.

use super::{Daemon, describe};
use crate::{
    pod::{failed, sandbox, sandbox::Running, short},
    protocol::HostError,
};
use std::{collections::BTreeSet, fs, io, sync::Arc};
use uuid::Uuid;

pub async fn adopt(daemon: &Arc<Daemon>) -> Result<(), HostError> {
    for id in daemon.store.pods().map_err(failed("the host's pods"))? {
        daemon.pod(id);
    }
    let mut adopted = BTreeSet::new();
    for id in traces(daemon).map_err(failed("what an earlier daemon left"))? {
        let place = daemon.place(id);
        match Running::read(&place) {
            Some(running) if running.is_alive() => {
                tracing::info!(pod = %id, generation = running.generation, "adopted");
                adopted.insert(id);
                let (pod, running) = (daemon.pod(id), Arc::new(running));
                pod.running.send_replace(Some(running.clone()));
                daemon.clone().watch_over(pod, running);
            }
            found => {
                if found.is_some()
                    && let Err(error) = note_end(daemon, id)
                {
                    tracing::error!(pod = %id, %error, "why a sandbox ended could not be written down");
                }
                match sandbox::end(&daemon.ground, &daemon.network, &place, &[]).await {
                    Ok(()) => tracing::info!(pod = %id, "swept"),
                    Err(error) => {
                        tracing::error!(pod = %id, %error, output = error.output, "what is left of a sandbox could not be cleared away");
                        *super::locked(&daemon.pod(id).fault) = Some(describe(error));
                    }
                }
            }
        }
    }
    let keep: BTreeSet<String> = adopted.iter().copied().map(short).collect();
    daemon.network.sweep(&keep).await;
    if let Some(joined) = daemon.joined() {
        daemon.network.raise_fence(joined.pod_cidr, &daemon.fenced()).await?;
    }
    Ok(())
}

/// It ran when nobody watched, and has ended since.
fn note_end(daemon: &Daemon, id: Uuid) -> io::Result<()> {
    let starved = daemon.ground.cgroups.ran_out_of_memory(&id.simple().to_string()).unwrap_or(false);
    daemon.store.note_end(id, if starved { "out_of_memory" } else { "crashed" })
}

/// Pods of which there is a bundle or a control group.
fn traces(daemon: &Daemon) -> io::Result<BTreeSet<Uuid>> {
    let mut pods: BTreeSet<Uuid> = daemon.ground.cgroups.pods()?.iter().filter_map(|name| name.parse().ok()).collect();
    for entry in fs::read_dir(daemon.options.run_dir.join("pods"))? {
        pods.extend(entry?.file_name().to_str().and_then(|name| name.parse::<Uuid>().ok()));
    }
    Ok(pods)
}
