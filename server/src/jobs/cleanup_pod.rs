//! Towards nothing: the pod's key goes, everything of it goes from its host, then its reservation; the row stays for the record.

use super::{
    pod::PodJob,
    run::{Halt, Run, halt},
};
use crate::{
    hosts::link,
    pods::{
        keys,
        store::{self, PodRow, Release, Seen},
    },
};
use pinacle_app::pods::{PodStatus, timeline::JobStep};
use pinacle_host::protocol::Command;
use std::time::Duration;

const STEP: JobStep = JobStep::Delete;
const DEADLINE: Duration = Duration::from_secs(60);

pub async fn run(job: &PodJob, run: &Run<'_>, row: &PodRow) -> Result<(), Halt> {
    run.observe(Seen { status: Some(PodStatus::Deleting), failure: Some(None), waiting_for: Some(None), ..Seen::default() }).await?;
    forget_key(run).await?;
    if let Some(host) = run.host_unless_lost(row).await? {
        let _place = job.place(host.id).await?;
        let command = Command::Delete { pod: run.pod.0, fence: run.lease() };
        let delete =
            async { link::call(run.control, &host, command, DEADLINE).await.map(|_| ((), String::new())).map_err(|error| halt(STEP.key(), error)) };
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

/// From here on the pod can reach its repository no more, also where its host is silent.
async fn forget_key(run: &Run<'_>) -> Result<(), Halt> {
    let mut tx = run.control.db.begin().await?;
    if store::hold(&mut tx, run.pod, run.lease()).await?.is_none() {
        return Err(Halt::Lost);
    }
    keys::remove(&mut tx, run.pod).await?;
    Ok(tx.commit().await?)
}
