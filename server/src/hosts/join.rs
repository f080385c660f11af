//! A host joins: an operator adds it, takes the one-time token to the machine, and the machine reports itself.

use super::store;
use crate::{control::ControlPlane, db::fault, queue};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use pinacle_app::{AppError, AppResult, ErrorCode};
use pinacle_host::protocol::{Installation, JoinReply, JoinRequest, PROTOCOL};
use rand::RngCore;
use russh::keys::{HashAlg, PublicKey, PublicKeyBase64};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::time::Duration;

/// How long a join token is good.
pub(super) const TOKEN_VALID: Duration = Duration::from_secs(3600);
/// What a host takes to write down the answer to its joining.
const CHECK_AFTER: Duration = Duration::from_millis(500);
const MAX_HOST_KEYS: usize = 8;

/// A new token and the hash that is stored of it.
pub(super) fn new_token() -> (String, Vec<u8>) {
    let mut bytes = [0u8; 32];
    rand::rng().fill_bytes(&mut bytes);
    let token = BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let hash = Sha256::digest(&token).to_vec();
    (token, hash)
}

/// Such as `SHA256:…`; None for what is no key.
pub(super) fn fingerprint(key: &[u8]) -> Option<String> {
    PublicKey::from_bytes(key).ok().map(|key| key.fingerprint(HashAlg::Sha256).to_string())
}

/// What `pinacle-host join` asks for: the reported keys are pinned. The same machine may repeat it until it was heard.
pub async fn join(control: &ControlPlane, token: &str, request: JoinRequest) -> AppResult<JoinReply> {
    if request.protocol != PROTOCOL {
        let message = format!("pinacle-host speaks protocol {}, this server {PROTOCOL}. Install the version that fits.", request.protocol);
        return Err(AppError::new(ErrorCode::WrongState, message));
    }
    if request.host_keys.is_empty() {
        return Err(AppError::field("host_keys", "At least one."));
    }
    let keys = request.host_keys.iter().take(MAX_HOST_KEYS).map(|line| parse_key(line)).collect::<AppResult<Vec<_>>>()?;
    let mut tx = control.db.begin().await.map_err(fault)?;
    let hash = Sha256::digest(token).to_vec();
    let Some((host_id, pod_cidr)) = store::by_join_token(&mut tx, &hash, &keys).await.map_err(fault)? else {
        return Err(AppError::new(ErrorCode::Unauthenticated, "This join token is not good any more. Add the host again to get a new one."));
    };
    store::joined(&mut tx, host_id, &request.inventory, &keys).await.map_err(fault)?;
    check_soon(&mut tx).await.map_err(fault)?;
    let installation = crate::pods::store::installation(&mut tx).await.map_err(fault)?;
    tx.commit().await.map_err(fault)?;
    tracing::info!(%host_id, "a host joined");
    let control_key = control.connections.public_key().map_err(|error| {
        tracing::error!(%error, "the control plane's own key can't be shown");
        AppError::internal()
    })?;
    Ok(JoinReply {
        host_id: host_id.0,
        installation: Installation { id: installation.0, epoch: installation.1 },
        pod_cidr: pod_cidr.to_string(),
        control_key,
    })
}

/// The clock would look at it some seconds later.
async fn check_soon(connection: &mut sqlx::PgConnection) -> Result<(), sqlx::Error> {
    let message = queue::NewMessage {
        queue: super::FLEET_QUEUE,
        key: Some(super::CHECK_JOB),
        priority: 0,
        delay: CHECK_AFTER,
        anew: false,
        message: json!({}),
        headers: json!({ "job": super::CHECK_JOB }),
    };
    queue::send(connection, message).await
}

fn parse_key(line: &str) -> AppResult<(String, Vec<u8>)> {
    let key = PublicKey::from_openssh(line).map_err(|_| AppError::field("host_keys", "Not an OpenSSH public key."))?;
    Ok((key.algorithm().to_string(), key.public_key_bytes()))
}
