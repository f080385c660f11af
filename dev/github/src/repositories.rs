//! The sample repositories as the API and git see them. They lie on disk by number, so that a renamed account keeps its own.

use crate::{accounts::Account, samples::SAMPLES, world::World};
use std::path::{Path, PathBuf};

#[derive(Clone, Copy, Debug)]
pub struct Repository {
    pub id: u64,
    pub owner: u64,
    pub name: &'static str,
    pub description: &'static str,
    pub private: bool,
    pub empty: bool,
    /// Its git server takes what it is asked and never answers.
    pub silent: bool,
}

impl Repository {
    pub fn path(&self, data_dir: &Path) -> PathBuf {
        data_dir.join("repositories").join(format!("{}.git", self.id))
    }

    pub fn readable_by(&self, account: Option<&Account>) -> bool {
        !self.private || account.is_some_and(|account| account.id == self.owner)
    }
}

pub fn all() -> impl Iterator<Item = Repository> {
    SAMPLES.iter().map(|sample| sample.repository)
}

/// The repository of that name, if this caller may know that it exists.
pub fn find(world: &World, owner: &str, name: &str, caller: Option<&Account>) -> Option<Repository> {
    let owner = world.account(owner)?.id;
    all().find(|repository| repository.owner == owner && repository.name.eq_ignore_ascii_case(name) && repository.readable_by(caller))
}
