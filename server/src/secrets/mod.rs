//! Secrets: who manages them, what pods get of them, and which pods run with older ones.

mod access;
mod delivery;
mod import;
pub mod limits;
pub mod store;

pub use delivery::{Delivery, DeliveryError, for_pod};

use crate::crypto::Sealer;
use pinacle_app::{
    ids::{SecretId, TeamId},
    secrets::SecretValue,
};

/// The row that a value is sealed for: copied to another, or renamed without being sealed anew, it does not open.
pub fn sealed_row(id: SecretId, team: TeamId, name: &str) -> Vec<u8> {
    format!("secrets/{id}/{team}/{name}").into_bytes()
}

/// The value that lies there. Why one does not open is logged; what that means is for the caller to say.
fn open(sealer: &Sealer, id: SecretId, team: TeamId, name: &str, sealed: &[u8]) -> Option<SecretValue> {
    let opened = sealer.open(&sealed_row(id, team, name), sealed).map_err(|error| {
        tracing::error!(%error, %id, name, "a secret does not open: is the master key the one it was sealed with?");
    });
    std::str::from_utf8(&opened.ok()?).ok().map(|text| SecretValue::new(text.to_owned()))
}
