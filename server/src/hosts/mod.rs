//! Pod hosts: which there are, how they are reached, how one joins.

mod access;
mod join;
pub mod link;
pub mod store;

pub use join::join;
pub use store::{HostTarget, PlacementHost};

use std::time::Duration;

/// A host that has not been heard for this long is not reachable and gets no new pods.
pub const SILENT_AFTER: Duration = Duration::from_secs(30);
