//! What a caller may ask about teams: those that it belongs to.

use super::store;
use crate::{control::ControlPlane, db};
use async_trait::async_trait;
use pinacle_app::{
    AppResult,
    backend::{Caller, Teams},
    teams::Team,
};

#[async_trait]
impl Teams for ControlPlane {
    async fn teams(&self, caller: &Caller) -> AppResult<Vec<Team>> {
        store::teams(&self.db, caller.user).await.map_err(db::fault)
    }
}
