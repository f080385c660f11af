//! The queue against a plain model in memory: random orders of everything that senders and workers do, what goes wrong
//! included. After each step the tables must hold what the model holds, and whoever listens have heard what it says. Then the
//! workers themselves, while their connections are cut.
//!
//! Time is moved in the rows, not slept through. `PROPTEST_RNG_SEED` repeats a run, `PROPTEST_CASES` says how many.

use crate::{database::Database, stand::program};
use async_trait::async_trait;
use pinacle_app::ids::PodId;
use pinacle_server::{
    db::{Db, is_away},
    pods::wishes,
    queue::{self, Job, JobContext, Message, NewMessage, Outcome, Worker},
};
use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed, TestCaseError, TestRunner},
};
use serde_json::json;
use sqlx::postgres::{PgListener, PgPoolOptions};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs::File,
    future::poll_fn,
    path::Path,
    pin::{Pin, pin},
    process::{Child, Stdio},
    slice,
    sync::{Arc, Mutex},
    task::Poll,
    time::{Duration, Instant},
};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

const QUEUES: [&str; 2] = ["work", "other"];
const KEYS: [&str; 3] = ["a", "b", "c"];
/// One step of the model's clock, far longer than a case takes.
const STEP: Duration = Duration::from_secs(1000);
const CASES: u32 = 48;
const STEPS: usize = 40;
/// The connections of a worker that something befalls, and the one that listens, as Postgres knows them.
const DOOMED: &str = "doomed";
const EARS: &str = "ears";
/// Told last: what was told before has been heard by then.
const LAST: &str = "that was all";
/// For what has to happen, on a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
struct Send {
    queue: usize,
    key: Option<usize>,
    priority: i16,
    delay: u32,
    anew: bool,
}

/// What a worker does with a lease it has, or had.
#[derive(Clone, Copy, Debug)]
enum Act {
    Keep(u32),
    Archive,
    ArchiveDead,
    Fail(u32),
    Release(u32),
}

/// What befalls a worker at the n-th time that it waits for Postgres.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Killed(u32),
    /// Its connection is cut, and it lives to hear of it.
    Cut(u32),
}

#[derive(Clone, Debug)]
enum Step {
    Send(Send),
    SendBatch(usize, Vec<Send>),
    /// A transaction that sends and is dropped.
    SendAndCrash(Send),
    /// A transaction with a batch for each queue.
    SendBatchesAndCrash(Vec<Send>, Fault),
    Read {
        queue: usize,
        limit: i64,
        visibility: u32,
    },
    /// Several workers at once; something may befall the first of them.
    ReadTogether {
        readers: usize,
        limit: i64,
        fault: Option<Fault>,
    },
    /// By the number of the lease, of all that were ever given: many are stale.
    Act(usize, Act),
    ArchiveBatch(Vec<usize>),
    ArchiveBatchAndCrash(Vec<usize>, Fault),
    ActAndCrash(usize, Act, Fault),
    ReadAndCrash {
        queue: usize,
        limit: i64,
        visibility: u32,
        fault: Fault,
    },
    /// A worker says that it waits, and for how long.
    Wait {
        queue: usize,
        patience: u32,
    },
    WaitNoMore,
    /// The connection that listens is cut, and this is sent before there is another.
    CutEars(Send),
    TimePasses(u32),
}

fn send() -> impl Strategy<Value = Send> {
    (0..QUEUES.len(), prop::option::weighted(0.7, 0..KEYS.len()), -1_i16..3, prop_oneof![3 => Just(0_u32), 1 => 1..4_u32], prop::bool::weighted(0.3))
        .prop_map(|(queue, key, priority, delay, anew)| Send { queue, key, priority, delay, anew })
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (0..4_u32).prop_map(Act::Keep),
        Just(Act::Archive),
        Just(Act::ArchiveDead),
        (0..3_u32).prop_map(Act::Fail),
        (0..3_u32).prop_map(Act::Release),
    ]
}

/// At one of the first `most` times.
fn fault(most: u32) -> impl Strategy<Value = Fault> {
    (1..=most, prop::bool::ANY).prop_map(|(time, is_killed)| if is_killed { Fault::Killed(time) } else { Fault::Cut(time) })
}

fn step() -> impl Strategy<Value = Step> {
    // Of all leases, the latest are the likeliest to be good.
    let lease = || prop_oneof![3 => 0..4_usize, 1 => 0..40_usize];
    prop_oneof![
        6 => send().prop_map(Step::Send),
        2 => (0..QUEUES.len(), prop::collection::vec(send(), 0..6)).prop_map(|(queue, batch)| Step::SendBatch(queue, batch)),
        1 => send().prop_map(Step::SendAndCrash),
        2 => (prop::collection::vec(send(), 1..6), fault(9)).prop_map(|(batch, fault)| Step::SendBatchesAndCrash(batch, fault)),
        6 => (0..QUEUES.len(), 1..4_i64, 0..4_u32).prop_map(|(queue, limit, visibility)| Step::Read { queue, limit, visibility }),
        3 => (2..5_usize, 1..4_i64, prop::option::weighted(0.5, fault(4)))
            .prop_map(|(readers, limit, fault)| Step::ReadTogether { readers, limit, fault }),
        7 => (lease(), act()).prop_map(|(lease, act)| Step::Act(lease, act)),
        2 => prop::collection::vec(lease(), 0..5).prop_map(Step::ArchiveBatch),
        2 => (prop::collection::vec(lease(), 0..5), fault(4)).prop_map(|(leases, fault)| Step::ArchiveBatchAndCrash(leases, fault)),
        2 => (lease(), act(), fault(11)).prop_map(|(lease, act, fault)| Step::ActAndCrash(lease, act, fault)),
        2 => (0..QUEUES.len(), 1..4_i64, 0..3_u32, fault(4))
            .prop_map(|(queue, limit, visibility, fault)| Step::ReadAndCrash { queue, limit, visibility, fault }),
        3 => (0..QUEUES.len(), 0..4_u32).prop_map(|(queue, patience)| Step::Wait { queue, patience }),
        1 => Just(Step::WaitNoMore),
        1 => send().prop_map(Step::CutEars),
        3 => (1..4_u32).prop_map(Step::TimePasses),
    ]
}

/// When a message is due: the model's clock, then which statement said so (those of one moment are told apart by it).
type Due = (i64, u64);

#[derive(Clone, Debug, PartialEq)]
struct Held {
    queue: usize,
    key: Option<usize>,
    priority: i16,
    due: Due,
    tries: i32,
    lease: Option<i64>,
    /// Which send its headers are of.
    headers: u64,
}

#[derive(Clone, Debug, Default)]
struct Model {
    now: i64,
    statements: u64,
    sends: u64,
    held: BTreeMap<i64, Held>,
    archive: BTreeMap<i64, bool>,
    /// Ever given, latest last: message and lease.
    leases: Vec<(i64, i64)>,
    /// The queue that a worker waits on, and until when.
    waits: Option<(usize, i64)>,
    /// Queues whose worker is told of work, in this order, and has not listened yet.
    told: Vec<usize>,
}

impl Model {
    fn due_in(&self, steps: u32) -> Due {
        (self.now + i64::from(steps), self.statements)
    }

    /// None: a new message, whose number Postgres will say.
    fn send(&mut self, new: &Send) -> Option<Held> {
        let due = self.due_in(new.delay);
        let headers = self.sends;
        let twin = self.held.values_mut().find(|held| held.lease.is_none() && held.queue == new.queue && held.key.is_some() && held.key == new.key);
        let Some(twin) = twin else {
            return Some(Held { queue: new.queue, key: new.key, priority: new.priority, due, tries: 0, lease: None, headers });
        };
        twin.due = twin.due.min(due);
        twin.priority = twin.priority.max(new.priority);
        twin.headers = headers;
        if new.anew {
            twin.tries = 0;
        }
        None
    }

    /// As if sent one after another. What is new is answered.
    fn send_all(&mut self, batch: &[Send]) -> Vec<Held> {
        let mut made = Vec::<Held>::new();
        for new in batch {
            self.sends += 1;
            let due = self.due_in(new.delay);
            match made.iter_mut().find(|held| held.queue == new.queue && held.key.is_some() && held.key == new.key) {
                Some(twin) => {
                    twin.due = twin.due.min(due);
                    twin.priority = twin.priority.max(new.priority);
                    twin.headers = self.sends;
                }
                None => made.extend(self.send(new)),
            }
        }
        made
    }

    /// There is work on this queue, which is told where somebody waits.
    fn tell(&mut self, queue: usize) {
        if self.waits.is_some_and(|(on, until)| on == queue && until > self.now) {
            self.told.push(queue);
        }
    }

    /// What may be read, in order.
    fn readable(&self, queue: usize) -> Vec<i64> {
        let mut readable: Vec<(i16, Due, i64)> = self
            .held
            .iter()
            .filter(|(id, held)| {
                let blocked = |(other, o): (&i64, &Held)| other != *id && held.key.is_some() && o.key == held.key && o.lease.is_some();
                held.queue == queue && held.due.0 <= self.now && !self.held.iter().any(blocked)
            })
            .map(|(id, held)| (-held.priority, held.due, *id))
            .collect();
        readable.sort();
        readable.into_iter().map(|(_, _, id)| id).collect()
    }

    fn begin(&mut self, id: i64, lease: i64, visibility: u32) {
        let due = self.due_in(visibility);
        let held = self.held.get_mut(&id).expect("a message that is there");
        held.tries += 1;
        held.due = due;
        held.lease = Some(lease);
        self.leases.push((id, lease));
    }

    fn lease(&self, number: usize) -> (i64, i64) {
        self.leases.iter().rev().nth(number).copied().unwrap_or((-1, -1))
    }

    fn holds(&self, (id, lease): (i64, i64)) -> bool {
        self.held.get(&id).is_some_and(|held| held.lease == Some(lease))
    }

    /// False: the lease is stale, and nothing changes.
    fn act(&mut self, lease: (i64, i64), act: Act) -> bool {
        if !self.holds(lease) {
            return false;
        }
        let id = lease.0;
        match act {
            Act::Keep(steps) => self.held.get_mut(&id).expect("held").due = self.due_in(steps),
            Act::Archive | Act::ArchiveDead => {
                self.held.remove(&id);
                self.archive.insert(id, matches!(act, Act::ArchiveDead));
            }
            Act::Fail(steps) | Act::Release(steps) => {
                let due = self.due_in(steps);
                let mut held = self.held.remove(&id).expect("held");
                self.tell(held.queue);
                let twin = self.held.values().any(|o| o.lease.is_none() && o.queue == held.queue && o.key.is_some() && o.key == held.key);
                if !twin {
                    held.due = due;
                    held.lease = None;
                    held.tries -= i32::from(matches!(act, Act::Release(_)));
                    self.held.insert(id, held);
                }
            }
        }
        true
    }

    /// What must hold of the model itself: it is what the queue promises.
    fn check(&self) {
        let (mut running, mut waiting) = (BTreeSet::new(), BTreeSet::new());
        for held in self.held.values() {
            if let Some(key) = held.key {
                let alone = if held.lease.is_some() { running.insert(key) } else { waiting.insert((held.queue, key)) };
                assert!(alone, "two of one key");
            }
            assert!(held.tries >= 0);
        }
    }
}

async fn act_on(db: &Db, (id, lease): (i64, i64), act: Act) -> Result<bool, sqlx::Error> {
    match act {
        Act::Keep(steps) => queue::set_vt(db, id, lease, STEP * steps).await,
        Act::Archive => queue::archive(db, id, lease, None).await,
        Act::ArchiveDead => queue::archive(db, id, lease, Some("dead")).await,
        Act::Fail(steps) => queue::fail(db, id, lease, STEP * steps).await,
        Act::Release(steps) => queue::release(db, id, lease, STEP * steps).await,
    }
}

/// Cuts the connections of this name.
async fn cut(db: &Db, name: &str) {
    sqlx::query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1")
        .bind(name)
        .execute(db)
        .await
        .expect("cut");
    until_gone(db, name).await;
}

/// Waits until Postgres has ended the connections of this name, and what it did for them.
async fn until_gone(db: &Db, name: &str) {
    let begun = Instant::now();
    loop {
        let alive: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1")
            .bind(name)
            .fetch_one(db)
            .await
            .expect("a count");
        if alive == 0 {
            break;
        }
        assert!(begun.elapsed() < SOON, "the connections of {name} end");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Does the work of a worker that something befalls. None: what came of it, only the rows tell.
async fn struck<T>(db: &Db, fault: Fault, work: impl Future<Output = Result<T, sqlx::Error>>) -> Option<T> {
    let (Fault::Killed(time) | Fault::Cut(time)) = fault;
    let mut work = pin!(work);
    let answer = match until_it_waits(work.as_mut(), time).await {
        Some(answer) => answer,
        None if matches!(fault, Fault::Killed(_)) => return None,
        None => {
            cut(db, DOOMED).await;
            work.await
        }
    };
    match answer {
        Ok(answer) => Some(answer),
        Err(error) => {
            assert!(is_away(&error), "a cut connection is told as such: {error:?}");
            None
        }
    }
}

/// Goes on with `work` until it waits for the n-th time. Whoever drops it then is a process that dies while it waits for Postgres.
async fn until_it_waits<F: Future>(mut work: Pin<&mut F>, time: u32) -> Option<F::Output> {
    let mut left = time;
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending if left <= 1 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

fn new_message(new: &Send, number: u64) -> NewMessage<'static> {
    NewMessage {
        queue: QUEUES[new.queue],
        key: new.key.map(|key| KEYS[key]),
        priority: new.priority,
        delay: STEP * new.delay,
        anew: new.anew,
        message: json!({}),
        headers: json!(number),
    }
}

/// Numbers of new messages come from Postgres. False: it has others than these.
async fn adopt(db: &Db, model: &mut Model, made: Vec<Held>) -> bool {
    let known: Vec<i64> = model.held.keys().copied().collect();
    let mut new: Vec<(i64, i64)> =
        sqlx::query_as("SELECT msg_id, headers::bigint FROM queue.message WHERE msg_id <> ALL ($1)").bind(&known).fetch_all(db).await.expect("rows");
    if new.len() != made.len() {
        return false;
    }
    for held in made {
        let Some(place) = new.iter().position(|(_, headers)| u64::try_from(*headers).ok() == Some(held.headers)) else { return false };
        model.held.insert(new.swap_remove(place).0, held);
    }
    true
}

struct Tables<'a> {
    db: &'a Db,
    model: Model,
    ears: PgListener,
}

impl<'a> Tables<'a> {
    async fn empty(db: &'a Db) -> Self {
        sqlx::query("TRUNCATE queue.message, queue.archive, queue.idle").execute(db).await.expect("an empty queue");
        let options = (*db.connect_options()).clone().application_name(EARS);
        let pool = PgPoolOptions::new().max_connections(1).connect_with(options).await.expect("a pool");
        let mut ears = PgListener::connect_with(&pool).await.expect("a listener");
        ears.listen("queue").await.expect("listening");
        Self { db, model: Model::default(), ears }
    }

    /// In the order in which the model counts them.
    fn messages(&self, batch: &[Send]) -> Vec<NewMessage<'static>> {
        batch.iter().zip(self.model.sends + 1..).map(|(new, number)| new_message(new, number)).collect()
    }

    async fn send_all(&mut self, queue: usize, batch: &[Send]) {
        let mut connection = self.db.acquire().await.expect("a connection");
        queue::send_batch(&mut connection, QUEUES[queue], self.messages(batch)).await.expect("sent");
        let made = self.model.send_all(batch);
        self.model.tell(queue);
        assert!(adopt(self.db, &mut self.model, made).await, "as many messages as were sent, less those that had a twin");
    }

    async fn step(&mut self, step: &Step) {
        self.model.statements += 1;
        match step {
            Step::Send(new) => self.send_all(new.queue, slice::from_ref(new)).await,
            Step::SendBatch(queue, batch) => {
                let batch: Vec<Send> = batch.iter().map(|new| Send { queue: *queue, ..new.clone() }).collect();
                self.send_all(*queue, &batch).await;
            }
            Step::SendAndCrash(new) => {
                let doomed = self.doomed().await;
                let mut tx = doomed.begin().await.expect("a transaction");
                queue::send(&mut tx, new_message(new, self.model.sends + 1)).await.expect("sent");
                drop(tx);
                // Until Postgres has noticed, a read skips what the dead one had locked.
                self.bury(doomed).await;
            }
            Step::SendBatchesAndCrash(batch, fault) => {
                let mut batches: [Vec<NewMessage>; QUEUES.len()] = Default::default();
                for (new, message) in batch.iter().zip(self.messages(batch)) {
                    batches[new.queue].push(message);
                }
                let doomed = self.doomed().await;
                let work = async {
                    let mut tx = doomed.begin().await?;
                    for (name, batch) in QUEUES.into_iter().zip(batches) {
                        queue::send_batch(&mut tx, name, batch).await?;
                    }
                    tx.commit().await
                };
                let answer = struck(self.db, *fault, work).await;
                self.bury(doomed).await;
                let mut done = self.model.clone();
                let made = done.send_all(batch);
                (0..QUEUES.len()).for_each(|queue| done.tell(queue));
                let is_there = adopt(self.db, &mut done, made).await;
                assert!(is_there || answer.is_none(), "what was answered has happened");
                if is_there {
                    self.all_or_nothing(done, answer.is_some()).await;
                }
            }
            Step::Read { queue, limit, visibility } => {
                let mut expected = self.model.readable(*queue);
                expected.truncate(usize::try_from(*limit).expect("small"));
                let read = queue::read(self.db, QUEUES[*queue], "w", STEP * *visibility, *limit).await.expect("read");
                let ids: BTreeSet<i64> = read.iter().map(|message| message.msg_id).collect();
                assert_eq!(ids, expected.iter().copied().collect(), "by priority, then by time");
                self.begun(&read, *visibility);
            }
            Step::ReadTogether { readers, limit, fault } => self.read_together(*readers, *limit, *fault).await,
            Step::Act(number, act) => {
                let lease = self.model.lease(*number);
                let done = act_on(self.db, lease, *act).await.expect("answered");
                assert_eq!(done, self.model.act(lease, *act), "whether the lease was good");
            }
            Step::ArchiveBatch(numbers) => {
                let leases: BTreeSet<(i64, i64)> = numbers.iter().map(|number| self.model.lease(*number)).collect();
                let done = queue::archive_batch(self.db, &leases.iter().copied().collect::<Vec<_>>()).await.expect("answered");
                let expected: BTreeSet<i64> = leases.into_iter().filter(|lease| self.model.act(*lease, Act::Archive)).map(|(id, _)| id).collect();
                assert_eq!(done.into_iter().collect::<BTreeSet<_>>(), expected);
            }
            Step::ArchiveBatchAndCrash(numbers, fault) => {
                let leases: BTreeSet<(i64, i64)> = numbers.iter().map(|number| self.model.lease(*number)).collect();
                let batch: Vec<(i64, i64)> = leases.iter().copied().collect();
                let doomed = self.doomed().await;
                let answer = struck(self.db, *fault, queue::archive_batch(&doomed, &batch)).await;
                self.bury(doomed).await;
                let mut done = self.model.clone();
                let expected: BTreeSet<i64> = leases.into_iter().filter(|lease| done.act(*lease, Act::Archive)).map(|(id, _)| id).collect();
                let is_answered = answer.is_some();
                if let Some(archived) = answer {
                    assert_eq!(archived.into_iter().collect::<BTreeSet<_>>(), expected);
                }
                self.all_or_nothing(done, is_answered).await;
            }
            Step::ActAndCrash(number, act, fault) => {
                let lease = self.model.lease(*number);
                let doomed = self.doomed().await;
                let answer = struck(self.db, *fault, act_on(&doomed, lease, *act)).await;
                self.bury(doomed).await;
                let mut done = self.model.clone();
                let is_good = done.act(lease, *act);
                assert!(answer.is_none_or(|answer| answer == is_good), "whether the lease was good");
                self.all_or_nothing(done, answer.is_some()).await;
            }
            Step::ReadAndCrash { queue, limit, visibility, fault } => {
                let doomed = self.doomed().await;
                let answer = struck(self.db, *fault, queue::read(&doomed, QUEUES[*queue], "w", STEP * *visibility, *limit)).await;
                self.bury(doomed).await;
                let given = self.given().await;
                let ids: BTreeSet<i64> = given.iter().map(|(id, _)| *id).collect();
                if answer.is_some() || !given.is_empty() {
                    let mut expected = self.model.readable(*queue);
                    expected.truncate(usize::try_from(*limit).expect("small"));
                    assert_eq!(ids, expected.into_iter().collect(), "all of the batch, or nothing");
                }
                if let Some(read) = answer {
                    assert_eq!(read.iter().map(|message| message.msg_id).collect::<BTreeSet<_>>(), ids, "what was answered has happened");
                }
                for (id, lease) in given {
                    self.model.begin(id, lease, *visibility);
                }
            }
            Step::Wait { queue, patience } => {
                queue::wait_for_work(self.db, QUEUES[*queue], "w", STEP * *patience).await.expect("listed");
                self.model.waits = Some((*queue, self.model.now + i64::from(*patience)));
            }
            Step::WaitNoMore => {
                queue::woken(self.db, "w").await.expect("off the list");
                self.model.waits = None;
            }
            Step::CutEars(new) => {
                cut(self.db, EARS).await;
                self.send_all(new.queue, slice::from_ref(new)).await;
                // It was not told of this; but it is told that it may have missed something, and then it listens again.
                let told = timeout(SOON, self.ears.try_recv()).await.expect("told in time").expect("connected again");
                assert!(told.is_none(), "its connection was lost");
                self.model.told.clear();
            }
            Step::TimePasses(steps) => {
                sqlx::query("UPDATE queue.message SET vt = vt - make_interval(secs => $1)")
                    .bind(STEP.as_secs_f64() * f64::from(*steps))
                    .execute(self.db)
                    .await
                    .expect("moved");
                sqlx::query("UPDATE queue.idle SET until = until - make_interval(secs => $1)")
                    .bind(STEP.as_secs_f64() * f64::from(*steps))
                    .execute(self.db)
                    .await
                    .expect("moved");
                self.model.now += i64::from(*steps);
            }
        }
        self.model.check();
        let fits = self.holds_what(&self.model).await;
        assert!(fits, "the tables differ from the model: {:#?}\n{:#?}", self.model, self.rows().await);
    }

    /// Nobody heard the answer: all of it has happened, or nothing, and then the tables are as they were. What was answered has happened.
    async fn all_or_nothing(&mut self, done: Model, is_answered: bool) {
        if self.holds_what(&done).await {
            self.model = done;
        } else {
            assert!(!is_answered, "what was answered has happened: {done:#?}\n{:#?}", self.rows().await);
        }
    }

    /// Hears what was told since it last listened: what the model says, in its order, and no more.
    async fn listen(&mut self) {
        sqlx::query("SELECT pg_notify('queue', $1)").bind(LAST).execute(self.db).await.expect("told");
        let mut heard = Vec::new();
        loop {
            let told = timeout(SOON, self.ears.try_recv()).await.expect("told in time").expect("heard").expect("its connection is there");
            if told.payload() == LAST {
                break;
            }
            heard.push(told.payload().to_owned());
        }
        let expected: Vec<&str> = self.model.told.drain(..).map(|queue| QUEUES[queue]).collect();
        assert_eq!(heard, expected, "told of work where somebody waits, and only there");
    }

    /// Messages and leases that were given since the model last knew of one: they may have gone with their worker, and the rows tell.
    async fn given(&self) -> Vec<(i64, i64)> {
        sqlx::query_as("SELECT msg_id, lease FROM queue.message WHERE lease > $1 ORDER BY lease")
            .bind(self.model.leases.iter().map(|(_, lease)| *lease).max().unwrap_or(0))
            .fetch_all(self.db)
            .await
            .expect("leases")
    }

    fn begun(&mut self, read: &[Message], visibility: u32) {
        let latest = self.model.leases.iter().map(|(_, lease)| *lease).max().unwrap_or(0);
        for message in read {
            assert!(message.lease > latest, "each lease is higher than all before it");
            self.model.begin(message.msg_id, message.lease, visibility);
            assert_eq!(message.read_ct, self.model.held[&message.msg_id].tries);
        }
    }

    /// Workers that read at the same time, of both queues: together they get what one after another would have got.
    async fn read_together(&mut self, readers: usize, limit: i64, fault: Option<Fault>) {
        let victim = match fault {
            Some(fault) => Some((self.doomed().await, fault)),
            None => None,
        };
        let mut reads = JoinSet::new();
        for number in 0..readers {
            let (db, name) = (self.db.clone(), QUEUES[number % 2]);
            let befalls = victim.clone().filter(|_| number == 0);
            reads.spawn(async move {
                match befalls {
                    Some((doomed, fault)) => struck(&db, fault, queue::read(&doomed, name, "w", STEP, limit)).await,
                    None => match queue::read(&db, name, "w", STEP, limit).await {
                        Ok(read) => Some(read),
                        // Of two that each wait for a key of the other's, one is told to try again.
                        Err(error) => {
                            assert!(is_away(&error), "read: {error:?}");
                            None
                        }
                    },
                }
            });
        }
        let may: BTreeSet<i64> = (0..2).flat_map(|queue| self.model.readable(queue)).collect();
        let answers: Vec<Option<Vec<Message>>> = reads.join_all().await;
        if let Some((doomed, _)) = victim {
            self.bury(doomed).await;
        }
        let all_answered = answers.iter().all(Option::is_some);
        let read: Vec<Message> = answers.into_iter().flatten().flatten().collect();
        let given = self.given().await;
        let ids: BTreeSet<i64> = given.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids.len(), given.len(), "nothing twice");
        assert!(ids.is_subset(&may), "only what was due: {ids:?} of {may:?}");
        let heard: BTreeSet<(i64, i64)> = read.iter().map(|message| (message.msg_id, message.lease)).collect();
        assert_eq!(heard.len(), read.len(), "nothing twice");
        let held: BTreeSet<(i64, i64)> = given.iter().copied().collect();
        assert!(heard.is_subset(&held) && (heard == held || !all_answered), "what was answered has happened: {heard:?} of {held:?}");
        // What the victim had locked as it died, the others passed by.
        assert!(fault.is_some() || ids.is_empty() == may.is_empty(), "something, if anything was due");
        let mut keys = BTreeSet::new();
        let alone = ids.iter().filter_map(|id| self.model.held[id].key).all(|key| keys.insert(key));
        assert!(alone, "never two of one key");
        for (id, lease) in given {
            self.model.begin(id, lease, 1);
        }
        for message in read {
            assert_eq!(message.read_ct, self.model.held[&message.msg_id].tries);
        }
        // Only the rows tell which of them came first.
        let order: Vec<(i64, i64)> =
            sqlx::query_as("SELECT msg_id, dense_rank() OVER (ORDER BY vt) FROM queue.message WHERE msg_id = ANY ($1) ORDER BY 2")
                .bind(ids.into_iter().collect::<Vec<_>>())
                .fetch_all(self.db)
                .await
                .expect("the order");
        for (id, place) in order {
            let place = u64::try_from(place).expect("a rank");
            self.model.held.get_mut(&id).expect("held").due.1 = self.model.statements + place;
        }
        self.model.statements += u64::try_from(readers).expect("few");
    }

    /// A worker that something is going to befall has connections of its own.
    async fn doomed(&self) -> Db {
        let options = (*self.db.connect_options()).clone().application_name(DOOMED);
        // Untested, so that a fault strikes its work and not the test.
        PgPoolOptions::new().max_connections(1).test_before_acquire(false).connect_with(options).await.expect("a pool")
    }

    /// Waits until they are gone, and with them what Postgres was still doing on them: an idle one may have work to read.
    async fn bury(&self, doomed: Db) {
        doomed.close().await;
        until_gone(self.db, DOOMED).await;
    }

    async fn rows(&self) -> Vec<Row> {
        sqlx::query_as(
            "SELECT msg_id, queue, key, priority, read_ct, lease, headers::bigint AS headers,
                    round(extract(epoch FROM vt - now()) / $1)::bigint AS due
             FROM queue.message ORDER BY priority DESC, vt, msg_id",
        )
        .bind(STEP.as_secs_f64())
        .fetch_all(self.db)
        .await
        .expect("rows")
    }

    async fn holds_what(&self, model: &Model) -> bool {
        let mut expected: Vec<(i64, &Held)> = model.held.iter().map(|(id, held)| (*id, held)).collect();
        expected.sort_by_key(|(id, held)| (-held.priority, held.due, *id));
        let expected: Vec<Row> = expected
            .into_iter()
            .map(|(msg_id, held)| Row {
                msg_id,
                queue: QUEUES[held.queue].to_owned(),
                key: held.key.map(|key| KEYS[key].to_owned()),
                priority: held.priority,
                read_ct: held.tries,
                lease: held.lease,
                headers: i64::try_from(held.headers).expect("small"),
                due: held.due.0 - model.now,
            })
            .collect();
        let rows = self.rows().await;
        // Their order shows in what is read.
        let sorted = |mut rows: Vec<Row>| {
            rows.sort_by_key(|row| row.msg_id);
            rows
        };
        let archive: Vec<(i64, bool)> =
            sqlx::query_as("SELECT msg_id, outcome = 'dead' FROM queue.archive ORDER BY msg_id").fetch_all(self.db).await.expect("the archive");
        sorted(rows) == sorted(expected) && archive == model.archive.iter().map(|(id, dead)| (*id, *dead)).collect::<Vec<_>>()
    }

    /// Whatever happened: workers that do their work come to an end with it.
    async fn drain(&mut self) {
        let mut rounds = 0;
        while !self.model.held.is_empty() {
            rounds += 1;
            assert!(rounds < 200, "it ends");
            self.step(&Step::TimePasses(4)).await;
            for queue in 0..QUEUES.len() {
                self.step(&Step::Read { queue, limit: 4, visibility: 3 }).await;
                self.step(&Step::ArchiveBatch((0..4).collect())).await;
            }
        }
    }
}

#[derive(Debug, PartialEq, sqlx::FromRow)]
struct Row {
    msg_id: i64,
    queue: String,
    key: Option<String>,
    priority: i16,
    read_ct: i32,
    lease: Option<i64>,
    headers: i64,
    /// Steps from now.
    due: i64,
}

#[test]
fn whatever_happens_in_whatever_order_the_queue_does_what_its_model_does() {
    let mut config = Config { failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = CASES;
    }
    if matches!(config.rng_seed, RngSeed::Random) {
        config.rng_seed = RngSeed::Fixed(rand::random());
    }
    let RngSeed::Fixed(seed) = config.rng_seed else { unreachable!("set above") };
    println!("PROPTEST_RNG_SEED={seed} PROPTEST_CASES={} repeats this run", config.cases);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let (database, db) = runtime.block_on(Database::migrated(8));
    let result = TestRunner::new(config).run(&prop::collection::vec(step(), 1..STEPS), |steps| {
        // A runtime catches the panic of its task; the steps are told with it.
        let case = std::panic::AssertUnwindSafe(|| {
            runtime.block_on(async {
                let mut tables = Tables::empty(&db).await;
                for step in &steps {
                    tables.step(step).await;
                    tables.listen().await;
                }
                tables.drain().await;
                tables.listen().await;
            })
        });
        std::panic::catch_unwind(case).map_err(|panic| {
            let said = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            TestCaseError::fail(said.unwrap_or_default())
        })
    });
    // Its pool needs the runtime to end.
    runtime.block_on(db.close());
    drop(database);
    if let Err(error) = result {
        panic!("PROPTEST_RNG_SEED={seed}: {error}");
    }
}

/// What runs and has run, of all workers.
#[derive(Default)]
struct Runs {
    of_message: HashMap<i64, usize>,
    /// Under way, by key: their leases, and until when those are good.
    of_key: HashMap<String, Vec<(i64, Instant)>>,
    /// Two of one key at once.
    together: Vec<String>,
}

/// A run of a key, until it ends in whatever way.
struct Turn {
    runs: Arc<Mutex<Runs>>,
    key: String,
    lease: i64,
}

impl Turn {
    fn begin(runs: &Arc<Mutex<Runs>>, key: &str, lease: i64, good_until: Instant) -> Self {
        let mut guard = runs.lock().expect("the runs");
        let all = &mut *guard;
        let now = Instant::now();
        let under_way = all.of_key.entry(key.to_owned()).or_default();
        // Where the machine stood still for as long as a lease is good, another worker has rightly taken the message over.
        if now < good_until && under_way.iter().any(|(_, until)| now < *until) {
            all.together.push(format!("{key}: {lease} beside {under_way:?}"));
        }
        under_way.push((lease, good_until));
        Self { runs: Arc::clone(runs), key: key.to_owned(), lease }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut runs = self.runs.lock().expect("the runs");
        if let Some(under_way) = runs.of_key.get_mut(&self.key) {
            under_way.retain(|(lease, _)| *lease != self.lease);
        }
    }
}

/// Notes its runs, takes a moment, and hands some messages back.
struct Notes {
    runs: Arc<Mutex<Runs>>,
    /// Connections that are not cut.
    db: Db,
}

#[async_trait]
impl Job for Notes {
    async fn run(&self, context: &JobContext, message: &Message) -> Outcome {
        *self.runs.lock().expect("the runs").of_message.entry(message.msg_id).or_default() += 1;
        let asked = Instant::now();
        let left: Option<f64> = sqlx::query_scalar(
            "SELECT greatest(extract(epoch FROM vt - clock_timestamp()), 0)::float8 FROM queue.message WHERE msg_id = $1 AND lease = $2",
        )
        .bind(message.msg_id)
        .bind(context.lease)
        .fetch_optional(&self.db)
        .await
        .expect("the lease");
        let good_until = asked + Duration::from_secs_f64(left.unwrap_or_default());
        let _turn = message.key.as_deref().map(|key| Turn::begin(&self.runs, key, context.lease, good_until));
        tokio::time::sleep(Duration::from_millis(5 + u64::try_from(context.lease % 20).expect("small"))).await;
        if context.lease % 8 == 0 { Outcome::Later(Duration::ZERO) } else { Outcome::Done }
    }

    async fn dead(&self, _: &JobContext, message: &Message, error: &str) {
        panic!("message {} died: {error}", message.msg_id);
    }
}

/// How many connections were cut.
#[derive(Debug, Default)]
struct Cuts {
    listening: i64,
    others: i64,
}

/// So many of those that listen are cut at least.
const ENOUGH: i64 = 12;

/// Cuts the connections that listen, over and over, and now and then all of the workers' connections, until it is to stop and has
/// cut enough of those that listen.
fn cut_connections(admin: Db, stop: CancellationToken) -> JoinHandle<Cuts> {
    tokio::spawn(async move {
        let (mut cuts, begun) = (Cuts::default(), Instant::now());
        for round in 0_u32.. {
            let is_over = stop.is_cancelled();
            if is_over && (cuts.listening >= ENOUGH || begun.elapsed() > SOON) {
                break;
            }
            let all = round % 20 == 9 && !is_over;
            let (listening, others): (i64, i64) = sqlx::query_as(
                "SELECT count(*) FILTER (WHERE listens AND gone), count(*) FILTER (WHERE gone AND NOT listens) FROM (
                   SELECT query ILIKE 'LISTEN%' AS listens, pg_terminate_backend(pid) AS gone FROM pg_stat_activity
                   WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
                     AND application_name = 'pinacle' AND (query ILIKE 'LISTEN%' OR $1)) cut",
            )
            .bind(all)
            .fetch_one(&admin)
            .await
            .expect("the admin's connection is not cut");
            cuts.listening += listening;
            cuts.others += others;
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        cuts
    })
}

/// Connections of another name, which the scissors leave alone.
async fn left_alone(db: Db) -> Db {
    let options = (*db.connect_options()).clone().application_name("test");
    db.close().await;
    PgPoolOptions::new().max_connections(8).connect_with(options).await.expect("a pool")
}

/// Until a count is what it is to be. `log` is what the workers have said.
async fn until_it_counts(db: &Db, count: &'static str, is_so: impl Fn(i64) -> bool, log: &Path) {
    let begun = Instant::now();
    loop {
        let counted: i64 = sqlx::query_scalar(count).fetch_one(db).await.expect("a count");
        if is_so(counted) {
            break;
        }
        assert!(begun.elapsed() < SOON, "{count}: {counted}\n{}", std::fs::read_to_string(log).unwrap_or_default());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A worker's process, killed as it is let go of.
struct Process(Child);

impl Process {
    fn begin(database: &Database, log: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log).expect("a log");
        let mut worker = program();
        worker.arg("worker").env("DATABASE_URL", &database.url).env("PINACLE_DATABASE_CONNECTIONS", "5").env("PINACLE_VISIBILITY_SECONDS", "2");
        Self(worker.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("the server's program starts"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).expect("killed");
    }
}

/// In the database of the workers' processes: of each change of a message, how many of its key run and wait more or less by it, and
/// whether a lease was taken over that was still good. Every job lasts for a moment, so that its twin is sent while it runs, and its
/// worker killed in the middle.
const WATCH: &str = "
    CREATE SCHEMA watch;
    CREATE TABLE watch.change (seq bigint GENERATED ALWAYS AS IDENTITY, queue text NOT NULL, key text NOT NULL, what text NOT NULL,
      running int NOT NULL, waiting int NOT NULL, early boolean NOT NULL);
    CREATE FUNCTION watch.note() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        INSERT INTO watch.change (queue, key, what, running, waiting, early)
        SELECT coalesce(NEW.queue, OLD.queue), coalesce(NEW.key, OLD.key),
          CASE WHEN TG_OP = 'DELETE' OR (NEW.lease IS NULL AND OLD.lease IS NOT NULL) THEN 'ended'
            WHEN NEW.lease IS NULL THEN 'sent' WHEN NEW.lease = OLD.lease THEN 'kept' ELSE 'begun' END,
          (NEW.lease IS NOT NULL)::int - (OLD.lease IS NOT NULL)::int,
          (NEW.msg_id IS NOT NULL AND NEW.lease IS NULL)::int - (OLD.msg_id IS NOT NULL AND OLD.lease IS NULL)::int,
          coalesce(NEW.lease <> OLD.lease AND OLD.vt > now(), false)
        WHERE coalesce(NEW.key, OLD.key) IS NOT NULL;
        RETURN NULL;
      END $$;
    CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON queue.message FOR EACH ROW EXECUTE FUNCTION watch.note();
    CREATE FUNCTION watch.linger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.01); RETURN NULL; END $$;
    CREATE TRIGGER linger BEFORE UPDATE ON pods FOR EACH STATEMENT EXECUTE FUNCTION watch.linger();";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_processes_that_are_killed_and_whose_connections_are_cut_end_every_message_and_never_run_two_of_one_key() {
    const PODS: usize = 6;
    const ROUNDS: usize = 150;
    const PROCESSES: usize = 3;
    let (database, db) = Database::migrated(4).await;
    let admin = left_alone(db).await;
    sqlx::raw_sql(WATCH).execute(&admin).await.expect("the triggers");
    let log = std::env::temp_dir().join(format!("{}.log", database.name));
    let mut workers: Vec<Process> = (0..PROCESSES).map(|_| Process::begin(&database, &log)).collect();
    // Of pods that are gone: nothing is left to be done about them.
    let pods: Vec<PodId> = (0..PODS).map(|_| PodId(uuid::Uuid::new_v4())).collect();
    let wish = async || {
        let mut connection = admin.acquire().await.expect("a connection");
        for pod in &pods {
            wishes::enqueue(&mut connection, *pod, "stop-pod", wishes::ASKED).await.expect("sent");
        }
    };
    wish().await;
    until_it_counts(&admin, "SELECT count(*) FROM queue.archive WHERE queue = 'pod'", |ended| ended > 0, &log).await;
    let calm = CancellationToken::new();
    let scissors = cut_connections(admin.clone(), calm.clone());
    for round in 0..ROUNDS {
        wish().await;
        if round % 30 == 15 {
            drop(workers.remove(0));
            workers.push(Process::begin(&database, &log));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    calm.cancel();
    let cuts = scissors.await.expect("the scissors end");
    assert!(cuts.listening >= ENOUGH && cuts.others > 0, "{cuts:?}");
    until_it_counts(&admin, "SELECT count(*) FROM queue.message WHERE queue = 'pod'", |left| left == 0, &log).await;
    let (ended, keys, twice, dead, by): (i64, i64, i64, i64, i64) = sqlx::query_as(
        "SELECT count(*), count(DISTINCT key), count(*) - count(DISTINCT msg_id), count(*) FILTER (WHERE outcome <> 'done'), count(DISTINCT worker)
         FROM queue.archive WHERE queue = 'pod'",
    )
    .fetch_one(&admin)
    .await
    .expect("the archive");
    assert_eq!((keys, twice, dead), (i64::try_from(PODS).expect("small"), 0, 0));
    assert!(by > 1, "several took part");
    let sent = i64::try_from(PODS * (ROUNDS + 1)).expect("small");
    assert!(ended > keys && ended < sent, "of {sent}, {ended} did not meet a waiting one of their key");
    let (running, waiting, least, early): (i64, i64, i64, i64) = sqlx::query_as(
        "SELECT max(running), max(waiting), min(least(running, waiting)), count(*) FILTER (WHERE early) FROM (
           SELECT sum(running) OVER (PARTITION BY key ORDER BY seq) AS running,
             sum(waiting) OVER (PARTITION BY queue, key ORDER BY seq) AS waiting, early FROM watch.change) c",
    )
    .fetch_one(&admin)
    .await
    .expect("what was noted");
    assert_eq!((running, waiting, least, early), (1, 1, 0, 0), "of one key one runs, one waits, and no good lease is taken over");
    let lost: Vec<String> = sqlx::query_scalar(
        "SELECT key FROM watch.change WHERE queue = 'pod' GROUP BY key
         HAVING max(seq) FILTER (WHERE what = 'sent') > coalesce(max(seq) FILTER (WHERE what = 'begun'), 0)",
    )
    .fetch_all(&admin)
    .await
    .expect("what was noted");
    assert!(lost.is_empty(), "not begun after it was sent last: {lost:?}");
    drop(workers);
    std::fs::remove_file(log).expect("removed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_whose_connections_are_cut_end_every_message_once_and_never_run_two_of_one_key() {
    const MESSAGES: usize = 600;
    const WORKERS: usize = 4;
    let (database, db) = Database::migrated(4).await;
    let admin = left_alone(db).await;
    let runs = Arc::new(Mutex::new(Runs::default()));
    let stop = CancellationToken::new();
    let mut workers = JoinSet::new();
    for number in 0..WORKERS {
        let worker = Worker {
            db: database.connect(4).await,
            queue: QUEUES[number % 2],
            name: format!("w{number}"),
            concurrency: 4,
            visibility: Duration::from_secs(2),
            job: Arc::new(Notes { runs: Arc::clone(&runs), db: admin.clone() }),
        };
        workers.spawn(worker.run(stop.clone()));
    }
    let calm = CancellationToken::new();
    let scissors = cut_connections(admin.clone(), calm.clone());
    // Few keys, each in both queues, and of each more than can be run in the time; some have none.
    let (mut newest, mut keyless) = (BTreeMap::new(), 0_usize);
    for number in 0..MESSAGES {
        let (name, key) = (QUEUES[number / 3 % 2], (number % 5 > 0).then_some(KEYS[number % 3]));
        let new = NewMessage {
            queue: name,
            key,
            priority: i16::try_from(number % 4).expect("small"),
            delay: Duration::ZERO,
            anew: false,
            message: json!({}),
            headers: json!(number),
        };
        queue::send(&mut admin.acquire().await.expect("a connection"), new).await.expect("sent");
        match key {
            Some(key) => {
                newest.insert((name.to_owned(), key.to_owned()), i64::try_from(number).expect("small"));
            }
            None => keyless += 1,
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    calm.cancel();
    let cuts = scissors.await.expect("the scissors end");
    assert!(cuts.listening >= ENOUGH && cuts.others > 0, "{cuts:?}");
    until_it_counts(&admin, "SELECT count(*) FROM queue.message", |left| left == 0, Path::new("")).await;
    stop.cancel();
    timeout(SOON, workers.join_all()).await.expect("the workers end");
    let archived: Vec<(i64, String, Option<String>, i64, String)> =
        sqlx::query_as("SELECT msg_id, queue, key, headers::bigint, outcome FROM queue.archive").fetch_all(&admin).await.expect("the archive");
    let runs = runs.lock().expect("the runs");
    assert!(runs.together.is_empty(), "two of one key ran at once: {:#?}", runs.together);
    assert!(archived.iter().all(|(id, ..)| runs.of_message.contains_key(id)), "each ran at least once");
    assert!(archived.iter().all(|(.., outcome)| outcome == "done"));
    let different: BTreeSet<i64> = archived.iter().map(|(id, ..)| *id).collect();
    assert_eq!(different.len(), archived.len(), "each ended once");
    assert_eq!(archived.iter().filter(|(_, _, key, ..)| key.is_none()).count(), keyless);
    assert!(archived.len() < MESSAGES, "some met one of their key that waited, and went with it");
    let mut ended = BTreeMap::new();
    for (_, name, key, number, _) in archived {
        if let Some(key) = key {
            let latest = ended.entry((name, key)).or_insert(number);
            *latest = number.max(*latest);
        }
    }
    assert_eq!(ended, newest, "of each key what was sent last has run");
}
