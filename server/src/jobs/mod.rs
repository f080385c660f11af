//! Jobs: the only code that acts on hosts. One file a job.

mod ask_public_keys;
mod check_hosts;
mod cleanup_pod;
mod fleet;
mod github;
mod pod;
mod provision_pod;
mod reconcile;
mod remove_deploy_key;
mod run;
mod set_up_pod;
mod setup;
mod stop_pod;
mod sweep;

use crate::{
    control::ControlPlane,
    hosts,
    pods::{self, wishes},
    queue::Worker,
};
use std::{sync::Arc, time::Duration};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Jobs of the fleet's queue at the same time: they are few and short.
const FLEET_JOBS: usize = 4;
/// Calls of GitHub that nobody waits for, at the same time.
const GITHUB_JOBS: usize = 4;

/// What a killed worker had of the fleet's queue is free again after this long: a check of the hosts must not be missed for
/// so long that they all count as silent.
const FLEET_VISIBILITY: Duration = Duration::from_secs(10);

/// Works off all queues until `stop`, then lets running jobs end or hands them back.
pub async fn work(control: ControlPlane, stop: CancellationToken) {
    let name = format!("{}-{}", std::process::id(), Uuid::now_v7().simple());
    let visibility = Duration::from_secs(control.config.visibility_seconds.into());
    let worker = |queue: &'static str, concurrency: usize, visibility: Duration, job: Arc<dyn crate::queue::Job>| Worker {
        db: control.db.clone(),
        queue,
        name: format!("{queue}-{name}"),
        concurrency,
        visibility,
        job,
    };
    let pods = worker(wishes::QUEUE, usize::try_from(control.config.jobs).unwrap_or(1), visibility, Arc::new(pod::PodJob::new(control.clone())));
    let fleet = worker(hosts::FLEET_QUEUE, FLEET_JOBS, FLEET_VISIBILITY.min(visibility), Arc::new(fleet::FleetJob::new(control.clone())));
    let github = worker(pods::keys::QUEUE, GITHUB_JOBS, visibility, Arc::new(github::GitHubJob::new(control.clone())));
    // After a long time without a worker the archive has no part for this month, which the first ended message would need.
    if let Err(error) = crate::queue::maintain(&control.db).await {
        tracing::warn!(%error, "the queue's archive could not be put in order; its daily job tries again");
    }
    let mut all = JoinSet::new();
    all.spawn(pods.run(stop.clone()));
    all.spawn(fleet.run(stop.clone()));
    all.spawn(github.run(stop.clone()));
    all.spawn(fleet::clock(control.db.clone(), stop));
    // It outlives the stop: what ends in order may still sign in.
    let listening = CancellationToken::new();
    let listener = tokio::spawn(hosts::questions::listen(control, listening.clone()));
    while all.join_next().await.is_some() {}
    listening.cancel();
    if let Err(error) = listener.await {
        tracing::error!(%error, "listening to hosts ended by a fault");
    }
}
