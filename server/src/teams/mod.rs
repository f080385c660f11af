//! Teams: whom a pod belongs to, who is in one, who is asked in, and who may do what.

mod access;
mod ending;
pub mod invitations;
mod members;
pub mod names;
pub mod store;

pub use members::{hold_as_owner, owner_alone};
