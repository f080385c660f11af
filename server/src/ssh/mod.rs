//! Connections to pod hosts.

pub struct Hosts;
