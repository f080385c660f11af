//! Pod hosts: which there are, how they are reached, how one joins.

mod access;
mod adopt;
pub mod cli;
mod join;
pub mod link;
pub mod store;

pub use join::join;
pub use store::{HostTarget, PlacementHost};

use std::time::Duration;

/// The queue of what concerns the hosts and everything at once; the clock sends to it, and joining.
pub const FLEET_QUEUE: &str = "fleet";
/// Key and name of the job that asks every host how it is.
pub const CHECK_JOB: &str = "check-hosts";

/// Name of the job that removes a set-aside disk.
pub const REMOVE_ORPHAN_JOB: &str = "remove-orphan";

/// A host that has not been heard for this long is not reachable and gets no new pods.
pub const SILENT_AFTER: Duration = Duration::from_secs(30);
