//! Teams: every pod belongs to exactly one, a person's own to the personal team.

pub mod activity;
pub mod api;

use crate::ids::TeamId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TeamRole {
    Owner,
    Member,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Team {
    pub id: TeamId,
    pub name: String,
    pub personal: bool,
    /// The caller's.
    pub role: TeamRole,
}
