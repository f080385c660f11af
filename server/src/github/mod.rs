//! GitHub API client.

pub struct GitHub;
