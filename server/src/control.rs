//! `ControlPlane`: what every noun's `access.rs` implements its trait on.

use crate::{config::Config, crypto::Sealer, db::Db, github::GitHub, news::News, ssh::Hosts};
use std::sync::Arc;

/// The parts of one running control plane. Cheap to clone through its `Arc`.
pub struct ControlPlane {
    pub config: Config,
    pub db: Db,
    pub sealer: Sealer,
    pub github: GitHub,
    pub news: News,
    pub hosts: Hosts,
}

pub type Shared = Arc<ControlPlane>;
