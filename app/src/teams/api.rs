//! What the browser may ask of teams.

use super::Team;
use crate::error::AppError;
use leptos::prelude::*;

#[server(prefix = "/fn", endpoint = "teams/list")]
pub async fn list_teams() -> Result<Vec<Team>, AppError> {
    let (backend, caller) = crate::server::door()?;
    backend.teams(&caller).await
}
