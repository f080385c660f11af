//! The jobs that the clock sends: looking at hosts, finding what is behind, housekeeping.

use super::{check_hosts, reconcile, sweep};
use crate::{
    control::ControlPlane,
    db::Db,
    hosts::{self, link},
    queue::{self, Job, JobContext, Message, Outcome},
};
use async_trait::async_trait;
use pinacle_app::ids::HostId;
use pinacle_host::protocol::Command;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const REMOVE_DEADLINE: Duration = Duration::from_secs(30);
const TICK: Duration = Duration::from_secs(1);
/// The log of a deleted pod is kept this long.
const KEEP_LOG_DAYS: i32 = 30;

pub struct FleetJob {
    control: ControlPlane,
}

impl FleetJob {
    pub fn new(control: ControlPlane) -> Self {
        Self { control }
    }

    async fn maintain(&self) -> Result<(), sqlx::Error> {
        queue::maintain(&self.control.db).await?;
        crate::pods::store::forget_idempotency_keys(&self.control.db).await?;
        crate::pods::event_store::forget(&self.control.db, KEEP_LOG_DAYS).await?;
        crate::secrets::store::forget_changes(&self.control.db).await?;
        Ok(())
    }
}

fn job_of(message: &Message) -> Option<&str> {
    message.headers.as_ref()?.get("job")?.as_str()
}

/// Removes a disk that was set aside, unless somebody has adopted it since.
async fn remove_orphan(control: &ControlPlane, lease: i64, message: &Message) -> Outcome {
    let id = |name: &str| message.message.get(name).and_then(|id| id.as_str()).and_then(|id| id.parse::<Uuid>().ok());
    let (Some(host), Some(pod)) = (id("host_id"), id("pod_id")) else { return Outcome::Failed("the message names no disk".to_owned()) };
    let asked = async {
        if !crate::pods::store::known(&control.db, &[pod]).await?.is_empty() {
            return Ok(None);
        }
        hosts::store::target(&control.db, HostId(host)).await
    };
    match asked.await {
        Ok(None) => Outcome::Done,
        Ok(Some(target)) => match link::call(control, &target, Command::Delete { pod, fence: lease }, REMOVE_DEADLINE).await {
            Ok(_) => Outcome::Done,
            Err(error) => Outcome::Failed(error.to_string()),
        },
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

/// As an operator has asked for; what a host does not answer is tried again.
async fn set_aside(control: &ControlPlane, lease: i64, message: &Message) -> Outcome {
    let id = message.message.get("host_id").and_then(|id| id.as_str()).and_then(|id| id.parse::<Uuid>().ok());
    let Some(id) = id else { return Outcome::Failed("the message names no host".to_owned()) };
    let done = match hosts::store::target(&control.db, HostId(id)).await {
        Ok(Some(host)) => reconcile::set_aside(control, &host, lease).await,
        Ok(None) => Ok(()),
        Err(error) => Err(error.to_string()),
    };
    done.map_or_else(Outcome::Failed, |()| Outcome::Done)
}

#[async_trait]
impl Job for FleetJob {
    async fn run(&self, context: &JobContext, message: &Message) -> Outcome {
        let done = match job_of(message) {
            Some(hosts::REMOVE_ORPHAN_JOB) => return remove_orphan(&self.control, context.lease, message).await,
            Some(hosts::SET_ASIDE_JOB) => return set_aside(&self.control, context.lease, message).await,
            Some(hosts::CHECK_JOB) => check_hosts::run(&self.control).await,
            Some("sweep") => sweep::run(&self.control).await,
            Some("reconcile") => reconcile::run(&self.control, context.lease).await,
            Some("maintain") => self.maintain().await,
            other => {
                tracing::warn!(job = other, "no such job; a newer server may have sent it");
                Ok(())
            }
        };
        match done {
            Ok(()) => Outcome::Done,
            Err(error) => Outcome::Failed(error.to_string()),
        }
    }

    /// The clock sends the next one.
    async fn dead(&self, _context: &JobContext, message: &Message, error: &str) {
        tracing::warn!(job = message.key, error, "a job of the clock failed");
    }
}

/// Sends what is due, once a second; among several processes each message is sent once.
pub async fn clock(db: Db, stop: CancellationToken) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = queue::send_due(&db).await {
            tracing::warn!(%error, "what is due could not be sent");
        }
    }
}
