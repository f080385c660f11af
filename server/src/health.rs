//! How the installation is: for whoever asks part by part, for operators with what lies behind it.

use crate::{control::ControlPlane, db, hosts, queue};
use serde::Serialize;
use serde_json::{Value, json};
use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::{sync::watch, time::timeout};

/// Within which what is asked of Postgres has to be answered.
pub const DEADLINE: Duration = Duration::from_secs(3);
/// How long what was found is said again: anybody may ask, and as often as they like.
const FRESH: Duration = Duration::from_secs(1);
/// Seconds that the longest-due message may wait before the queue counts as degraded.
const QUEUE_LATE: f64 = 30.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PartHealth {
    Ok,
    /// Works, worse than it should.
    Degraded,
    Down,
}

/// Postgres (unreachable or behind in migrations: down), the queue, and the pod hosts (no active one answers: down).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct HealthParts {
    pub database: PartHealth,
    pub queue: PartHealth,
    pub hosts: PartHealth,
}

impl HealthParts {
    pub const DOWN: Self = Self { database: PartHealth::Down, queue: PartHealth::Down, hosts: PartHealth::Down };
}

/// The latest look at the parts, shared by all who ask while it is fresh, also while it is still under way.
#[derive(Default)]
pub struct Looks(Mutex<Option<Look>>);

struct Look {
    begun: Instant,
    found: watch::Receiver<Option<HealthParts>>,
}

impl Looks {
    /// What the latest look finds, or a new one once that is no longer fresh.
    pub async fn parts(&self, control: &ControlPlane) -> HealthParts {
        self.find(|| look(control.clone())).await
    }

    async fn find<F: Future<Output = HealthParts> + Send + 'static>(&self, look: impl FnOnce() -> F) -> HealthParts {
        let mut found = self.latest(look);
        // A look that ended by a fault has found nothing.
        found.wait_for(Option::is_some).await.ok().and_then(|found| *found).unwrap_or(HealthParts::DOWN)
    }

    fn latest<F: Future<Output = HealthParts> + Send + 'static>(&self, look: impl FnOnce() -> F) -> watch::Receiver<Option<HealthParts>> {
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(look) = latest.as_ref().filter(|look| look.begun.elapsed() < FRESH) {
            return look.found.clone();
        }
        let (tell, found) = watch::channel(None);
        let look = look();
        // It ends by its deadline, whoever of those who wait for it has gone.
        tokio::spawn(async move { tell.send_replace(Some(look.await)) });
        *latest = Some(Look { begun: Instant::now(), found: found.clone() });
        found
    }
}

async fn look(control: ControlPlane) -> HealthParts {
    let asked = async {
        let database = if db::is_current(&control.db).await? { PartHealth::Ok } else { PartHealth::Down };
        let late = queue::metrics(&control.db).await?.iter().any(|m| m.oldest_due_seconds > QUEUE_LATE);
        let queue = if late { PartHealth::Degraded } else { PartHealth::Ok };
        let hosts = match hosts::store::heard(&control.db).await? {
            // Nothing has joined yet, or nothing answers.
            (_, 0) => PartHealth::Down,
            (all, heard) if heard < all => PartHealth::Degraded,
            _ => PartHealth::Ok,
        };
        Ok::<_, sqlx::Error>(HealthParts { database, queue, hosts })
    };
    match timeout(DEADLINE, asked).await {
        Ok(Ok(parts)) => return parts,
        Ok(Err(error)) => tracing::warn!(%error, "the database does not answer"),
        Err(_) => tracing::warn!("the health of the parts was not known within {DEADLINE:?}"),
    }
    HealthParts::DOWN
}

/// What an operator wants to know next: connections, each queue, each host.
pub async fn details(control: &ControlPlane) -> Result<Value, sqlx::Error> {
    let queues: Vec<Value> = queue::metrics(&control.db)
        .await?
        .into_iter()
        .map(|m| json!({ "queue": m.queue, "due": m.due, "running": m.running, "oldest_due_seconds": m.oldest_due_seconds }))
        .collect();
    let hosts: Vec<Value> = hosts::store::list(&control.db)
        .await?
        .into_iter()
        .map(|h| json!({ "name": h.name, "state": h.state, "reachable": h.reachable, "pods": h.pods }))
        .collect();
    let database = json!({
        "connections": control.db.size(),
        "idle": control.db.num_idle(),
        "most": control.config.database_connections,
        "migrations_current": db::is_current(&control.db).await?,
    });
    Ok(json!({ "version": env!("CARGO_PKG_VERSION"), "database": database, "queues": queues, "hosts": hosts }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt, future::join_all};
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    const FINE: HealthParts = HealthParts { database: PartHealth::Ok, queue: PartHealth::Ok, hosts: PartHealth::Ok };

    #[tokio::test]
    async fn however_many_ask_they_share_one_look_a_second_also_when_the_first_of_them_has_gone() {
        let (looks, begun) = (Looks::default(), Arc::new(AtomicUsize::new(0)));
        let ask = |finds: HealthParts| {
            let begun = begun.clone();
            looks.find(move || async move {
                begun.fetch_add(1, Ordering::Relaxed);
                finds
            })
        };
        assert_eq!(ask(FINE).now_or_never(), None, "it takes a while, and is not waited for");
        assert_eq!(join_all((0..1000).map(|_| ask(HealthParts::DOWN))).await, [FINE; 1000]);
        assert_eq!(begun.load(Ordering::Relaxed), 1);
        if let Some(look) = looks.0.lock().unwrap().as_mut() {
            look.begun -= FRESH;
        }
        assert_eq!(ask(HealthParts::DOWN).await, HealthParts::DOWN, "what is down by now");
        assert_eq!(begun.load(Ordering::Relaxed), 2);
    }

    async fn at_fault() -> HealthParts {
        panic!("on purpose")
    }

    #[tokio::test]
    async fn a_look_that_ends_by_a_fault_says_that_everything_is_down() {
        assert_eq!(Looks::default().find(at_fault).await, HealthParts::DOWN);
    }
}
