//! What `pinacle-server restored` does: on the database alone, while no server runs.

use super::store;
use crate::{config::Config, db};
use secrecy::ExposeSecret;

/// Begins an epoch that no host has seen; answers with its number.
pub async fn begin_epoch(config: &Config) -> Result<i32, sqlx::Error> {
    let db = db::connect(config.database_url.expose_secret(), 1).await?;
    let mut tx = db.begin().await?;
    let epoch = store::begin_epoch(&mut tx).await?;
    tx.commit().await?;
    Ok(epoch)
}
