//! A database of its own for a test, in the stack's Postgres.

use crate::stand::variable;
use pinacle_server::db::{self, Db, MIGRATIONS};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
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
