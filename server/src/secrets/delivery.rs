//! What a pod gets of its team's secrets: opened here, on its way into the pod's memory.

use super::store;
use crate::control::ControlPlane;
use pinacle_app::{
    ids::{SecretId, TeamId},
    pods::RepositoryAddress,
    secrets::SecretValue,
};
use std::collections::BTreeMap;
use uuid::Uuid;

pub struct Delivery {
    pub env: BTreeMap<String, SecretValue>,
    pub secrets: Vec<Uuid>,
    /// Of the latest change that is in it.
    pub seq: i64,
}

#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// By name.
    #[error("the secret {0} does not open")]
    Closed(String),
}

/// The team's secrets, and over them those of the repository.
pub async fn for_pod(control: &ControlPlane, team: TeamId, repository: Option<&str>) -> Result<Delivery, DeliveryError> {
    let (seq, sealed) = store::for_pod(&control.db, team, project_of(repository).as_deref()).await?;
    let mut delivery = Delivery { env: BTreeMap::new(), secrets: Vec::new(), seq };
    for secret in sealed {
        let value = super::open(&control.sealer, SecretId(secret.id), team, &secret.name, &secret.sealed);
        let value = value.ok_or_else(|| DeliveryError::Closed(secret.name.clone()))?;
        delivery.secrets.push(secret.id);
        delivery.env.insert(secret.name, value);
    }
    Ok(delivery)
}

/// A repository as secrets name it: what is no address of one has none of its own.
fn project_of(repository: Option<&str>) -> Option<String> {
    repository.and_then(|text| RepositoryAddress::parse(text).ok()).map(|address| address.to_string())
}
