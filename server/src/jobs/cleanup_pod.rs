//! Towards nothing: everything of the pod goes from its host, then its reservation; the row stays for the record.

use super::{
    pod::PodJob,
    run::{Halt, Run, halt},
};
use crate::{
    hosts::link,
    pods::store::{PodRow, Release, Seen},
};
use pinacle_app::pods::PodStatus;
use pinacle_host::protocol::Command;
use std::time::Duration;

pub const STEP: &str = "delete";
const DEADLINE: Duration = Duration::from_secs(60);

pub async fn run(job: &PodJob, run: &Run<'_>, row: &PodRow) -> Result<(), Halt> {
    run.observe(Seen { status: Some(PodStatus::Deleting), failure: Some(None), waiting_for: Some(None), ..Seen::default() }).await?;
    if let Some(host) = run.host_unless_lost(row).await? {
        let _place = job.place(host.id).await?;
        let command = Command::Delete { pod: run.pod.0, fence: run.lease() };
        let delete =
            async { link::call(run.control, &host, command, DEADLINE).await.map(|_| ((), String::new())).map_err(|error| halt(STEP, error)) };
        run.step(STEP, &host.name, delete).await?;
    }
    run.observe(Seen {
        status: Some(PodStatus::Deleted),
        generation: Some(run.generation),
        failure: Some(None),
        waiting_for: Some(None),
        release: Release::All,
        ..Seen::default()
    })
    .await
}
