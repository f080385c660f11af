//! The wire protocol between the control plane, a pod host's daemon and a pod's PID 1, and (feature `daemon`)
//! both programs. `frame` cuts a byte stream into frames, `protocol` says what stands in them.

pub mod frame;
pub mod protocol;
pub mod valid;

#[cfg(feature = "daemon")]
pub mod daemon;
#[cfg(all(test, feature = "init"))]
mod fuzz;
#[cfg(feature = "daemon")]
pub mod gate;
#[cfg(feature = "init")]
pub mod init;
#[cfg(feature = "init")]
pub mod inside;
#[cfg(feature = "daemon")]
pub mod inventory;
#[cfg(feature = "daemon")]
pub mod join;
#[cfg(feature = "daemon")]
pub mod pod;
