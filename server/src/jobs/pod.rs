//! The one job of a pod. Level-triggered: read the row, take the next steps towards what is wished, until the newest
//! wish is answered.

use super::{
    cleanup_pod, provision_pod,
    run::{Halt, Run, UNREACHABLE, failure},
    set_up_pod, stop_pod,
};
use crate::{
    control::ControlPlane,
    pods::{
        store::{self, PodRow, Release, Seen},
        wishes,
    },
    queue::{self, Job, JobContext, Message, Outcome},
};
use async_trait::async_trait;
use pinacle_app::{
    ids::{HostId, PodId},
    pods::{Desired, Failure, PodStatus, timeline},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use time::OffsetDateTime;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// Wishes that one run answers; a user who wishes faster gets another run.
const WISHES_A_RUN: usize = 20;
/// How long a job waits for a place on a host before it lets others go first.
const PLACE_PATIENCE: Duration = Duration::from_secs(2);
const PLACE_AGAIN: Duration = Duration::from_secs(1);
/// How soon a job looks again whose database was away.
const DATABASE_AGAIN: Duration = Duration::from_secs(2);
/// A pod that finds no room for this long has failed.
pub const QUEUED_AT_MOST: Duration = Duration::from_secs(600);

pub struct PodJob {
    control: ControlPlane,
    places: Mutex<HashMap<HostId, Arc<Semaphore>>>,
}

enum Progress {
    /// The newest wish is answered.
    Settled,
    /// There may be a newer one.
    LookAgain,
}

impl PodJob {
    pub fn new(control: ControlPlane) -> Self {
        Self { control, places: Mutex::default() }
    }

    /// One of the jobs that may work on this host at the same time.
    pub(super) async fn place(&self, host: HostId) -> Result<OwnedSemaphorePermit, Halt> {
        let places = {
            let mut all = self.places.lock().unwrap_or_else(PoisonError::into_inner);
            let limit = usize::try_from(self.control.config.jobs_per_host).unwrap_or(1);
            Arc::clone(all.entry(host).or_insert_with(|| Arc::new(Semaphore::new(limit))))
        };
        match timeout(PLACE_PATIENCE, places.acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(Halt::Later { after: PLACE_AGAIN, why: None }),
        }
    }

    /// `last` is how often the message was read, where that was the last time.
    async fn once(&self, context: &JobContext, id: PodId, last: Option<i32>) -> Result<Progress, Halt> {
        let claimed = {
            let mut connection = self.control.db.acquire().await?;
            store::claim(&mut connection, id, context.lease).await?
        };
        let Some(row) = claimed else {
            return if store::get(&self.control.db, id).await?.is_some() { Err(Halt::Lost) } else { Ok(Progress::Settled) };
        };
        if row.status() == PodStatus::Deleted || !(row.is_behind() || set_up_pod::is_due(&row)) {
            return Ok(Progress::Settled);
        }
        let run = Run { control: &self.control, context, pod: id, generation: row.generation };
        let result = self.towards(&run, &row).await;
        match result {
            Ok(()) => {}
            Err(Halt::Newer) => return Ok(Progress::LookAgain),
            Err(Halt::Later { after, why }) => return self.later(&run, &row, after, why).await,
            Err(Halt::Final(failure)) => fail(&run, &row, failure, 1).await?,
            Err(Halt::Again(failure)) => match run.still_wished().await {
                // The tries of an older wish say nothing of a newer one.
                Err(Halt::Newer) => return Ok(Progress::LookAgain),
                Err(halt) => return Err(halt),
                Ok(()) => {
                    match last {
                        Some(tries) => fail(&run, &row, failure.clone(), tries).await?,
                        None if failure.code == UNREACHABLE => provision_pod::elsewhere(&run).await?,
                        None => {}
                    }
                    return Err(Halt::Again(failure));
                }
            },
            Err(halt) => return Err(halt),
        }
        Ok(Progress::LookAgain)
    }

    async fn towards(&self, run: &Run<'_>, row: &PodRow) -> Result<(), Halt> {
        match row.desired() {
            Desired::Deleted => cleanup_pod::run(self, run, row).await,
            Desired::Stopped => stop_pod::run(self, run, row).await,
            Desired::Running => {
                let host = provision_pod::run(self, run, row).await?;
                set_up_pod::run(run, &host).await
            }
        }
    }

    /// Not now: the pod says what it waits for, and fails when it has waited long enough.
    async fn later(&self, run: &Run<'_>, row: &PodRow, after: Duration, why: Option<String>) -> Result<Progress, Halt> {
        if let Some(why) = &why {
            if row.waiting_since.is_some_and(|since| OffsetDateTime::now_utc() - since > QUEUED_AT_MOST) {
                let remedy = "Retry later, choose a smaller tier, or ask an operator for another host.";
                let mut failure = failure("reserve", "no_capacity", format!("No room for 10 minutes: {why}."), remedy);
                failure.tried = "Every few seconds for 10 minutes".to_owned();
                fail(run, row, failure, 1).await?;
                return Ok(Progress::LookAgain);
            }
            if row.status() != PodStatus::Queued || row.waiting_for.as_ref() != Some(why) {
                run.observe(Seen { status: Some(PodStatus::Queued), failure: Some(None), waiting_for: Some(Some(why)), ..Seen::default() }).await?;
            }
        }
        Err(Halt::Later { after, why })
    }
}

/// Ends a wish that can't be fulfilled: a machine step makes the pod `failed`, a set-up step its set-up.
async fn fail(run: &Run<'_>, row: &PodRow, mut failure: Failure, tries: i32) -> Result<(), Halt> {
    let seconds = (OffsetDateTime::now_utc() - row.wished_at).whole_seconds().max(0);
    if failure.tried.is_empty() {
        failure.tried = if tries > 1 { format!("{tries} tries over {seconds} s") } else { "1 try; trying again would not have helped".to_owned() };
    }
    let is_setup = timeline::STEPS.iter().any(|(step, _, part)| *step == failure.step && *part == timeline::Part::Setup);
    if is_setup {
        return set_up_pod::fail(run, failure).await;
    }
    let seen = Seen {
        status: Some(PodStatus::Failed),
        generation: Some(run.generation),
        failure: Some(Some(&failure)),
        waiting_for: Some(None),
        release: provision_pod::release(run, row).await?,
        ..Seen::default()
    };
    run.observe(seen).await
}

/// The pod that a message is about. It stands under that pod's key, or two jobs could work on one pod.
fn pod_of(message: &Message) -> Option<PodId> {
    let id = message.message.get("pod_id")?.as_str()?.parse().ok()?;
    (message.key == Some(wishes::key(id))).then_some(id)
}

#[async_trait]
impl Job for PodJob {
    async fn run(&self, context: &JobContext, message: &Message) -> Outcome {
        let Some(id) = pod_of(message) else { return Outcome::Failed("the message names no pod".to_owned()) };
        let mut last = (message.read_ct >= message.max_reads).then_some(message.read_ct);
        for _ in 0..WISHES_A_RUN {
            match self.once(context, id, last).await {
                Ok(Progress::Settled) => return Outcome::Done,
                // What comes now is another wish, with tries of its own.
                Ok(Progress::LookAgain) | Err(Halt::Newer) => last = None,
                Err(Halt::Later { after, .. }) => return Outcome::Later(after),
                Err(Halt::Lost) => return Outcome::Failed("a newer lease works on this pod".to_owned()),
                // Not a try of this pod's: it goes on when the database is back.
                Err(Halt::Database(error)) if crate::db::is_away(&error) => return Outcome::Later(DATABASE_AGAIN),
                Err(Halt::Database(error)) => {
                    tracing::error!(%error, %id, "what a job saw could not be written");
                    return Outcome::Failed("what it saw could not be written".to_owned());
                }
                Err(Halt::Again(why) | Halt::Final(why)) => return Outcome::Failed(format!("{}: {}", why.step, why.message)),
            }
        }
        Outcome::Later(PLACE_AGAIN)
    }

    /// Where the tries ended without a failure that was written, as when the worker died each time.
    async fn dead(&self, context: &JobContext, message: &Message, error: &str) {
        let Some(id) = pod_of(message) else { return };
        if let Err(halt) = self.give_up(context, id, message, error).await {
            tracing::error!(?halt, %id, "a pod's failure could not be written; the sweep takes it up");
        }
    }
}

impl PodJob {
    async fn give_up(&self, context: &JobContext, id: PodId, message: &Message, error: &str) -> Result<(), Halt> {
        let mut connection = self.control.db.acquire().await?;
        // A newer wish has a message of its own, and all of its tries.
        if queue::waits(&mut connection, &message.queue, message.key.as_deref()).await? {
            return Ok(());
        }
        drop(connection);
        let Some(row) = store::get(&self.control.db, id).await? else { return Ok(()) };
        let run = Run { control: &self.control, context, pod: id, generation: row.generation };
        let mut why =
            failure("job", "job_failed", format!("The work on this pod was given up: {error}."), "Retry. If it fails again, tell an operator.");
        why.tried = format!("{} tries", message.read_ct);
        if row.is_behind() && row.status() != PodStatus::Deleted {
            let seen = Seen {
                status: Some(PodStatus::Failed),
                generation: Some(row.generation),
                failure: Some(Some(&why)),
                waiting_for: Some(None),
                release: Release::Machine,
                ..Seen::default()
            };
            run.observe(seen).await
        } else if set_up_pod::is_due(&row) {
            set_up_pod::fail(&run, why).await
        } else {
            Ok(())
        }
    }
}
