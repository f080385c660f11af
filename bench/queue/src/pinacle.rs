//! Ours: the functions and the worker that the server uses.

use crate::{Done, pause, ready};
use async_trait::async_trait;
use pinacle_server::{
    db::{Db, MIGRATIONS},
    queue::{self, Job, JobContext, Message, NewMessage, Outcome, Worker},
};
use serde_json::json;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const QUEUE: &str = "bench";
const VISIBILITY: Duration = Duration::from_secs(60);

fn message() -> NewMessage<'static> {
    NewMessage { queue: QUEUE, key: None, priority: 0, delay: Duration::ZERO, anew: false, message: json!({ "id": 1 }), headers: json!({}) }
}

pub async fn setup(db: &Db) -> Done {
    MIGRATIONS.run(db).await?;
    sqlx::query("TRUNCATE queue.message, queue.archive").execute(db).await?;
    Ok(())
}

pub async fn send(db: &Db, count: usize, batch: usize) -> Done {
    let mut connection = db.acquire().await?;
    let begun = Instant::now();
    for _ in 0..count / batch {
        queue::send_batch(&mut connection, QUEUE, (0..batch).map(|_| message()).collect()).await?;
    }
    println!("{}", begun.elapsed().as_secs_f64());
    Ok(())
}

pub async fn left(db: &Db) -> Done {
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM queue.message").fetch_one(db).await?;
    println!("{left}");
    Ok(())
}

struct Tells(mpsc::UnboundedSender<Instant>);

#[async_trait]
impl Job for Tells {
    async fn run(&self, _: &JobContext, _: &Message) -> Outcome {
        let _ = self.0.send(Instant::now());
        Outcome::Done
    }

    async fn dead(&self, _: &JobContext, _: &Message, _: &str) {}
}

fn worker(db: &Db, concurrency: usize, tell: mpsc::UnboundedSender<Instant>) -> Worker {
    let name = format!("bench-{}", std::process::id());
    Worker { db: db.clone(), queue: QUEUE, name, concurrency, visibility: VISIBILITY, job: Arc::new(Tells(tell)) }
}

pub async fn delay(db: &Db, count: usize) -> Done {
    let (tell, mut told) = mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let at_work = tokio::spawn(worker(db, 16, tell).run(stop.clone()));
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut connection = db.acquire().await?;
    for number in 0..count {
        pause(number).await;
        let begun = Instant::now();
        queue::send(&mut connection, message()).await?;
        let ran = told.recv().await.ok_or("the worker ended")?;
        println!("{}", ran.duration_since(begun).as_secs_f64() * 1000.0);
    }
    stop.cancel();
    at_work.await?;
    Ok(())
}

pub async fn drain(db: &Db, batch: usize) -> Done {
    let (tell, mut told) = mpsc::unbounded_channel();
    let worker = worker(db, batch, tell);
    queue::metrics(db).await?;
    ready();
    let at_work = tokio::spawn(worker.run(CancellationToken::new()));
    while told.recv().await.is_some() {}
    at_work.await?;
    Ok(())
}

/// Without the worker: only what the tables cost.
pub async fn drain_by_hand(db: &Db, batch: i64) -> Done {
    queue::metrics(db).await?;
    ready();
    loop {
        let messages = queue::read(db, QUEUE, "bench", VISIBILITY, batch).await?;
        if messages.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        }
        let done: Vec<(i64, i64)> = messages.iter().map(|message| (message.msg_id, message.lease)).collect();
        queue::archive_batch(db, &done).await?;
    }
}
