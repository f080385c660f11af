//! Towards a stopped machine: the sandbox ends, CPU and memory are free again, the layer and its disk stay.

use super::{
    pod::PodJob,
    run::{Halt, Run, halt},
};
use crate::{
    hosts::link,
    pods::store::{PodRow, Release, Seen},
};
use pinacle_app::pods::{PodStatus, timeline::JobStep};
use pinacle_host::protocol::{Command, HostErrorCode};
use std::time::Duration;

const STEP: JobStep = JobStep::Stop;
const DEADLINE: Duration = Duration::from_secs(30);

pub async fn run(job: &PodJob, run: &Run<'_>, row: &PodRow) -> Result<(), Halt> {
    let mut release = Release::Machine;
    if let Some(host) = run.host_unless_lost(row).await? {
        run.observe(Seen { status: Some(PodStatus::Stopping), failure: Some(None), waiting_for: Some(None), ..Seen::default() }).await?;
        let _place = job.place(host.id).await?;
        let command = Command::Stop { pod: run.pod.0, fence: run.lease() };
        let stop = async {
            match link::call(run.control, &host, command, DEADLINE).await {
                Ok(_) => Ok((Release::Machine, String::new())),
                // It never started: what a silent host has of it goes when the hosts are reconciled.
                Err(error) if !row.booted && error.is_unreachable() => Ok((Release::All, String::new())),
                // It was never made there: stopped all the same.
                Err(error) if error.host_code() == Some(HostErrorCode::NoSuchPod) => Ok((Release::Machine, String::new())),
                Err(error) => Err(halt(STEP.key(), error)),
            }
        };
        release = run.step(STEP, &host.name, stop).await?;
    }
    run.observe(Seen {
        status: Some(PodStatus::Stopped),
        generation: Some(run.generation),
        failure: Some(None),
        waiting_for: Some(None),
        release,
        ..Seen::default()
    })
    .await
}
