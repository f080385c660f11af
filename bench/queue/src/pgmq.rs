//! pgmq by its own SQL (`PGMQ_SQL`: the file that its crate carries), without its extension: the same functions. It has no
//! worker; this is the plainest one.

use crate::{Done, pause, ready};
use pinacle_server::db::Db;
use sqlx::{AssertSqlSafe, PgPool, postgres::PgListener};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

pub async fn setup(db: &Db) -> Done {
    sqlx::raw_sql("DROP SCHEMA IF EXISTS pgmq CASCADE").execute(db).await?;
    let sql = std::fs::read_to_string(std::env::var("PGMQ_SQL")?)?;
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(db).await?;
    sqlx::raw_sql("SELECT pgmq.create('bench')").execute(db).await?;
    Ok(())
}

async fn send_batch(db: &PgPool, batch: usize) -> Result<(), sqlx::Error> {
    if batch == 1 {
        sqlx::query(r#"SELECT pgmq.send('bench', '{"id": 1}'::jsonb)"#).execute(db).await?;
    } else {
        sqlx::query(r#"SELECT pgmq.send_batch('bench', array_fill('{"id": 1}'::jsonb, ARRAY[$1::int]))"#)
            .bind(i32::try_from(batch).unwrap_or(1))
            .execute(db)
            .await?;
    }
    Ok(())
}

pub async fn send(db: &Db, count: usize, batch: usize) -> Done {
    let begun = Instant::now();
    for _ in 0..count / batch {
        send_batch(db, batch).await?;
    }
    println!("{}", begun.elapsed().as_secs_f64());
    Ok(())
}

pub async fn left(db: &Db) -> Done {
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM pgmq.q_bench").fetch_one(db).await?;
    println!("{left}");
    Ok(())
}

async fn read(db: &Db, batch: i32) -> Result<Vec<i64>, sqlx::Error> {
    // What a worker needs comes along, as ours does.
    let rows: Vec<(i64, serde_json::Value)> =
        sqlx::query_as("SELECT msg_id, message FROM pgmq.read('bench', 60, $1)").bind(batch).fetch_all(db).await?;
    Ok(rows.into_iter().map(|(id, _)| id).collect())
}

async fn archive(db: &Db, ids: &[i64]) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pgmq.archive('bench', $1::bigint[])").bind(ids).execute(db).await?;
    Ok(())
}

pub async fn delay(db: &Db, count: usize) -> Done {
    sqlx::raw_sql("SELECT pgmq.enable_notify_insert('bench', 0)").execute(db).await?;
    let mut ears = PgListener::connect_with(db).await?;
    ears.listen("pgmq.q_bench.INSERT").await?;
    let (tell, mut told) = mpsc::unbounded_channel();
    let worker_db = db.clone();
    let at_work = tokio::spawn(async move {
        loop {
            ears.recv().await?;
            let ids = read(&worker_db, 16).await?;
            for _ in &ids {
                let _ = tell.send(Instant::now());
            }
            archive(&worker_db, &ids).await?;
        }
        #[expect(unreachable_code, reason = "says which error `?` makes")]
        Ok::<(), sqlx::Error>(())
    });
    for number in 0..count {
        pause(number).await;
        let begun = Instant::now();
        send_batch(db, 1).await?;
        let ran = told.recv().await.ok_or("the worker ended")?;
        println!("{}", ran.duration_since(begun).as_secs_f64() * 1000.0);
    }
    at_work.abort();
    sqlx::raw_sql("SELECT pgmq.disable_notify_insert('bench')").execute(db).await?;
    Ok(())
}

pub async fn drain(db: &Db, batch: i32) -> Done {
    left(db).await?;
    ready();
    loop {
        let ids = read(db, batch).await?;
        if ids.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        } else {
            archive(db, &ids).await?;
        }
    }
}
