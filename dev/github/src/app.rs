//! The GitHub App: who proves to be it gets tokens of an hour for one repository, where it is installed.

use crate::{
    api::{ApiError, token_of},
    repositories::{self, Repository},
    world::{Only, Shared, Token, secret},
};
use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    fs,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// As at GitHub.
const TOKEN_LIFE: Duration = Duration::from_secs(3600);
/// Longest proof that GitHub takes, in seconds.
const LONGEST_PROOF: u64 = 600;

#[derive(Deserialize)]
struct Proof {
    iat: u64,
    exp: u64,
}

/// Refuses whoever is not the App.
fn must_be_app(shared: &Shared, headers: &HeaderMap) -> Result<(), ApiError> {
    let (Some(id), Some(file)) = (&shared.config.app_id, &shared.config.app_key) else { return Err(ApiError::not_found()) };
    let proof = token_of(headers).ok_or_else(ApiError::bad_credentials)?;
    let key = fs::read(file).map_err(ApiError::broken)?;
    let key = DecodingKey::from_rsa_pem(&key).map_err(ApiError::broken)?;
    let mut rules = Validation::new(Algorithm::RS256);
    rules.set_issuer(&[id]);
    let proof = jsonwebtoken::decode::<Proof>(&proof, &key, &rules).map_err(|_| ApiError::bad_credentials())?.claims;
    if proof.exp.saturating_sub(proof.iat) > LONGEST_PROOF { Err(ApiError::bad_credentials()) } else { Ok(()) }
}

fn installed(shared: &Shared, owner: &str, name: &str) -> Result<Repository, ApiError> {
    let owner = shared.world().account(owner).map(|account| account.id);
    let found = repositories::all().find(|repository| Some(repository.owner) == owner && repository.name.eq_ignore_ascii_case(name));
    found.filter(|repository| repository.has_app).ok_or_else(ApiError::not_found)
}

pub async fn installation(
    State(shared): State<Shared>,
    headers: HeaderMap,
    Path((owner, name)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    must_be_app(&shared, &headers)?;
    Ok(Json(json!({ "id": installed(&shared, &owner, &name)?.owner, "repository_selection": "selected" })))
}

#[derive(Deserialize)]
pub struct Wanted {
    repository_ids: Vec<u64>,
    permissions: Permissions,
}

#[derive(Deserialize)]
struct Permissions {
    contents: String,
}

pub async fn token(
    State(shared): State<Shared>,
    headers: HeaderMap,
    Path(id): Path<u64>,
    Json(wanted): Json<Wanted>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    must_be_app(&shared, &headers)?;
    let [repository] = *wanted.repository_ids.as_slice() else { return Err(ApiError::invalid("one repository at a time")) };
    let covered = |found: &Repository| found.id == repository && found.owner == id && found.has_app;
    let repository = repositories::all().find(covered).ok_or_else(|| ApiError::invalid("a repository that the installation does not cover"))?;
    let until = SystemTime::now().duration_since(UNIX_EPOCH).map_err(ApiError::broken)? + TOKEN_LIFE;
    let token = Token {
        token: secret("ghs_"),
        account: id,
        scope: String::new(),
        used: 0,
        only: Some(Only { repository: repository.id, write: wanted.permissions.contents == "write", until: until.as_secs() }),
    };
    let expires_at = time::OffsetDateTime::from_unix_timestamp(until.as_secs() as i64).map_err(ApiError::broken)?;
    let expires_at = expires_at.format(&time::format_description::well_known::Rfc3339).map_err(ApiError::broken)?;
    let shown = json!({ "token": token.token, "expires_at": expires_at, "permissions": { "contents": wanted.permissions.contents } });
    let mut world = shared.world();
    world.add_token(token);
    world.save().map_err(ApiError::broken)?;
    Ok((StatusCode::CREATED, Json(shown)))
}
