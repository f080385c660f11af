//! The queue on a real Postgres: order, keys, leases, tries, the clock, and workers that share it.

use crate::database::Database;
use async_trait::async_trait;
use pinacle_server::{
    db::Db,
    queue::{self, Job, JobContext, Message, NewMessage, Outcome, Worker},
};
use serde_json::{Value, json};
use sqlx::postgres::PgListener;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    sync::mpsc,
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

const QUEUE: &str = "work";
const LONG: Duration = Duration::from_secs(600);
/// For what has to happen, on a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(30);

async fn send(db: &Db, key: Option<&str>, priority: i16, delay: Duration, what: &str) {
    let mut connection = db.acquire().await.expect("a connection");
    let new = NewMessage { queue: QUEUE, key, priority, delay, anew: false, message: json!({ "what": what }), headers: json!({}) };
    queue::send(&mut connection, new).await.expect("sent");
}

async fn send_now(db: &Db, key: Option<&str>, what: &str) {
    send(db, key, 0, Duration::ZERO, what).await;
}

async fn read(db: &Db, worker: &str, visibility: Duration) -> Option<Message> {
    queue::read(db, QUEUE, worker, visibility, 1).await.expect("read").pop()
}

fn what(message: &Message) -> &str {
    message.message["what"].as_str().expect("text")
}

/// All messages as they stand, oldest first.
async fn rows(db: &Db) -> Vec<Value> {
    sqlx::query_scalar("SELECT to_jsonb(m) FROM queue.message m WHERE queue = $1 ORDER BY msg_id").bind(QUEUE).fetch_all(db).await.expect("rows")
}

async fn archived(db: &Db) -> Vec<Value> {
    sqlx::query_scalar("SELECT to_jsonb(a) FROM queue.archive a WHERE queue = $1 ORDER BY archived_at").bind(QUEUE).fetch_all(db).await.expect("rows")
}

async fn execute(db: &Db, sql: &'static str) {
    sqlx::query(sql).execute(db).await.expect("executed");
}

/// Asks until it is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < SOON, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A worker at work, until it is told to stop.
struct AtWork {
    stop: CancellationToken,
    ended: JoinHandle<()>,
}

impl AtWork {
    fn begin(db: &Db, name: &str, concurrency: usize, visibility: Duration, job: impl Job) -> Self {
        let stop = CancellationToken::new();
        let worker = Worker { db: db.clone(), queue: QUEUE, name: name.to_owned(), concurrency, visibility, job: Arc::new(job) };
        Self { ended: tokio::spawn(worker.run(stop.clone())), stop }
    }

    async fn stop(self) {
        self.stop.cancel();
        timeout(SOON, self.ended).await.expect("the worker ends").expect("without a fault");
    }
}

/// Tells of every run, and does nothing else.
struct Tells(mpsc::UnboundedSender<String>);

#[async_trait]
impl Job for Tells {
    async fn run(&self, _: &JobContext, message: &Message) -> Outcome {
        self.0.send(what(message).to_owned()).expect("somebody listens");
        Outcome::Done
    }

    async fn dead(&self, _: &JobContext, _: &Message, _: &str) {}
}

#[tokio::test]
async fn messages_come_by_priority_and_then_by_the_time_they_are_due() {
    let (_database, db) = Database::migrated(3).await;
    for (name, priority) in [("third", 0), ("fourth", 0), ("second", 3), ("first", 10)] {
        send(&db, None, priority, Duration::ZERO, name).await;
    }
    send(&db, None, 100, LONG, "not yet").await;
    // Longer due than what was sent before it.
    execute(&db, "UPDATE queue.message SET vt = vt - interval '1 minute' WHERE message->>'what' = 'third'").await;
    execute(&db, "UPDATE queue.message SET vt = vt - interval '1 second' WHERE message->>'what' = 'fourth'").await;
    let mut two: Vec<String> = queue::read(&db, QUEUE, "a", LONG, 2).await.expect("read").iter().map(|message| what(message).to_owned()).collect();
    two.sort();
    assert_eq!(two, ["first", "second"], "a batch takes what comes first");
    for expected in ["third", "fourth"] {
        assert_eq!(what(&read(&db, "a", LONG).await.expect("a message")), expected);
    }
    assert!(read(&db, "a", LONG).await.is_none(), "what is not due yet is not read");
}

#[tokio::test]
async fn a_key_has_at_most_one_message_running_and_one_waiting() {
    let (_database, db) = Database::migrated(3).await;
    send_now(&db, Some("pod:1"), "a").await;
    let running = read(&db, "a", LONG).await.expect("a message");
    for _ in 0..3 {
        send_now(&db, Some("pod:1"), "b").await;
    }
    send_now(&db, Some("pod:2"), "other").await;
    assert_eq!(rows(&db).await.len(), 3, "one running and one waiting of the key, and another's");
    assert_eq!(what(&read(&db, "b", LONG).await.expect("another key's")), "other");
    assert!(read(&db, "b", LONG).await.is_none(), "the twin waits while the other runs");
    assert!(queue::archive(&db, running.msg_id, running.lease, None).await.expect("archived"));
    let next = read(&db, "b", LONG).await.expect("the twin's turn");
    assert!(next.msg_id != running.msg_id && next.lease > running.lease);
}

#[tokio::test]
async fn of_two_workers_that_read_the_same_key_at_once_one_gets_it() {
    let (_database, db) = Database::migrated(8).await;
    for round in 0..20 {
        send_now(&db, Some("pod:1"), &round.to_string()).await;
        let readers: JoinSet<_> = (0..6)
            .map(|_| {
                let db = db.clone();
                async move { read(&db, "a", LONG).await }
            })
            .collect();
        let got: Vec<Message> = readers.join_all().await.into_iter().flatten().collect();
        assert_eq!(got.len(), 1, "round {round}");
        assert!(queue::archive(&db, got[0].msg_id, got[0].lease, None).await.expect("archived"));
    }
}

#[tokio::test]
async fn a_twin_keeps_the_earlier_time_and_the_higher_priority() {
    let (_database, db) = Database::migrated(3).await;
    send(&db, Some("k"), 9, LONG, "urgent, later").await;
    send(&db, Some("k"), 1, Duration::ZERO, "not urgent, now").await;
    let only = rows(&db).await;
    assert_eq!((only.len(), &only[0]["priority"]), (1, &json!(9)));
    assert!(read(&db, "a", Duration::ZERO).await.is_some(), "due now");
    execute(&db, "DELETE FROM queue.message").await;
    send(&db, Some("k"), 9, Duration::ZERO, "urgent, now").await;
    send(&db, Some("k"), 1, LONG, "not urgent, later").await;
    assert_eq!(rows(&db).await[0]["priority"], 9);
    assert!(read(&db, "a", LONG).await.is_some(), "still due now");
}

#[tokio::test]
async fn an_expired_lease_is_read_again_with_a_higher_one_and_the_lost_one_changes_nothing() {
    let (_database, db) = Database::migrated(3).await;
    send_now(&db, Some("k"), "a").await;
    let lost = read(&db, "a", Duration::ZERO).await.expect("a message");
    // A twin does not overtake it.
    send_now(&db, Some("k"), "twin").await;
    let held = read(&db, "b", LONG).await.expect("its visibility is over");
    assert_eq!((held.msg_id, held.read_ct), (lost.msg_id, 2));
    assert!(held.lease > lost.lease);
    let before = rows(&db).await;
    let (id, lease) = (lost.msg_id, lost.lease);
    assert!(!queue::set_vt(&db, id, lease, LONG).await.expect("answered"));
    assert!(!queue::archive(&db, id, lease, None).await.expect("answered"));
    assert!(!queue::archive(&db, id, lease, Some("dead")).await.expect("answered"));
    assert!(!queue::fail(&db, id, lease, Duration::ZERO).await.expect("answered"));
    assert!(!queue::release(&db, id, lease, Duration::ZERO).await.expect("answered"));
    assert_eq!(rows(&db).await, before);
    assert!(archived(&db).await.is_empty());
    assert!(queue::set_vt(&db, id, held.lease, LONG).await.expect("answered"), "the one that holds it may");
}

#[tokio::test]
async fn a_failure_beside_a_newer_message_of_its_key_leaves_that_one_due_at_once_with_all_its_tries() {
    let (_database, db) = Database::migrated(3).await;
    send_now(&db, Some("k"), "a").await;
    let running = read(&db, "a", LONG).await.expect("a message");
    send(&db, Some("k"), 5, Duration::ZERO, "newer").await;
    assert!(queue::fail(&db, running.msg_id, running.lease, LONG).await.expect("answered"));
    let twin = read(&db, "a", LONG).await.expect("it does not wait for the other's back-off");
    assert_eq!((what(&twin), twin.read_ct), ("newer", 1));
    assert_eq!(rows(&db).await.len(), 1);
}

#[tokio::test]
async fn what_is_sent_in_a_transaction_that_is_rolled_back_was_not_sent() {
    let (_database, db) = Database::migrated(3).await;
    for (commit, count) in [(false, 0), (true, 1)] {
        let mut tx = db.begin().await.expect("a transaction");
        let new =
            NewMessage { queue: QUEUE, key: Some("k"), priority: 0, delay: Duration::ZERO, anew: false, message: json!({}), headers: json!({}) };
        queue::send(&mut tx, new).await.expect("sent");
        assert!(read(&db, "a", LONG).await.is_none(), "nobody reads what is not committed");
        if commit {
            tx.commit().await.expect("committed")
        } else {
            tx.rollback().await.expect("rolled back")
        }
        assert_eq!(rows(&db).await.len(), count);
    }
}

/// Fails every time, and counts.
struct Fails {
    runs: Arc<AtomicUsize>,
    dead: mpsc::UnboundedSender<String>,
}

#[async_trait]
impl Job for Fails {
    async fn run(&self, _: &JobContext, _: &Message) -> Outcome {
        Outcome::Failed(format!("failure {}", self.runs.fetch_add(1, Ordering::SeqCst) + 1))
    }

    async fn dead(&self, _: &JobContext, _: &Message, error: &str) {
        self.dead.send(error.to_owned()).expect("somebody listens");
    }
}

#[tokio::test]
async fn after_five_tries_with_growing_pauses_a_message_is_a_dead_letter() {
    let (_database, db) = Database::migrated(4).await;
    let runs = Arc::new(AtomicUsize::new(0));
    let (dead, mut deaths) = mpsc::unbounded_channel();
    send_now(&db, Some("k"), "a").await;
    let worker = AtWork::begin(&db, "a", 2, LONG, Fails { runs: runs.clone(), dead });
    let mut pauses = Vec::new();
    for tries in 1..5_i64 {
        until("it is given back", async || rows(&db).await.first().is_some_and(|row| row["lease"].is_null() && row["read_ct"] == tries)).await;
        let pause: f64 =
            sqlx::query_scalar("SELECT extract(epoch FROM vt - now())::float8 FROM queue.message").fetch_one(&db).await.expect("a pause");
        pauses.push(pause);
        execute(&db, "UPDATE queue.message SET vt = now()").await;
    }
    assert_eq!(timeout(SOON, deaths.recv()).await.expect("it dies"), Some("failure 5".to_owned()));
    until("it is in the archive", async || rows(&db).await.is_empty()).await;
    worker.stop().await;
    assert_eq!(runs.load(Ordering::SeqCst), 5);
    assert!(pauses.windows(2).all(|two| two[1] > two[0]), "{pauses:?}");
    let letters = archived(&db).await;
    let letter = &letters[0];
    assert_eq!((letters.len(), &letter["outcome"], &letter["error"], &letter["read_ct"]), (1, &json!("dead"), &json!("failure 5"), &json!(5)));
    assert!(deaths.try_recv().is_err(), "dead once");
}

#[tokio::test]
async fn a_message_whose_workers_died_five_times_is_not_tried_once_more() {
    let (_database, db) = Database::migrated(4).await;
    send_now(&db, Some("k"), "deadly").await;
    for _ in 0..5 {
        assert!(read(&db, "that died", Duration::ZERO).await.is_some());
    }
    let runs = Arc::new(AtomicUsize::new(0));
    let (dead, mut deaths) = mpsc::unbounded_channel();
    let worker = AtWork::begin(&db, "a", 2, LONG, Fails { runs: runs.clone(), dead });
    assert!(timeout(SOON, deaths.recv()).await.expect("it dies").is_some());
    worker.stop().await;
    assert_eq!(runs.load(Ordering::SeqCst), 0);
    assert_eq!(archived(&db).await[0]["outcome"], "dead");
}

#[tokio::test]
async fn the_clock_sends_once_however_many_workers_hear_it() {
    let (_database, db) = Database::migrated(10).await;
    execute(&db, "UPDATE queue.cron SET every = interval '1 hour', next_at = now() - interval '1 minute'").await;
    let clocks: JoinSet<Vec<Option<String>>> = (0..8)
        .map(|number| {
            let db = db.clone();
            async move {
                let mut sent = Vec::new();
                for _ in 0..5 {
                    queue::send_due(&db).await.expect("sent");
                    // Taken off at once: a waiting twin would hide what was sent a second time.
                    for message in queue::read(&db, "fleet", &number.to_string(), LONG, 10).await.expect("read") {
                        assert!(queue::archive(&db, message.msg_id, message.lease, None).await.expect("archived"));
                        sent.push(message.key);
                    }
                }
                sent
            }
        })
        .collect();
    let mut sent: Vec<String> = clocks.join_all().await.into_iter().flatten().flatten().collect();
    sent.sort();
    assert_eq!(sent, ["check-hosts", "maintain", "reconcile", "sweep"]);
}

/// Counts the runs of each message.
struct Counts(Arc<Mutex<HashMap<String, usize>>>);

#[async_trait]
impl Job for Counts {
    async fn run(&self, _: &JobContext, message: &Message) -> Outcome {
        tokio::task::yield_now().await;
        *self.0.lock().expect("the counts").entry(what(message).to_owned()).or_default() += 1;
        Outcome::Done
    }

    async fn dead(&self, _: &JobContext, _: &Message, _: &str) {}
}

#[tokio::test]
async fn many_workers_do_every_message_exactly_once() {
    const MESSAGES: usize = 400;
    let (_database, db) = Database::migrated(20).await;
    let counts = Arc::new(Mutex::new(HashMap::new()));
    let workers: Vec<AtWork> = (0..5).map(|number| AtWork::begin(&db, &format!("w{number}"), 8, LONG, Counts(counts.clone()))).collect();
    let mut tx = db.begin().await.expect("a transaction");
    for number in 0..MESSAGES {
        let new = NewMessage {
            queue: QUEUE,
            key: None,
            priority: 0,
            delay: Duration::ZERO,
            anew: false,
            message: json!({ "what": number.to_string() }),
            headers: json!({}),
        };
        queue::send(&mut tx, new).await.expect("sent");
    }
    tx.commit().await.expect("committed");
    until("the queue is empty", async || rows(&db).await.is_empty()).await;
    for worker in workers {
        worker.stop().await;
    }
    let runs: Vec<usize> = counts.lock().expect("the counts").values().copied().collect();
    assert_eq!(runs, vec![1; MESSAGES]);
    assert_eq!(archived(&db).await.iter().filter(|row| row["outcome"] == "done").count(), MESSAGES);
}

#[tokio::test]
async fn a_send_notifies_where_a_worker_waits_and_only_there() {
    let (_database, db) = Database::migrated(4).await;
    let mut ears = PgListener::connect_with(&db).await.expect("a listener");
    ears.listen("queue").await.expect("listening");
    send_now(&db, None, "nobody waits").await;
    queue::wait_for_work(&db, "another", "b", LONG).await.expect("listed");
    send_now(&db, None, "another queue's worker waits").await;
    queue::wait_for_work(&db, QUEUE, "a", LONG).await.expect("listed");
    send_now(&db, None, "one waits").await;
    assert_eq!(timeout(SOON, ears.recv()).await.expect("notified").expect("heard").payload(), QUEUE);
    queue::woken(&db, "a").await.expect("off the list");
    send_now(&db, None, "it works").await;
    queue::wait_for_work(&db, "another", "b", LONG).await.expect("listed");
    // What comes next is this, and nothing of what was sent before.
    execute(&db, "SELECT pg_notify('queue', 'the end')").await;
    assert_eq!(timeout(SOON, ears.recv()).await.expect("notified").expect("heard").payload(), "the end");
}

#[tokio::test]
async fn an_idle_worker_is_woken_and_does_not_wait_for_its_next_look() {
    const TIMES: usize = 12;
    let (_database, db) = Database::migrated(6).await;
    let (tell, mut told) = mpsc::unbounded_channel();
    let worker = AtWork::begin(&db, "a", 1, LONG, Tells(tell));
    let mut waits = Vec::new();
    for _ in 0..TIMES {
        until("it waits", async || {
            sqlx::query_scalar("SELECT count(*) FROM queue.idle WHERE until > now() + interval '1.9 seconds'")
                .fetch_one(&db)
                .await
                .is_ok_and(|n: i64| n == 1)
        })
        .await;
        let begun = Instant::now();
        send_now(&db, None, "x").await;
        timeout(SOON, told.recv()).await.expect("it runs").expect("a run");
        waits.push(begun.elapsed());
    }
    worker.stop().await;
    waits.sort();
    // Its own look comes within a second: without the wake-up, half of them would take longer than half of one.
    assert!(waits[TIMES / 2] < Duration::from_millis(300), "{waits:?}");
}

/// Runs until it is dropped, and tells of both.
struct Endless(mpsc::UnboundedSender<&'static str>);

struct Dropped(mpsc::UnboundedSender<&'static str>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

#[async_trait]
impl Job for Endless {
    async fn run(&self, _: &JobContext, _: &Message) -> Outcome {
        let _dropped = Dropped(self.0.clone());
        self.0.send("began").expect("somebody listens");
        std::future::pending().await
    }

    async fn dead(&self, _: &JobContext, _: &Message, _: &str) {}
}

#[tokio::test]
async fn a_lease_is_kept_for_as_long_as_the_job_works_and_a_job_whose_lease_was_lost_is_stopped() {
    let (_database, db) = Database::migrated(6).await;
    let (tell, mut told) = mpsc::unbounded_channel();
    send_now(&db, Some("k"), "long").await;
    let worker = AtWork::begin(&db, "a", 1, Duration::from_secs(2), Endless(tell));
    assert_eq!(timeout(SOON, told.recv()).await.expect("it begins"), Some("began"));
    let first = rows(&db).await[0]["vt"].clone();
    // Well after its first visibility: nobody else gets it.
    until("its visibility is extended twice", async || {
        assert!(read(&db, "b", LONG).await.is_none());
        sqlx::query_scalar("SELECT vt > $1::timestamptz + interval '3 seconds' FROM queue.message")
            .bind(first.as_str())
            .fetch_one(&db)
            .await
            .expect("a time")
    })
    .await;
    execute(&db, "UPDATE queue.message SET lease = nextval('queue.fence'), worker = 'b', vt = now() + interval '1 hour'").await;
    let taken = rows(&db).await;
    assert_eq!(timeout(SOON, told.recv()).await.expect("it is stopped"), Some("dropped"));
    worker.stop().await;
    assert_eq!(rows(&db).await, taken, "and it has changed nothing");
}

#[tokio::test]
async fn a_worker_that_is_to_end_hands_back_what_it_can_not_finish() {
    let (_database, db) = Database::migrated(4).await;
    let (tell, mut told) = mpsc::unbounded_channel();
    send_now(&db, Some("k"), "long").await;
    let worker = AtWork::begin(&db, "a", 1, LONG, Endless(tell));
    assert_eq!(timeout(SOON, told.recv()).await.expect("it begins"), Some("began"));
    worker.stop().await;
    let message = read(&db, "b", LONG).await.expect("due at once");
    assert_eq!(message.read_ct, 1, "the first one's does not count as a try");
}
