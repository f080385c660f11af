//! What befalls workers: their process is killed, or their connections are cut, in the middle of their work.

use super::{DOOMED, SOON, steps::Fault};
use pinacle_server::db::{Db, is_away};
use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::Poll,
    time::{Duration, Instant},
};

/// Cuts the connections of this name.
pub async fn cut(db: &Db, name: &str) {
    sqlx::query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1")
        .bind(name)
        .execute(db)
        .await
        .expect("cut");
    until_gone(db, name).await;
}

/// Waits until Postgres has ended the connections of this name, and what it did for them.
pub async fn until_gone(db: &Db, name: &str) {
    let begun = Instant::now();
    loop {
        let alive: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1")
            .bind(name)
            .fetch_one(db)
            .await
            .expect("a count");
        if alive == 0 {
            break;
        }
        assert!(begun.elapsed() < SOON, "the connections of {name} end");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Does the work of a worker that something befalls. None: what came of it, only the rows tell.
pub async fn struck<T>(db: &Db, fault: Fault, work: impl Future<Output = Result<T, sqlx::Error>>) -> Option<T> {
    let (Fault::Killed(time) | Fault::Cut(time)) = fault;
    let mut work = pin!(work);
    let answer = match until_it_waits(work.as_mut(), time).await {
        Some(answer) => answer,
        None if matches!(fault, Fault::Killed(_)) => return None,
        None => {
            cut(db, DOOMED).await;
            work.await
        }
    };
    match answer {
        Ok(answer) => Some(answer),
        Err(error) => {
            assert!(is_away(&error), "a cut connection is told as such: {error:?}");
            None
        }
    }
}

/// Goes on with `work` until it waits for the n-th time. Whoever drops it then is a process that dies while it waits for Postgres.
async fn until_it_waits<F: Future>(mut work: Pin<&mut F>, time: u32) -> Option<F::Output> {
    let mut left = time;
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending if left <= 1 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}
