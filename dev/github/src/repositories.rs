//! The sample repositories as the API and git see them. They lie on disk by number, so that a renamed account keeps its own.

use crate::{accounts::Account, api::Caller, samples::SAMPLES, world::World};
use std::path::{Path, PathBuf};

#[derive(Clone, Copy, Debug)]
pub struct Repository {
    pub id: u64,
    pub owner: u64,
    pub name: &'static str,
    pub description: &'static str,
    pub private: bool,
    pub empty: bool,
    pub git: Git,
    /// Accounts that may push without being its admin.
    pub writers: &'static [u64],
    /// False where its organisation forbids deploy keys.
    pub takes_keys: bool,
    /// Its owner has installed the App there.
    pub has_app: bool,
}

/// How its git server behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Git {
    Answers,
    /// Takes what it is asked and never answers.
    Silent,
    /// Never comes to an end of its answer to a clone.
    Endless,
}

impl Repository {
    pub fn path(&self, data_dir: &Path) -> PathBuf {
        data_dir.join("repositories").join(format!("{}.git", self.id))
    }

    pub fn writable_by(&self, account: &Account) -> bool {
        account.id == self.owner || self.writers.contains(&account.id)
    }
}

pub fn all() -> impl Iterator<Item = Repository> {
    SAMPLES.iter().map(|sample| sample.repository)
}

/// The repository of that name, if this caller may know that it exists.
pub fn find(world: &World, owner: &str, name: &str, caller: &Caller) -> Option<Repository> {
    let owner = world.account(owner)?.id;
    all().find(|repository| repository.owner == owner && repository.name.eq_ignore_ascii_case(name) && caller.reads(repository))
}
