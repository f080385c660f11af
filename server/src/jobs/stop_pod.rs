//! Towards a stopped machine: the sandbox ends, CPU and memory are free again, the layer and its disk stay.

use super::{
    pod::PodJob,
    run::{Halt, Run, halt},
};
use crate::{
    hosts::{self, link},
    pods::store::{self, PodRow, Seen},
};
use pinacle_app::{ids::HostId, pods::PodStatus};
use pinacle_host::protocol::{Command, HostErrorCode};
use std::time::Duration;

pub const STEP: &str = "stop";
const DEADLINE: Duration = Duration::from_secs(30);

pub async fn run(job: &PodJob, run: &Run<'_>, row: &PodRow) -> Result<(), Halt> {
    let host = match row.host_id.filter(|_| row.host_state.as_deref() != Some("lost")) {
        Some(id) => hosts::store::target(&run.control.db, HostId(id)).await?,
        None => None,
    };
    if let Some(host) = host {
        run.observe(Seen { status: Some(PodStatus::Stopping), failure: Some(None), waiting_for: Some(None), ..Seen::default() }).await?;
        let _place = job.place(host.id).await?;
        let command = Command::Stop { pod: run.pod.0, fence: run.lease() };
        let stop = async {
            match link::call(run.control, &host, command, DEADLINE).await {
                Ok(_) => Ok(((), String::new())),
                // It was never made there: stopped all the same.
                Err(error) if error.host_code() == Some(HostErrorCode::NoSuchPod) => Ok(((), String::new())),
                Err(error) => Err(halt(STEP, error)),
            }
        };
        run.step(STEP, &host.name, stop).await?;
    }
    let mut tx = run.control.db.begin().await?;
    store::release_machine(&mut tx, run.pod).await?;
    tx.commit().await?;
    run.observe(Seen {
        status: Some(PodStatus::Stopped),
        generation: Some(run.generation),
        failure: Some(None),
        waiting_for: Some(None),
        booted: false,
    })
    .await
}
