//! What is live: a pod with its log and what runs in it, and the list. Fed by news; every piece is read under the
//! caller's rights again, so a watcher that lost them hears nothing more.

use super::{answer, event_store, store};
use crate::{
    control::ControlPlane,
    hosts::{
        HostTarget,
        link::{self, Received, StreamReader, StreamWriter},
    },
    news::Change,
    ssh::Class,
};
use futures::{StreamExt, stream::BoxStream};
use pinacle_app::{
    AppError, AppResult,
    backend::Caller,
    ids::{HostId, PodId},
    pods::{ListeningPort, Pod, PodLive, PodNews, PodQuery, PodStatus, Process},
};
use pinacle_host::protocol::{Command, PodReport, ProcessState, StreamOutput};
use std::{collections::HashSet, time::Duration};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    time::{sleep, timeout},
};

/// News on their way to one watcher; a slow one holds up its own stream, nobody else's.
const ON_THE_WAY: usize = 64;
/// Log rows read at once.
const EVENTS: i64 = 500;
/// A pod that was watched but did not answer is asked again after this long.
const WATCH_AGAIN: Duration = Duration::from_secs(3);
const REPORT_DEADLINE: Duration = Duration::from_secs(10);
/// Pods that a list's watcher is told of after news may have been lost.
const LIST: i64 = 100;

fn receiver<T: Send + 'static>(from: mpsc::Receiver<T>) -> BoxStream<'static, T> {
    futures::stream::unfold(from, |mut from| async move { from.recv().await.map(|item| (item, from)) }).boxed()
}

/// The pod, its log after `after`, and what runs in it; ends when the pod is deleted or its watcher has left or lost the right.
pub fn watch_pod(control: ControlPlane, caller: Caller, id: PodId, after: i64) -> BoxStream<'static, PodNews> {
    let (sender, news) = mpsc::channel(ON_THE_WAY);
    tokio::spawn(async move {
        tokio::select! {
            ended = follow_pod(&control, &caller, id, after, &sender) => {
                if let Err(error) = ended {
                    tracing::debug!(%error, %id, "a watcher's stream ended");
                }
            }
            () = follow_live(&control, &caller, id, &sender) => {}
            () = sender.closed() => {}
        }
    });
    receiver(news)
}

/// Ends when the watcher is gone or the pod is; an error says that the right to it is lost.
async fn follow_pod(control: &ControlPlane, caller: &Caller, id: PodId, mut after: i64, to: &mpsc::Sender<PodNews>) -> AppResult<()> {
    // Subscribed before the first read, so that nothing falls between.
    let mut changes = control.news.subscribe();
    let (mut pod_changed, mut log_grew) = (true, true);
    let mut team = None;
    loop {
        let mut deleted = false;
        if pod_changed {
            let pod = Pod::from(control.pod_row(caller, id).await?);
            deleted = pod.status == PodStatus::Deleted;
            team = Some(pod.team_id);
            if to.send(PodNews::Pod { pod: Box::new(pod) }).await.is_err() {
                return Ok(());
            }
        }
        while log_grew {
            let events = event_store::after(&control.db, id, after, EVENTS).await.map_err(crate::db::fault)?;
            log_grew = events.len() == usize::try_from(EVENTS).unwrap_or(0);
            for event in events {
                after = event.seq;
                if to.send(PodNews::Event { event }).await.is_err() {
                    return Ok(());
                }
            }
        }
        if deleted {
            return Ok(());
        }
        (pod_changed, log_grew) = (false, false);
        while !pod_changed && !log_grew {
            match changes.next().await {
                None => return Ok(()),
                Some(Change::Missed) => (pod_changed, log_grew) = (true, true),
                Some(Change::Pod { pod: changed, .. }) => pod_changed = changed == id,
                Some(Change::Events(changed)) => log_grew = changed == id,
                // The right to it is looked at again.
                Some(Change::Left { user, .. }) => pod_changed = user == caller.user,
                Some(Change::Secrets(changed)) => pod_changed = team == Some(changed),
                Some(Change::Team(_) | Change::Joined { .. } | Change::SessionEnded(_) | Change::SessionsEnded(_) | Change::TokenEnded(_)) => {}
            }
        }
    }
}

/// Processes, ports and meters while the pod runs; asked for again whenever the stream from its host breaks. Never ends by itself.
async fn follow_live(control: &ControlPlane, caller: &Caller, id: PodId, to: &mpsc::Sender<PodNews>) {
    let mut changes = control.news.subscribe();
    loop {
        match open_watch(control, caller, id).await {
            Ok(Some((mut reader, _writer))) => {
                while let Ok(Received::Message(StreamOutput::Report(report))) = reader.next().await {
                    // Never waited for: that would hold up the connection to the host, and with it everybody's terminals
                    // there. A newer report follows.
                    if let Err(TrySendError::Closed(_)) = to.try_send(PodNews::Live { live: Box::new(live_of(*report)) }) {
                        return;
                    }
                }
                // What breaks at once is not asked for in a loop.
                sleep(WATCH_AGAIN).await;
            }
            // Not running: until something changes.
            Ok(None) => {
                let mut changed = false;
                while !changed {
                    match changes.next().await {
                        None => return,
                        Some(Change::Pod { pod: other, .. }) => changed = other == id,
                        Some(change) => changed = change == Change::Missed,
                    }
                }
            }
            Err(error) => {
                tracing::debug!(%error, %id, "a running pod could not be watched");
                sleep(WATCH_AGAIN).await;
            }
        }
    }
}

async fn open_watch(control: &ControlPlane, caller: &Caller, id: PodId) -> AppResult<Option<(StreamReader, StreamWriter)>> {
    let row = control.pod_row(caller, id).await?;
    let (PodStatus::Running, Some(host)) = (row.status(), row.host_id) else { return Ok(None) };
    let host = crate::hosts::store::target(&control.db, HostId(host)).await.map_err(crate::db::fault)?.ok_or_else(AppError::internal)?;
    link::stream(control, &host, Class::Interactive, Command::Watch { pod: id.0 }).await.map(Some).map_err(answer)
}

/// One report.
pub async fn live(control: &ControlPlane, host: &HostTarget, id: PodId) -> AppResult<PodLive> {
    let (mut reader, _writer) = link::stream(control, host, Class::Interactive, Command::Watch { pod: id.0 }).await.map_err(answer)?;
    match timeout(REPORT_DEADLINE, reader.next()).await {
        Ok(Ok(Received::Message(StreamOutput::Report(report)))) => Ok(live_of(*report)),
        Ok(Err(error)) => Err(answer(error)),
        Ok(Ok(_)) | Err(_) => Err(answer(link::LinkError::Timeout(REPORT_DEADLINE))),
    }
}

fn live_of(report: PodReport) -> PodLive {
    let process = |p: pinacle_host::protocol::ProcessReport| {
        let (state, restart_in) = match p.state {
            ProcessState::Starting => ("starting", None),
            ProcessState::Running => ("running", None),
            ProcessState::BackingOff { seconds } => ("backing_off", Some(seconds)),
        };
        Process {
            name: p.name,
            command: p.command,
            port: p.port,
            state: state.to_owned(),
            restart_in,
            up_seconds: p.up_seconds,
            restarts: p.restarts,
            exit_code: p.exit_code,
            health: p.health,
        }
    };
    PodLive {
        cpu_milli: report.usage.cpu_milli,
        memory_bytes: report.usage.memory_bytes,
        disk_bytes: report.usage.disk_bytes,
        processes: report.processes.into_iter().map(process).collect(),
        ports: report.ports.into_iter().map(|p| ListeningPort { port: p.port, process: p.process }).collect(),
    }
}

/// Every pod that the caller may see, once now and after each change.
pub fn watch_pods(control: ControlPlane, caller: Caller) -> BoxStream<'static, Pod> {
    let (sender, pods) = mpsc::channel(ON_THE_WAY);
    tokio::spawn(async move {
        let followed = tokio::select! {
            followed = follow_pods(&control, &caller, &sender) => followed,
            () = sender.closed() => Ok(()),
        };
        if let Err(error) = followed {
            tracing::debug!(%error, "a list's stream ended");
        }
    });
    receiver(pods)
}

async fn follow_pods(control: &ControlPlane, caller: &Caller, to: &mpsc::Sender<Pod>) -> Result<(), sqlx::Error> {
    let mut changes = control.news.subscribe();
    let mut change = Change::Missed;
    let mut teams = HashSet::new();
    loop {
        let changed: Vec<Pod> = match change {
            // Whoever watches reads its list anew when this ends: pods of the team that was left are not in it.
            Change::Left { user, .. } if user == caller.user => return Ok(()),
            Change::Joined { user, .. } if user != caller.user => Vec::new(),
            // Whichever pods of the team it is that run with older ones now.
            Change::Secrets(team) if !teams.contains(&team) => Vec::new(),
            Change::Missed | Change::Joined { .. } | Change::Secrets(_) => {
                teams = crate::teams::store::ids(&control.db, caller.user).await?.into_iter().collect();
                store::list_for(&control.db, caller.user, &PodQuery::default(), &[], None, LIST).await?.into_iter().map(Pod::from).collect()
            }
            Change::Pod { pod, team } if teams.contains(&team) => {
                store::get_for(&control.db, pod, caller.user).await?.map(Pod::from).into_iter().collect()
            }
            Change::Pod { .. }
            | Change::Events(_)
            | Change::Team(_)
            | Change::Left { .. }
            | Change::SessionEnded(_)
            | Change::SessionsEnded(_)
            | Change::TokenEnded(_) => Vec::new(),
        };
        for pod in changed {
            if to.send(pod).await.is_err() {
                return Ok(());
            }
        }
        match changes.next().await {
            Some(next) => change = next,
            None => return Ok(()),
        }
    }
}
