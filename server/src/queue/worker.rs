//! The worker loop: reads, runs, keeps leases alive, hands back what it cannot finish.

use super::{Message, store};
use crate::db::Db;
use async_trait::async_trait;
use sqlx::postgres::PgListener;
use std::{collections::HashSet, sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

/// Messages read by one statement.
const BATCH: usize = 128;
/// Jobs that were done and are archived together; also how many may wait for that.
const ENDS: usize = 256;
/// How late work is found whose notification was lost.
const POLL: Duration = Duration::from_secs(1);
/// How long running jobs get to end by themselves before they are handed back.
const DRAIN: Duration = Duration::from_secs(10);
/// First wait after a failure; doubled with each, and spread by up to a half.
const BACKOFF: Duration = Duration::from_secs(2);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// Jobs that only wait for something long, for each one that works.
const LONG_PER_JOB: usize = 8;

/// What becomes of a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// Not now: read again after this long, without counting as a try.
    Later(Duration),
    /// Tried and failed: again after a back-off, until the tries are used up.
    Failed(String),
}

#[async_trait]
pub trait Job: Send + Sync + 'static {
    /// May be dropped at any await, run twice, and run beside a newer wish.
    async fn run(&self, context: &JobContext, message: &Message) -> Outcome;
    /// The tries are used up. `error` is the last one's.
    async fn dead(&self, context: &JobContext, message: &Message, error: &str);
}

/// What a running job has of its worker.
pub struct JobContext {
    /// The fence of everything that this run changes.
    pub lease: i64,
    permit: std::sync::Mutex<Option<OwnedSemaphorePermit>>,
    long: Arc<Semaphore>,
}

impl JobContext {
    /// From here on the job mostly waits: it makes room for another one. The guard is held while it does; None where too
    /// many wait already.
    pub fn enter_long(&self) -> Option<OwnedSemaphorePermit> {
        let long = Arc::clone(&self.long).try_acquire_owned().ok()?;
        let permit = self.permit.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        drop(permit);
        Some(long)
    }
}

pub struct Worker {
    pub db: Db,
    pub queue: &'static str,
    /// Unique among all workers.
    pub name: String,
    /// Jobs at work at the same time.
    pub concurrency: usize,
    pub visibility: Duration,
    pub job: Arc<dyn Job>,
}

impl Worker {
    /// Works until `stop`, then lets running jobs end or hands them back.
    pub async fn run(self, stop: CancellationToken) {
        let worker = Arc::new(self);
        let permits = Arc::new(Semaphore::new(worker.concurrency));
        let long = Arc::new(Semaphore::new(worker.concurrency * LONG_PER_JOB));
        let hand_back = CancellationToken::new();
        let (ends, ended) = mpsc::channel(ENDS);
        let archiving = tokio::spawn(archive_together(worker.db.clone(), worker.queue, ended));
        let mut running = JoinSet::new();
        let mut ears = Ears::default();
        while !stop.is_cancelled() {
            while running.try_join_next().is_some() {}
            let Some(permit) = until(&stop, Arc::clone(&permits).acquire_owned()).await.and_then(Result::ok) else { break };
            let mut free = vec![permit];
            while free.len() < BATCH {
                match Arc::clone(&permits).try_acquire_owned() {
                    Ok(permit) => free.push(permit),
                    Err(_) => break,
                }
            }
            let messages = match worker.next(free.len(), &mut ears, &stop).await {
                Ok(messages) => messages,
                Err(error) => {
                    tracing::warn!(%error, queue = worker.queue, "the queue can't be read");
                    ears = Ears::default();
                    if until(&stop, tokio::time::sleep(POLL)).await.is_none() {
                        break;
                    }
                    continue;
                }
            };
            for (message, permit) in messages.into_iter().zip(free) {
                let context = JobContext { lease: message.lease, permit: std::sync::Mutex::new(Some(permit)), long: Arc::clone(&long) };
                running.spawn(Arc::clone(&worker).work(message, context, hand_back.clone(), ends.clone()));
            }
        }
        if let Err(error) = store::woken(&worker.db, &worker.name).await {
            tracing::debug!(%error, "this worker stays listed as waiting for a moment");
        }
        if timeout(DRAIN, async { while running.join_next().await.is_some() {} }).await.is_err() {
            hand_back.cancel();
            while running.join_next().await.is_some() {}
        }
        // It ends with the last one who could send to it.
        drop(ends);
        if let Err(error) = archiving.await {
            tracing::error!(%error, queue = worker.queue, "what archives the ended jobs broke down");
        }
    }

    /// The next messages, at most `limit`; waits for a notification or the poll when there are none.
    async fn next(&self, limit: usize, ears: &mut Ears, stop: &CancellationToken) -> Result<Vec<Message>, sqlx::Error> {
        let limit = i64::try_from(limit).unwrap_or(1);
        let read = || store::read(&self.db, self.queue, &self.name, self.visibility, limit);
        let messages = read().await?;
        if !messages.is_empty() {
            return Ok(messages);
        }
        ears.open(&self.db).await?;
        store::wait_for_work(&self.db, self.queue, &self.name, 2 * POLL).await?;
        // Once more: what was sent before this worker was listed as waiting has woken nobody.
        let messages = read().await?;
        if messages.is_empty() {
            // Only the waiting is cut short: a read that was dropped would keep its messages from everybody for a while.
            until(stop, ears.hear(POLL)).await.transpose()?;
        }
        Ok(messages)
    }

    async fn work(self: Arc<Self>, message: Message, context: JobContext, hand_back: CancellationToken, ends: mpsc::Sender<End>) {
        let (id, lease) = (message.msg_id, message.lease);
        let ended = if message.read_ct > message.max_reads {
            // Its workers died with it; it is not tried once more.
            Ended::With(Outcome::Failed("the job's worker ended before the job did".to_owned()))
        } else {
            tokio::select! {
                outcome = self.job.run(&context, &message) => Ended::With(outcome),
                () = self.keep(id, lease) => Ended::Lost,
                () = hand_back.cancelled() => Ended::HandedBack,
            }
        };
        let result = match ended {
            Ended::Lost => {
                tracing::warn!(queue = self.queue, key = message.key, lease, "lost the lease of a job; stopped it");
                return;
            }
            Ended::HandedBack => store::release(&self.db, id, lease, Duration::ZERO).await,
            Ended::With(Outcome::Done) => {
                let (archived, answer) = oneshot::channel();
                // Its place is free once its end is on the way; the channel bounds how many those are.
                let sent = ends.send(End { id, lease, archived }).await;
                drop(context);
                match (sent, answer.await) {
                    (Ok(()), Ok(archived)) => Ok(archived),
                    // Logged where it went wrong, once for all of them.
                    _ => return,
                }
            }
            Ended::With(Outcome::Later(delay)) => store::release(&self.db, id, lease, delay).await,
            Ended::With(Outcome::Failed(error)) if message.read_ct >= message.max_reads => {
                tracing::warn!(queue = self.queue, key = message.key, error, "a job failed for good");
                self.job.dead(&context, &message, &error).await;
                store::archive(&self.db, id, lease, Some(&error)).await
            }
            Ended::With(Outcome::Failed(error)) => {
                tracing::info!(queue = self.queue, key = message.key, error, tries = message.read_ct, "a job failed; it is tried again");
                store::fail(&self.db, id, lease, backoff(message.read_ct, rand::random())).await
            }
        };
        match result {
            Ok(true) => {}
            Ok(false) => tracing::warn!(queue = self.queue, key = message.key, lease, "a job ended after its lease was lost"),
            // Its visibility ends, and it is taken up again.
            Err(error) => tracing::warn!(%error, queue = self.queue, key = message.key, "a job's end could not be written"),
        }
    }

    /// Extends the lease for as long as it is ours; returns when it is not.
    async fn keep(&self, id: i64, lease: i64) {
        let mut ticks = interval(self.visibility / 3);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        let mut kept = Instant::now();
        loop {
            ticks.tick().await;
            let asked = Instant::now();
            // A connection that was cut without a word must not hide that the time is up.
            match timeout(self.visibility / 3, store::set_vt(&self.db, id, lease, self.visibility)).await {
                Ok(Ok(true)) => kept = asked,
                Ok(Ok(false)) => return,
                Ok(Err(error)) => tracing::warn!(%error, "a lease could not be extended"),
                Err(_) => tracing::warn!("a lease could not be extended in time"),
            }
            // Somebody else may hold it by now.
            if kept.elapsed() >= self.visibility {
                return;
            }
        }
    }
}

/// A job that was done. The answer is false where its lease was lost.
struct End {
    id: i64,
    lease: i64,
    archived: oneshot::Sender<bool>,
}

/// Archives what has ended by the time that the statement before has: alone at once, under load many with one commit.
async fn archive_together(db: Db, queue: &'static str, mut ended: mpsc::Receiver<End>) {
    let mut ends = Vec::with_capacity(ENDS);
    while ended.recv_many(&mut ends, ENDS).await > 0 {
        let leases: Vec<(i64, i64)> = ends.iter().map(|end| (end.id, end.lease)).collect();
        match store::archive_batch(&db, &leases).await {
            Ok(archived) => {
                let archived: HashSet<i64> = archived.into_iter().collect();
                for end in ends.drain(..) {
                    if end.archived.send(archived.contains(&end.id)).is_err() {
                        tracing::debug!(queue, id = end.id, "a job ended that nobody waits for any more");
                    }
                }
            }
            // Their visibility ends, and they are taken up again.
            Err(error) => tracing::warn!(%error, queue, jobs = ends.len(), "the end of jobs could not be written"),
        }
        ends.clear();
    }
}

enum Ended {
    With(Outcome),
    Lost,
    HandedBack,
}

/// A connection of its own that hears notifications; made again after a fault.
#[derive(Default)]
struct Ears(Option<PgListener>);

impl Ears {
    async fn open(&mut self, db: &Db) -> Result<(), sqlx::Error> {
        if self.0.is_none() {
            let options = (*db.connect_options()).clone();
            let pool = sqlx::postgres::PgPoolOptions::new().max_connections(1).connect_with(options).await?;
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.listen(store::CHANNEL).await?;
            self.0 = Some(listener);
        }
        Ok(())
    }

    /// Returns with the next notification (of any queue), when the connection was lost, or after `patience`.
    async fn hear(&mut self, patience: Duration) -> Result<(), sqlx::Error> {
        if let Some(listener) = &mut self.0
            && let Ok(heard) = timeout(patience, listener.try_recv()).await
        {
            heard?;
        }
        Ok(())
    }
}

async fn until<T>(stop: &CancellationToken, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        result = work => Some(result),
    }
}

/// How long to wait after the `tries`-th failure; `chance` spreads those that failed together.
fn backoff(tries: i32, chance: f64) -> Duration {
    let doubled = BACKOFF.saturating_mul(1 << tries.clamp(1, 10).saturating_sub(1));
    doubled.min(BACKOFF_MAX).mul_f64(1.0 + chance.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_after_a_failure_doubles_up_to_its_limit() {
        assert_eq!(backoff(1, 0.0), Duration::from_secs(2));
        assert_eq!(backoff(3, 0.0), Duration::from_secs(8));
        assert_eq!(backoff(1, 1.0), Duration::from_secs(3));
        assert_eq!(backoff(60, 0.0), BACKOFF_MAX);
    }
}
