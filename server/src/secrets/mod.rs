//! Secrets: who manages them, what pods get of them, and which pods run with older ones.

mod access;
mod delivery;
mod import;
pub mod limits;
pub mod store;

pub use delivery::{Delivery, DeliveryError, for_pod};

use pinacle_app::ids::{SecretId, TeamId};

/// The row that a value is sealed for: copied to another, or renamed without being sealed anew, it does not open.
pub fn sealed_row(id: SecretId, team: TeamId, name: &str) -> Vec<u8> {
    format!("secrets/{id}/{team}/{name}").into_bytes()
}
