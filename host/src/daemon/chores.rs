//! What a daemon does by the clock, beside its commands: it forgets the fences of pods deleted long ago, and removes the
//! layers that were set aside for long enough.

use super::Daemon;
use crate::{pod::failed, protocol::HostError};
use std::{sync::Arc, time::Duration};
use tokio::time::interval;
use uuid::Uuid;

const FORGET_FENCES_EVERY: Duration = Duration::from_secs(24 * 3600);
const REMOVE_ORPHANS_EVERY: Duration = Duration::from_secs(3600);

/// Each at once and then every so often; never ends.
pub async fn chores(daemon: Arc<Daemon>) {
    let (mut fences, mut orphans) = (interval(FORGET_FENCES_EVERY), interval(REMOVE_ORPHANS_EVERY));
    loop {
        tokio::select! {
            _ = fences.tick() => if let Err(error) = daemon.store.forget_fences() {
                tracing::warn!(%error, "fences of pods deleted long ago could not be forgotten");
            },
            _ = orphans.tick() => daemon.remove_old_orphans().await,
        }
    }
}

impl Daemon {
    async fn remove_old_orphans(&self) {
        let orphans = match self.orphans.list() {
            Ok(orphans) => orphans,
            Err(error) => return tracing::warn!(%error, "the layers that were set aside could not be listed"),
        };
        for orphan in orphans {
            if let Err(error) = self.remove_if_old(orphan.pod).await {
                tracing::warn!(pod = %orphan.pod, %error, "a layer that was set aside long ago could not be removed");
            }
        }
    }

    async fn remove_if_old(&self, id: Uuid) -> Result<(), HostError> {
        if !self.orphans.has_expired(id).map_err(failed("a layer that was set aside"))? {
            return Ok(());
        }
        let turn = self.wait(id).await?;
        // A command may have taken it back meanwhile.
        if self.orphans.has_expired(id).map_err(failed("a layer that was set aside"))? {
            self.orphans.remove(id).map_err(failed("a layer that was set aside"))?;
            tracing::info!(pod = %id, "removed a layer that was set aside long ago");
        }
        self.forget_empty(turn);
        Ok(())
    }
}
