//! Teams that the caller belongs to.

use super::Caller;
use crate::error::AppResult;
use crate::teams::Team;
use async_trait::async_trait;

#[async_trait]
pub trait Teams: Send + Sync {
    /// The personal team first.
    async fn teams(&self, caller: &Caller) -> AppResult<Vec<Team>>;
}
