//! A database of its own for a test, in the stack's Postgres.

use crate::{fleet::root, stand::variable};
use pinacle_server::db::{self, Db, MIGRATIONS};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::{
    path::PathBuf,
    process::{Command, Stdio},
};
use url::Url;

pub struct Database {
    pub name: String,
    pub url: String,
    admin_url: String,
}

impl Database {
    /// Empty: a server brings its tables.
    pub async fn create() -> Self {
        let admin_url = variable("DATABASE_URL");
        let name = format!("it_{:016x}", rand::random::<u64>());
        let mut admin = PgConnection::connect(&admin_url).await.expect("the stack's Postgres answers");
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut admin).await.expect("a database of its own");
        let mut url = Url::parse(&admin_url).expect("DATABASE_URL is an address");
        url.set_path(&name);
        Self { name, url: url.into(), admin_url }
    }

    pub async fn connect(&self, connections: u32) -> Db {
        db::connect(&self.url, connections).await.expect("the test's database answers")
    }

    /// With its tables.
    pub async fn migrated(connections: u32) -> (Self, Db) {
        let database = Self::create().await;
        let db = database.connect(connections).await;
        MIGRATIONS.run(&db).await.expect("the tables");
        (database, db)
    }
}

/// All that a database has at a moment.
pub struct Copy(PathBuf);

impl Database {
    pub fn copy(&self) -> Copy {
        let copy = Copy(std::env::temp_dir().join(format!("{}.copy", self.name)));
        postgres("pg_dump", &["--no-owner", "--file", copy.0.to_str().expect("UTF-8"), &self.url]);
        copy
    }

    /// As it was then; whoever is connected finds itself cut off.
    pub async fn restore(&self, copy: Copy) {
        let drop = "DROP SCHEMA queue CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public;";
        let file = copy.0.to_str().expect("UTF-8");
        postgres("psql", &["--quiet", "--single-transaction", "--set", "ON_ERROR_STOP=1", "--command", drop, "--file", file, &self.url]);
        std::fs::remove_file(&copy.0).expect("removed");
        let mut admin = PgConnection::connect(&self.admin_url).await.expect("the stack's Postgres answers");
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
        sqlx::query(cut).bind(&self.name).execute(&mut admin).await.expect("cut off");
    }
}

/// One of Postgres's own programs.
fn postgres(program: &str, arguments: &[&str]) {
    let mut command = Command::new("bash");
    command.args(["-c", ". dev/lib.sh; exec \"$PG_BIN/$1\" \"${@:2}\"", "-", program]).args(arguments).current_dir(root());
    let output = command.stdout(Stdio::null()).output().expect("bash runs");
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Drop for Database {
    fn drop(&mut self) {
        // Errors have nowhere to go from here: what is left goes with the stack.
        let (url, name) = (self.admin_url.clone(), self.name.clone());
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut admin = PgConnection::connect(&url).await.map_err(std::io::Error::other)?;
                let drop = AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
                sqlx::query(drop).execute(&mut admin).await.map_err(std::io::Error::other)
            })
        });
        let _ = dropping.join();
    }
}
