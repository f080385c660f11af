//! The steps of a pod's set-up.

pub mod clone;
pub mod plan;
pub mod processes;
pub mod shell;
