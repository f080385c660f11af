//! The pool, the migrations, and how a database error becomes an answer.

use crate::config::Config;
use pinacle_app::AppError;
use secrecy::ExposeSecret;
use sqlx::{
    Connection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use std::{str::FromStr, time::Duration};

pub type Db = sqlx::PgPool;

const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that was in use so lately is taken to be alive: a page of ten statements need not ask ten times more.
const ALIVE: Duration = Duration::from_secs(1);
const STATEMENT_TIMEOUT: &str = "30s";
/// A worker that is paused within a transaction holds up whoever takes its pods over, and their users' wishes, no longer than this.
const IDLE_IN_TRANSACTION_TIMEOUT: &str = "10s";
/// Compiling a statement takes longer than any of ours runs.
const JIT: &str = "off";

pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../migrations");

/// Connects, and brings the tables up to date where they are not: a server whose role may not change tables runs beside
/// `pinacle-server migrate`. Several servers may do so at once.
pub async fn open(config: &Config) -> Result<Db, sqlx::Error> {
    let db = connect(config.database_url.expose_secret(), config.database_connections).await?;
    if !has_tables(&db).await? || !is_current(&db).await? {
        MIGRATIONS.run(&db).await?;
    }
    Ok(db)
}

/// Whether migrations were ever run here.
async fn has_tables(db: &Db) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL").fetch_one(db).await
}

/// What `pinacle-server migrate` does: brings the tables up to date, as the role that owns them.
pub async fn migrate(config: &Config) -> Result<(), sqlx::Error> {
    let db = connect(config.database_url.expose_secret(), 1).await?;
    Ok(MIGRATIONS.run(&db).await?)
}

/// Whether all migrations that this program knows were run; a newer program may have run more.
pub async fn is_current(db: &Db) -> Result<bool, sqlx::Error> {
    let known: Vec<i64> = MIGRATIONS.iter().map(|migration| migration.version).collect();
    let run: i64 = sqlx::query_scalar("SELECT count(*) FROM _sqlx_migrations WHERE success AND version = ANY($1)").bind(&known).fetch_one(db).await?;
    Ok(usize::try_from(run).is_ok_and(|run| run == known.len()))
}

pub async fn connect(url: &str, connections: u32) -> Result<Db, sqlx::Error> {
    let options = PgConnectOptions::from_str(url)?.application_name("pinacle").options([
        ("statement_timeout", STATEMENT_TIMEOUT),
        ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_TIMEOUT),
        ("jit", JIT),
    ]);
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                // One that is dead is put away, and another takes its place.
                Ok(meta.idle_for < ALIVE || connection.ping().await.is_ok())
            })
        })
        .connect_with(options)
        .await
}

/// Whether the database is away, starting or stopping, or asks for the transaction to be repeated: the same may work later.
pub fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
        // Connection exceptions, operator intervention (57P01–57P03), too many connections; serialization failures and deadlocks.
        sqlx::Error::Database(error) => {
            error.code().is_some_and(|code| code.starts_with("08") || code.starts_with("57P") || matches!(&*code, "53300" | "40001" | "40P01"))
        }
        _ => false,
    }
}

/// A database error that no caller decides on: logged here once, a plain sentence to the person.
pub fn fault(error: sqlx::Error) -> AppError {
    if is_away(&error) {
        tracing::error!(%error, "the database does not answer");
        return AppError::new(pinacle_app::ErrorCode::Unavailable, "The database does not answer. Try again in a moment.");
    }
    tracing::error!(%error, "a query failed");
    AppError::internal()
}

/// The name of the constraint that a statement broke, if that is what went wrong.
pub fn broken_constraint(error: &sqlx::Error) -> Option<&str> {
    error.as_database_error().and_then(|e| e.constraint())
}
