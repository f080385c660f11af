//! Teams: whom a pod belongs to, and who may do what with it.

mod access;
pub mod store;
