//! Pod hosts: which there are, how they are reached, how one joins.

mod access;
mod adopt;
pub mod cli;
mod join;
pub mod link;
pub mod questions;
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

/// Name of the job that sets aside, on one host, whatever nobody knows.
pub const SET_ASIDE_JOB: &str = "set-aside";

/// More unknown pods than this on one host, or than this share of all of its pods, are left alone: with so many, Postgres is more
/// likely wrong than the host.
const FEW_UNKNOWN: usize = 3;
const FEW_UNKNOWN_SHARE: f64 = 0.1;

/// `unknown` of the host's `all` pods.
pub fn too_many_unknown(unknown: usize, all: usize) -> bool {
    unknown > FEW_UNKNOWN || (unknown > 1 && unknown as f64 > all as f64 * FEW_UNKNOWN_SHARE)
}

/// A host that has not been heard for this long is not reachable and gets no new pods.
pub const SILENT_AFTER: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::too_many_unknown;

    #[test]
    fn many_unknown_pods_are_left_alone() {
        assert!(!too_many_unknown(1, 1));
        assert!(!too_many_unknown(3, 40));
        assert!(too_many_unknown(4, 400));
        assert!(too_many_unknown(2, 10));
    }
}
