//! What changed, told to whoever watches: Postgres NOTIFY on channel `news`, fanned out in this process.
//!
//! LISTEN loses what is sent while its connection is away, so every reconnection is news of its own:
//! [`Change::Missed`] means "read again what you show".

use crate::db::Db;
use pinacle_app::ids::{PodId, SessionId, TeamId, TokenId, UserId};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgListener;
use std::time::Duration;
use tokio::{sync::broadcast, time::timeout};
use tokio_util::sync::CancellationToken;

const CHANNEL: &str = "news";
/// Changes kept for a watcher that is slow; one that falls behind by more gets `Missed`.
const BACKLOG: usize = 1024;
const RECONNECT_AFTER: Duration = Duration::from_millis(500);
/// After so long without news the connection has to show that it is there: one that was cut without a word never fails by itself.
const QUIET: Duration = Duration::from_secs(20);
const ALIVE_DEADLINE: Duration = Duration::from_secs(5);

/// Payload of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The pod's row, or what belongs to it. Whose it is comes along: of a thousand watchers only those who may see it ask.
    Pod { pod: PodId, team: TeamId },
    /// The pod's log has grown.
    Events(PodId),
    /// Something was done in the team: its activity has grown.
    Team(TeamId),
    /// The user is in the team now.
    Joined { team: TeamId, user: UserId },
    /// The user is in the team no more: what it has open there closes.
    Left { team: TeamId, user: UserId },
    /// What this team's pods get of its secrets.
    Secrets(TeamId),
    /// This signed-in browser was ended.
    SessionEnded(SessionId),
    /// All of this user's signed-in browsers were ended.
    SessionsEnded(UserId),
    /// This API token was revoked.
    TokenEnded(TokenId),
    /// Some changes may have been lost: read everything again.
    Missed,
}

#[derive(Clone)]
pub struct News {
    changes: broadcast::Sender<Change>,
}

impl Default for News {
    fn default() -> Self {
        Self { changes: broadcast::channel(BACKLOG).0 }
    }
}

impl News {
    pub fn subscribe(&self) -> Subscription {
        Subscription { changes: self.changes.subscribe() }
    }

    /// Listens until `stop`; a lost connection is made again.
    pub async fn listen(self, db: Db, stop: CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => return,
                result = self.listen_once(&db) => {
                    if let Err(error) = result {
                        tracing::warn!(%error, "listening for news was interrupted");
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RECONNECT_AFTER) => {}
            }
        }
    }

    async fn listen_once(&self, db: &Db) -> Result<(), sqlx::Error> {
        // A connection of its own: the pool's are for queries.
        let options = (*db.connect_options()).clone();
        let pool = sqlx::postgres::PgPoolOptions::new().max_connections(1).connect_with(options).await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen(CHANNEL).await?;
        self.tell(Change::Missed);
        // None: the connection was lost and is made again by the next call.
        loop {
            let Ok(heard) = timeout(QUIET, listener.try_recv()).await else {
                timeout(ALIVE_DEADLINE, listener.listen(CHANNEL)).await.map_err(|_| sqlx::Error::PoolTimedOut)??;
                continue;
            };
            match heard? {
                None => self.tell(Change::Missed),
                Some(notification) => match serde_json::from_str(notification.payload()) {
                    Ok(change) => self.tell(change),
                    Err(error) => {
                        // As from a server of another release beside this one.
                        tracing::warn!(%error, "a notification that is not news");
                        self.tell(Change::Missed);
                    }
                },
            }
        }
    }

    fn tell(&self, change: Change) {
        // An error only says that nobody watches.
        if self.changes.send(change).is_err() {
            tracing::trace!("nobody watches");
        }
    }
}

/// Tells a change to every process once the transaction commits.
pub async fn notify(connection: &mut sqlx::PgConnection, change: Change) -> Result<(), sqlx::Error> {
    let payload = serde_json::to_string(&change).map_err(|e| sqlx::Error::Encode(e.into()))?;
    sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(payload).execute(connection).await?;
    Ok(())
}

pub struct Subscription {
    changes: broadcast::Receiver<Change>,
}

impl Subscription {
    /// The next change. None when the process stops listening for good.
    pub async fn next(&mut self) -> Option<Change> {
        match self.changes.recv().await {
            Ok(change) => Some(change),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Change::Missed),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
