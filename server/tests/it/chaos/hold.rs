//! Holds a pod's job at one point of one step, without a line of the server's for it: a trigger in the test's own database makes
//! the writing of that step's event wait for a lock that the test has.

use pinacle_server::db::Db;
use sqlx::{Connection, PgConnection};

/// First half of the locks' names, in the trigger too.
const LOCKS: i32 = 475;

pub struct Holds {
    /// Has the locks; they end with it, also where Postgres is killed.
    locks: PgConnection,
}

impl Holds {
    pub async fn set_up(db: &Db) {
        let sql = "CREATE SCHEMA IF NOT EXISTS chaos;
             CREATE TABLE IF NOT EXISTS chaos.hold (key int PRIMARY KEY, name text NOT NULL, step text NOT NULL, kind text NOT NULL);
             CREATE OR REPLACE FUNCTION chaos.wait() RETURNS trigger LANGUAGE plpgsql AS $$
               DECLARE held int;
               BEGIN
                 SELECT h.key INTO held FROM chaos.hold h JOIN pods p ON p.name = h.name
                 WHERE p.id = NEW.pod_id AND h.step = NEW.step AND h.kind = NEW.kind;
                 IF held IS NOT NULL THEN PERFORM pg_advisory_xact_lock_shared(475, held); END IF;
                 RETURN NEW;
               END $$;
             CREATE OR REPLACE TRIGGER wait BEFORE INSERT ON pod_event FOR EACH ROW EXECUTE FUNCTION chaos.wait();";
        sqlx::raw_sql(sql).execute(db).await.expect("the trigger");
    }

    pub async fn new(url: &str) -> Self {
        let mut holds = Self { locks: PgConnection::connect(url).await.expect("a connection for the locks") };
        // Of a round that broke off.
        holds.forget_all().await;
        holds
    }

    /// From now on the event of this kind, of this step of the pod of this name, waits.
    pub async fn hold(&mut self, key: i32, name: &str, step: &str, kind: &str) {
        sqlx::query("SELECT pg_advisory_lock($1, $2)").bind(LOCKS).bind(key).execute(&mut self.locks).await.expect("locked");
        let held = sqlx::query("INSERT INTO chaos.hold (key, name, step, kind) VALUES ($1, $2, $3, $4)").bind(key).bind(name).bind(step).bind(kind);
        held.execute(&mut self.locks).await.expect("written");
    }

    /// Which of them wait.
    pub async fn waiting(&mut self) -> Vec<i32> {
        let waiting = "SELECT DISTINCT objid::int FROM pg_locks WHERE locktype = 'advisory' AND classid = $1::oid AND NOT granted
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        sqlx::query_scalar(waiting).bind(LOCKS).fetch_all(&mut self.locks).await.expect("the locks")
    }

    /// What comes by later is not held either.
    pub async fn forget_all(&mut self) {
        sqlx::query("DELETE FROM chaos.hold").execute(&mut self.locks).await.expect("forgotten");
    }

    pub async fn release(&mut self, key: i32) {
        sqlx::query("SELECT pg_advisory_unlock($1, $2)").bind(LOCKS).bind(key).execute(&mut self.locks).await.expect("unlocked");
    }

    /// All that are left. False: Postgres was killed, and they ended with it.
    pub async fn release_all(mut self) -> bool {
        let released = sqlx::query("SELECT pg_advisory_unlock_all()").execute(&mut self.locks).await;
        if let Err(error) = &released {
            eprintln!("the locks ended with Postgres: {error}");
        }
        released.is_ok()
    }
}
