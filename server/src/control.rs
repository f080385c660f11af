//! `ControlPlane`: what every noun's `access.rs` implements its trait on.

use crate::{
    account::TokenKeys,
    config::Config,
    crypto::Sealer,
    db::Db,
    gateway::Identity,
    github::GitHub,
    news::News,
    pods::{git_token::Tokens, turns::Turns},
    ssh::Connections,
};
use std::{ops::Deref, sync::Arc};
use tokio::sync::Notify;

/// The parts of one running control plane.
pub struct Parts {
    pub config: Config,
    pub db: Db,
    pub sealer: Sealer,
    pub token_keys: TokenKeys,
    pub github: GitHub,
    pub news: News,
    pub connections: Connections,
    /// Of the SSH gateway, where there is one.
    pub gateway: Option<Identity>,
    pub turns: Turns,
    pub git_tokens: Tokens,
    /// A host answers that did not.
    pub host_back: Notify,
}

/// A handle to the parts; cheap to clone, so that streams and jobs have one of their own.
#[derive(Clone)]
pub struct ControlPlane(Arc<Parts>);

impl ControlPlane {
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for ControlPlane {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
