//! The queue against a plain model in memory: random orders of everything that senders and workers do, what goes wrong
//! included. After each step the tables must hold what the model holds, and whoever listens have heard what it says. Then the
//! workers themselves, while their connections are cut.
//!
//! Time is moved in the rows, not slept through. `PROPTEST_RNG_SEED` repeats a run, `PROPTEST_CASES` says how many.

mod model;
mod steps;
mod struck;
mod tables;
mod workers;

use crate::database::Database;
use pinacle_app::ids::PodId;
use pinacle_server::{
    pods::wishes,
    queue::{self, NewMessage, Worker},
};
use proptest::{
    prelude::prop,
    test_runner::{Config, RngSeed, TestCaseError, TestRunner},
};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};
use steps::step;
use tables::Tables;
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use workers::{ENOUGH, Notes, Process, Runs, WATCH, cut_connections, left_alone, until_it_counts};

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
