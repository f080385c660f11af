//! The wire protocol between the control plane, a pod host's daemon and a pod's PID 1.
//! `frame` cuts a byte stream into frames, `protocol` says what stands in them.

pub mod frame;
pub mod protocol;
