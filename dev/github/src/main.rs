//! A stand-in for GitHub.

fn main() {}
