//! Measures `pinacle_server::queue` and, with its own SQL, pgmq. `peers.mjs` does the same for the peers on Node, with the
//! same commands, so that `run.mjs` can treat all of them alike:
//!
//! ```text
//! SYSTEM setup            tables, empty
//! SYSTEM send N BATCH     seconds for sending N messages
//! SYSTEM delay N          N lines: milliseconds from a send to the begin of its job, with a worker that waits
//! SYSTEM drain BATCH      prints "ready", waits for a line, then works until it is killed
//! SYSTEM left             how many messages are not done
//! ```

mod pgmq;
mod pinacle;

use std::{env, error::Error, io::BufRead, time::Duration};

pub type Done = Result<(), Box<dyn Error>>;

/// Between two sends, so that the worker waits again: of changing length, so as not to fall in step with a poll.
pub async fn pause(number: usize) {
    tokio::time::sleep(Duration::from_millis(60 + (number as u64 * 37) % 100)).await;
}

/// Says that everything is connected, and waits to be let go.
pub fn ready() {
    println!("ready");
    let _ = std::io::stdin().lock().lines().next();
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Done {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let url = env::var("DATABASE_URL")?;
    let db = pinacle_server::db::connect(&url, 4).await?;
    match arguments[..] {
        ["pinacle" | "pinacle-loop", "setup"] => pinacle::setup(&db).await,
        ["pinacle" | "pinacle-loop", "send", count, batch] => pinacle::send(&db, count.parse()?, batch.parse()?).await,
        ["pinacle" | "pinacle-loop", "left"] => pinacle::left(&db).await,
        ["pinacle", "delay", count] => pinacle::delay(&db, count.parse()?).await,
        ["pinacle", "drain", batch] => pinacle::drain(&db, batch.parse()?).await,
        ["pinacle-loop", "drain", batch] => pinacle::drain_by_hand(&db, batch.parse()?).await,
        ["pgmq", "setup"] => pgmq::setup(&db).await,
        ["pgmq", "send", count, batch] => pgmq::send(&db, count.parse()?, batch.parse()?).await,
        ["pgmq", "left"] => pgmq::left(&db).await,
        ["pgmq", "delay", count] => pgmq::delay(&db, count.parse()?).await,
        ["pgmq", "drain", batch] => pgmq::drain(&db, batch.parse()?).await,
        _ => Err("usage: see src/main.rs".into()),
    }
}
