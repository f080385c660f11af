//! The queue against a plain model in memory: random orders of everything that senders and workers do, what goes wrong
//! included. After each step the tables must hold what the model holds.
//!
//! Time is moved in the rows, not slept through. `PROPTEST_RNG_SEED` repeats a run, `PROPTEST_CASES` says how many.

use crate::{database::Database, stand::program};
use async_trait::async_trait;
use pinacle_app::ids::PodId;
use pinacle_server::{
    db::Db,
    pods::wishes,
    queue::{self, Job, JobContext, Message, NewMessage, Outcome, Worker},
};
use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed, TestCaseError, TestRunner},
};
use serde_json::json;
use sqlx::PgConnection;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs::File,
    future::poll_fn,
    path::Path,
    pin::pin,
    process::{Child, Stdio},
    sync::{Arc, Mutex},
    task::Poll,
    time::{Duration, Instant},
};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

const QUEUES: [&str; 2] = ["work", "other"];
const KEYS: [&str; 3] = ["a", "b", "c"];
/// One step of the model's clock, far longer than a case takes.
const STEP: Duration = Duration::from_secs(1000);
const CASES: u32 = 48;
const STEPS: usize = 40;
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

#[derive(Clone, Debug)]
enum Step {
    Send(Send),
    SendBatch(usize, Vec<Send>),
    /// A transaction that sends and is dropped.
    SendAndCrash(Send),
    Read {
        queue: usize,
        limit: i64,
        visibility: u32,
    },
    /// Several workers at once.
    ReadTogether {
        readers: usize,
        limit: i64,
    },
    /// By the number of the lease, of all that were ever given: many are stale.
    Act(usize, Act),
    ArchiveBatch(Vec<usize>),
    /// The worker is killed at the n-th time that it waits for Postgres.
    ActAndCrash(usize, Act, u32),
    ReadAndCrash {
        queue: usize,
        limit: i64,
        visibility: u32,
        polls: u32,
    },
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

fn step() -> impl Strategy<Value = Step> {
    // Of all leases, the latest are the likeliest to be good.
    let lease = || prop_oneof![3 => 0..4_usize, 1 => 0..40_usize];
    prop_oneof![
        6 => send().prop_map(Step::Send),
        2 => (0..QUEUES.len(), prop::collection::vec(send(), 0..6)).prop_map(|(queue, batch)| Step::SendBatch(queue, batch)),
        1 => send().prop_map(Step::SendAndCrash),
        6 => (0..QUEUES.len(), 1..4_i64, 0..4_u32).prop_map(|(queue, limit, visibility)| Step::Read { queue, limit, visibility }),
        2 => (2..5_usize, 1..4_i64).prop_map(|(readers, limit)| Step::ReadTogether { readers, limit }),
        7 => (lease(), act()).prop_map(|(lease, act)| Step::Act(lease, act)),
        2 => prop::collection::vec(lease(), 0..5).prop_map(Step::ArchiveBatch),
        2 => (lease(), act(), 1..12_u32).prop_map(|(lease, act, polls)| Step::ActAndCrash(lease, act, polls)),
        1 => (0..QUEUES.len(), 1..4_i64, 0..3_u32, 1..6_u32)
            .prop_map(|(queue, limit, visibility, polls)| Step::ReadAndCrash { queue, limit, visibility, polls }),
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

    fn begin(&mut self, message: &Message, visibility: u32) {
        let due = self.due_in(visibility);
        let held = self.held.get_mut(&message.msg_id).expect("a message that is there");
        held.tries += 1;
        held.due = due;
        held.lease = Some(message.lease);
        self.leases.push((message.msg_id, message.lease));
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

/// Polls `work` so often, then drops it: a process that dies while it waits for Postgres.
async fn killed_after<T>(polls: u32, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut left = polls;
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

struct Tables<'a> {
    db: &'a Db,
    model: Model,
}

impl Tables<'_> {
    async fn send_on(&self, connection: &mut PgConnection, new: &Send) {
        queue::send(connection, self.new_message(new)).await.expect("sent");
    }

    fn new_message(&self, new: &Send) -> NewMessage<'static> {
        NewMessage {
            queue: QUEUES[new.queue],
            key: new.key.map(|key| KEYS[key]),
            priority: new.priority,
            delay: STEP * new.delay,
            anew: new.anew,
            message: json!({}),
            headers: json!(self.model.sends),
        }
    }

    async fn step(&mut self, step: &Step) {
        self.model.statements += 1;
        match step {
            Step::Send(new) => {
                self.model.sends += 1;
                let mut connection = self.db.acquire().await.expect("a connection");
                self.send_on(&mut connection, new).await;
                let made = self.model.send(new);
                self.adopt(made.into_iter().collect()).await;
            }
            Step::SendBatch(queue, batch) => {
                let (mut messages, mut made) = (Vec::new(), Vec::<Held>::new());
                for new in batch {
                    let new = Send { queue: *queue, ..new.clone() };
                    self.model.sends += 1;
                    messages.push(self.new_message(&new));
                    // The batch's own twins are as if sent one after another.
                    let due = self.model.due_in(new.delay);
                    match made.iter_mut().find(|held| held.key.is_some() && held.key == new.key) {
                        Some(twin) => {
                            twin.due = twin.due.min(due);
                            twin.priority = twin.priority.max(new.priority);
                            twin.headers = self.model.sends;
                        }
                        None => made.extend(self.model.send(&new)),
                    }
                }
                let mut connection = self.db.acquire().await.expect("a connection");
                queue::send_batch(&mut connection, QUEUES[*queue], messages).await.expect("sent");
                self.adopt(made).await;
            }
            Step::SendAndCrash(new) => {
                let doomed = self.doomed().await;
                let mut tx = doomed.begin().await.expect("a transaction");
                self.send_on(&mut tx, new).await;
                drop(tx);
                // Until Postgres has noticed, a read skips what the dead one had locked.
                self.bury(doomed).await;
            }
            Step::Read { queue, limit, visibility } => {
                let mut expected = self.model.readable(*queue);
                expected.truncate(usize::try_from(*limit).expect("small"));
                let read = queue::read(self.db, QUEUES[*queue], "w", STEP * *visibility, *limit).await.expect("read");
                let ids: BTreeSet<i64> = read.iter().map(|message| message.msg_id).collect();
                assert_eq!(ids, expected.iter().copied().collect(), "by priority, then by time");
                self.begun(&read, *visibility);
            }
            Step::ReadTogether { readers, limit } => self.read_together(*readers, *limit).await,
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
            Step::ActAndCrash(number, act, polls) => {
                let lease = self.model.lease(*number);
                let doomed = self.doomed().await;
                drop(killed_after(*polls, act_on(&doomed, lease, *act)).await);
                self.bury(doomed).await;
                let mut done = self.model.clone();
                done.act(lease, *act);
                // Nobody heard the answer: all of it happened, or nothing.
                if self.holds_what(&done).await {
                    self.model = done;
                }
            }
            Step::ReadAndCrash { queue, limit, visibility, polls } => {
                let doomed = self.doomed().await;
                drop(killed_after(*polls, queue::read(&doomed, QUEUES[*queue], "w", STEP * *visibility, *limit)).await);
                self.bury(doomed).await;
                // The leases went with their worker; the rows tell whether they were given.
                let given: Vec<(i64, i64)> = sqlx::query_as("SELECT msg_id, lease FROM queue.message WHERE lease > $1 ORDER BY lease")
                    .bind(self.model.leases.iter().map(|(_, lease)| *lease).max().unwrap_or(0))
                    .fetch_all(self.db)
                    .await
                    .expect("leases");
                if !given.is_empty() {
                    let mut expected = self.model.readable(*queue);
                    expected.truncate(usize::try_from(*limit).expect("small"));
                    assert_eq!(given.iter().map(|(id, _)| *id).collect::<BTreeSet<_>>(), expected.into_iter().collect());
                }
                let due = self.model.due_in(*visibility);
                for (id, lease) in given {
                    let held = self.model.held.get_mut(&id).expect("held");
                    (held.tries, held.due, held.lease) = (held.tries + 1, due, Some(lease));
                    self.model.leases.push((id, lease));
                }
            }
            Step::TimePasses(steps) => {
                sqlx::query("UPDATE queue.message SET vt = vt - make_interval(secs => $1)")
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

    /// Numbers of new messages come from Postgres.
    async fn adopt(&mut self, made: Vec<Held>) {
        let known: Vec<i64> = self.model.held.keys().copied().collect();
        let mut new: Vec<(i64, i64)> = sqlx::query_as("SELECT msg_id, headers::bigint FROM queue.message WHERE msg_id <> ALL ($1)")
            .bind(&known)
            .fetch_all(self.db)
            .await
            .expect("rows");
        assert_eq!(new.len(), made.len(), "as many messages as were sent, less those that had a twin");
        for held in made {
            let place = new.iter().position(|(_, headers)| u64::try_from(*headers).ok() == Some(held.headers)).expect("its headers");
            self.model.held.insert(new.swap_remove(place).0, held);
        }
    }

    fn begun(&mut self, read: &[Message], visibility: u32) {
        let latest = self.model.leases.iter().map(|(_, lease)| *lease).max().unwrap_or(0);
        for message in read {
            assert!(message.lease > latest, "each lease is higher than all before it");
            self.model.begin(message, visibility);
            assert_eq!(message.read_ct, self.model.held[&message.msg_id].tries);
        }
    }

    /// Workers that read at the same time, of both queues: together they get what one after another would have got.
    async fn read_together(&mut self, readers: usize, limit: i64) {
        let reads: JoinSet<_> = (0..readers)
            .map(|number| {
                let db = self.db.clone();
                async move { queue::read(&db, QUEUES[number % 2], "w", STEP, limit).await.expect("read") }
            })
            .collect();
        let readable: Vec<BTreeSet<i64>> = (0..2).map(|queue| self.model.readable(queue).into_iter().collect()).collect();
        let read: Vec<Message> = reads.join_all().await.into_iter().flatten().collect();
        let ids: BTreeSet<i64> = read.iter().map(|message| message.msg_id).collect();
        assert_eq!(ids.len(), read.len(), "nothing twice");
        let may: BTreeSet<i64> = readable.iter().flatten().copied().collect();
        assert!(ids.is_subset(&may), "only what was due: {ids:?} of {may:?}");
        assert_eq!(ids.is_empty(), may.is_empty(), "something, if anything was due");
        let mut keys = BTreeSet::new();
        let alone = read.iter().filter_map(|message| message.key.as_deref()).all(|key| keys.insert(key));
        assert!(alone, "never two of one key");
        self.begun(&read, 1);
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

    /// A worker that is going to be killed has connections of its own.
    async fn doomed(&self) -> Db {
        let options = (*self.db.connect_options()).clone().application_name("doomed");
        sqlx::postgres::PgPoolOptions::new().max_connections(1).connect_with(options).await.expect("a pool")
    }

    /// Waits until they are gone, and with them what Postgres was still doing for it: an idle one may have work to read.
    async fn bury(&self, doomed: Db) {
        doomed.close().await;
        let begun = Instant::now();
        loop {
            let alive: i64 =
                sqlx::query_scalar("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'doomed'")
                    .fetch_one(self.db)
                    .await
                    .expect("a count");
            if alive == 0 {
                break;
            }
            assert!(begun.elapsed() < SOON, "the dead worker's connection ends");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
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
                sqlx::query("TRUNCATE queue.message, queue.archive").execute(&db).await.expect("an empty queue");
                let mut tables = Tables { db: &db, model: Model::default() };
                for step in &steps {
                    tables.step(step).await;
                }
                tables.drain().await;
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

/// Counts the runs of each message, and takes a moment.
struct Counts(Arc<Mutex<HashMap<i64, usize>>>);

#[async_trait]
impl Job for Counts {
    async fn run(&self, _: &JobContext, message: &Message) -> Outcome {
        *self.0.lock().expect("the counts").entry(message.msg_id).or_default() += 1;
        tokio::time::sleep(Duration::from_millis(u64::try_from(message.msg_id % 7).expect("small"))).await;
        Outcome::Done
    }

    async fn dead(&self, _: &JobContext, message: &Message, error: &str) {
        panic!("message {} died: {error}", message.msg_id);
    }
}

/// Cuts the connections that listen, over and over; now and then all of the workers' connections.
fn cut_connections(admin: Db, stop: CancellationToken) -> JoinHandle<i64> {
    tokio::spawn(async move {
        let mut cut = 0;
        for round in 0_u32.. {
            if stop.is_cancelled() {
                break;
            }
            let all = round % 10 == 9;
            let gone: i64 = sqlx::query_scalar(
                "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity
                 WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
                   AND application_name = 'pinacle' AND (query ILIKE 'LISTEN%' OR $1)",
            )
            .bind(all)
            .fetch_one(&admin)
            .await
            .expect("the admin's connection is not cut");
            cut += gone;
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        cut
    })
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_processes_that_are_killed_and_whose_connections_are_cut_end_every_message() {
    const PODS: usize = 300;
    const PROCESSES: usize = 3;
    let (database, db) = Database::migrated(4).await;
    let admin = {
        let options = (*db.connect_options()).clone().application_name("test");
        db.close().await;
        sqlx::postgres::PgPoolOptions::new().max_connections(2).connect_with(options).await.expect("a pool")
    };
    let log = std::env::temp_dir().join(format!("{}.log", database.name));
    let mut workers: Vec<Process> = (0..PROCESSES).map(|_| Process::begin(&database, &log)).collect();
    let calm = CancellationToken::new();
    let scissors = cut_connections(admin.clone(), calm.clone());
    for number in 0..PODS {
        // Of pods that are gone: nothing is left to be done about them.
        let pod = PodId(uuid::Uuid::new_v4());
        for _ in 0..2 {
            let mut connection = admin.acquire().await.expect("a connection");
            wishes::enqueue(&mut connection, pod, "stop-pod", wishes::ASKED).await.expect("sent");
        }
        if number % 60 == 30 {
            drop(workers.remove(0));
            workers.push(Process::begin(&database, &log));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    calm.cancel();
    assert!(scissors.await.expect("the scissors end") > 10, "something was cut");
    let left = "SELECT count(*) FROM queue.message WHERE queue = 'pod'";
    let begun = Instant::now();
    while sqlx::query_scalar::<_, i64>(left).fetch_one(&admin).await.expect("a count") > 0 {
        assert!(begun.elapsed() < SOON, "messages are left:\n{}", std::fs::read_to_string(&log).unwrap_or_default());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (keys, twice, dead, by): (i64, i64, i64, i64) = sqlx::query_as(
        "SELECT count(DISTINCT key), count(*) - count(DISTINCT msg_id), count(*) FILTER (WHERE outcome <> 'done'), count(DISTINCT worker)
         FROM queue.archive WHERE queue = 'pod'",
    )
    .fetch_one(&admin)
    .await
    .expect("the archive");
    assert_eq!((keys, twice, dead), (i64::try_from(PODS).expect("small"), 0, 0));
    assert!(by > 1, "several took part");
    drop(workers);
    std::fs::remove_file(log).expect("removed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_whose_connections_are_cut_end_every_message_exactly_once() {
    const MESSAGES: usize = 240;
    const WORKERS: usize = 4;
    let (database, db) = Database::migrated(4).await;
    // Another name, so that the scissors leave it alone.
    let admin = {
        let options = (*db.connect_options()).clone().application_name("test");
        db.close().await;
        sqlx::postgres::PgPoolOptions::new().max_connections(2).connect_with(options).await.expect("a pool")
    };
    let counts = Arc::new(Mutex::new(HashMap::new()));
    let stop = CancellationToken::new();
    let mut workers = JoinSet::new();
    for number in 0..WORKERS {
        let worker = Worker {
            db: database.connect(4).await,
            queue: "work",
            name: format!("w{number}"),
            concurrency: 4,
            visibility: Duration::from_secs(2),
            job: Arc::new(Counts(counts.clone())),
        };
        workers.spawn(worker.run(stop.clone()));
    }
    let calm = CancellationToken::new();
    let scissors = cut_connections(admin.clone(), calm.clone());
    for number in 0..MESSAGES {
        let key = format!("k{number}");
        let new = NewMessage {
            queue: "work",
            key: (number % 2 == 0).then_some(key.as_str()),
            priority: i16::try_from(number % 3).expect("small"),
            delay: Duration::ZERO,
            anew: false,
            message: json!({}),
            headers: json!({}),
        };
        queue::send(&mut admin.acquire().await.expect("a connection"), new).await.expect("sent");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    calm.cancel();
    assert!(scissors.await.expect("the scissors end") > 10, "something was cut");
    let begun = Instant::now();
    loop {
        let left: i64 = sqlx::query_scalar("SELECT count(*) FROM queue.message").fetch_one(&admin).await.expect("a count");
        if left == 0 {
            break;
        }
        assert!(begun.elapsed() < SOON, "{left} messages are left");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.cancel();
    tokio::time::timeout(SOON, workers.join_all()).await.expect("the workers end");
    let (rows, different, done): (i64, i64, i64) =
        sqlx::query_as("SELECT count(*), count(DISTINCT msg_id), count(*) FILTER (WHERE outcome = 'done') FROM queue.archive")
            .fetch_one(&admin)
            .await
            .expect("the archive");
    let all = i64::try_from(MESSAGES).expect("small");
    assert_eq!((rows, different, done), (all, all, all));
    assert_eq!(counts.lock().expect("the counts").len(), MESSAGES, "each ran at least once");
}
