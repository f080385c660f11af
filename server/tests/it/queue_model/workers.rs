//! The workers themselves, what they have run, and the scissors that cut their connections.

use super::SOON;
use crate::{database::Database, stand::program};
use async_trait::async_trait;
use pinacle_server::{
    db::Db,
    queue::{Job, JobContext, Message, Outcome},
};
use sqlx::postgres::PgPoolOptions;
use std::{
    collections::HashMap,
    fs::File,
    path::Path,
    process::{Child, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What runs and has run, of all workers.
#[derive(Default)]
pub struct Runs {
    pub of_message: HashMap<i64, usize>,
    /// Under way, by key: their leases, and until when those are good.
    of_key: HashMap<String, Vec<(i64, Instant)>>,
    /// Two of one key at once.
    pub together: Vec<String>,
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
pub struct Notes {
    pub runs: Arc<Mutex<Runs>>,
    /// Connections that are not cut.
    pub db: Db,
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
pub struct Cuts {
    pub listening: i64,
    pub others: i64,
}

/// So many of those that listen are cut at least.
pub const ENOUGH: i64 = 12;

/// Cuts the connections that listen, over and over, and now and then all of the workers' connections, until it is to stop and has
/// cut enough of those that listen.
pub fn cut_connections(admin: Db, stop: CancellationToken) -> JoinHandle<Cuts> {
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
pub async fn left_alone(db: Db) -> Db {
    let options = (*db.connect_options()).clone().application_name("test");
    db.close().await;
    PgPoolOptions::new().max_connections(8).connect_with(options).await.expect("a pool")
}

/// Until a count is what it is to be. `log` is what the workers have said.
pub async fn until_it_counts(db: &Db, count: &'static str, is_so: impl Fn(i64) -> bool, log: &Path) {
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
pub struct Process(Child);

impl Process {
    pub fn begin(database: &Database, log: &Path) -> Self {
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
pub const WATCH: &str = "
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
