//! Deploy keys: `/repos/{owner}/{repo}/keys`.

use crate::api::{ApiError, Caller, paged, repository_of};
use crate::world::Shared;
use axum::{
    Json,
    extract::{Path, Query, State},
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Keys of one repository.
const MOST_KEYS: usize = 1_000;

#[derive(Clone, Serialize, Deserialize)]
pub struct DeployKey {
    pub id: u64,
    pub repository: u64,
    pub title: String,
    pub key: String,
    pub read_only: bool,
}

#[derive(Deserialize)]
pub struct NewKey {
    #[serde(default)]
    title: String,
    key: String,
    #[serde(default)]
    read_only: bool,
}

fn shown(key: &DeployKey) -> serde_json::Value {
    json!({ "id": key.id, "key": key.key, "title": key.title, "verified": true, "read_only": key.read_only })
}

pub async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    Path((owner, name)): Path<(String, String)>,
    Query(page): Query<crate::api::Page>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let repository = repository_of(&shared, &owner, &name, &caller)?;
    caller.must_own(&repository)?;
    let keys = shared.world().kept.keys.iter().filter(|key| key.repository == repository.id).map(shown).collect();
    Ok(paged(&shared, &uri, &page, keys))
}

pub async fn add(
    State(shared): State<Shared>,
    caller: Caller,
    Path((owner, name)): Path<(String, String)>,
    Json(new): Json<NewKey>,
) -> Result<Response, ApiError> {
    let repository = repository_of(&shared, &owner, &name, &caller)?;
    caller.must_own(&repository)?;
    // GitHub compares type and data, not the comment.
    let data: String = new.key.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    if !data.starts_with("ssh-") || !data.contains(' ') {
        return Err(ApiError::invalid("key is invalid. You must supply a key in OpenSSH public key format"));
    }
    if !repository.takes_keys {
        return Err(ApiError::invalid("Deploy keys are disabled for this repository"));
    }
    let mut world = shared.world();
    if world.kept.keys.iter().any(|key| key.key == data) {
        return Err(ApiError::invalid("key is already in use"));
    }
    if world.kept.keys.iter().filter(|key| key.repository == repository.id).count() >= MOST_KEYS {
        return Err(ApiError::invalid("too many keys"));
    }
    let key = DeployKey { id: world.kept.next_key, repository: repository.id, title: new.title, key: data, read_only: new.read_only };
    world.kept.next_key += 1;
    world.kept.keys.push(key.clone());
    world.save().map_err(ApiError::broken)?;
    Ok((StatusCode::CREATED, Json(shown(&key))).into_response())
}

pub async fn get(State(shared): State<Shared>, caller: Caller, Path((owner, name, id)): Path<(String, String, u64)>) -> Result<Response, ApiError> {
    let repository = repository_of(&shared, &owner, &name, &caller)?;
    caller.must_own(&repository)?;
    let world = shared.world();
    let key = world.kept.keys.iter().find(|key| key.id == id && key.repository == repository.id);
    key.map(|key| Json(shown(key)).into_response()).ok_or_else(ApiError::not_found)
}

pub async fn remove(
    State(shared): State<Shared>,
    caller: Caller,
    Path((owner, name, id)): Path<(String, String, u64)>,
) -> Result<StatusCode, ApiError> {
    let repository = repository_of(&shared, &owner, &name, &caller)?;
    caller.must_own(&repository)?;
    let mut world = shared.world();
    let before = world.kept.keys.len();
    world.kept.keys.retain(|key| key.id != id || key.repository != repository.id);
    if world.kept.keys.len() == before {
        return Err(ApiError::not_found());
    }
    world.save().map_err(ApiError::broken)?;
    Ok(StatusCode::NO_CONTENT)
}
