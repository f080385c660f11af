//! The pod host's daemon.

fn main() {}
