//! What a pod gets of its team's secrets: opened here, on its way into the pod's memory.

use super::{sealed_row, store};
use crate::control::ControlPlane;
use pinacle_app::{
    ids::{SecretId, TeamId},
    pods::RepositoryAddress,
};
use secrecy::SecretString;
use std::collections::BTreeMap;
use uuid::Uuid;
use zeroize::Zeroizing;

pub struct Delivery {
    pub env: BTreeMap<String, SecretString>,
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
        let row = sealed_row(SecretId(secret.id), team, &secret.name);
        let closed = || DeliveryError::Closed(secret.name.clone());
        let opened = control.sealer.open(&row, &secret.sealed).map_err(|error| {
            tracing::error!(%error, id = %secret.id, name = secret.name, "a secret does not open: is the master key the one it was sealed with?");
            closed()
        })?;
        let text = std::str::from_utf8(&opened).map(|text| Zeroizing::new(text.to_owned())).map_err(|_| closed())?;
        delivery.secrets.push(secret.id);
        delivery.env.insert(secret.name, SecretString::from(text.as_str()));
    }
    Ok(delivery)
}

/// A repository as secrets name it: what is no address of one has none of its own.
fn project_of(repository: Option<&str>) -> Option<String> {
    repository.and_then(|text| RepositoryAddress::parse(text).ok()).map(|address| address.to_string())
}
