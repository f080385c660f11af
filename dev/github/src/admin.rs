//! `/_dev`: what tests and the local stack tell the stand-in to do. Answers loopback peers alone.

use crate::{
    accounts::{Account, is_login},
    api::ApiError,
    faults::Fault,
    world::Shared,
};
use axum::{
    Json, Router,
    extract::{ConnectInfo, Path, Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::Response,
    routing::{get, post},
};
use serde::Deserialize;
use std::{collections::BTreeMap, net::SocketAddr};

/// Accounts that may be there at once.
const MOST_ACCOUNTS: usize = 1_000;

pub fn router() -> Router<Shared> {
    Router::new()
        .route("/fail", get(faults).post(fail).delete(mend))
        .route("/accounts", get(accounts).post(create))
        .route("/accounts/{login}", post(change))
        .route("/requests", get(requests).delete(forget_requests))
        .route("/reset", post(reset))
        .layer(middleware::from_fn(loopback_only))
}

async fn loopback_only(ConnectInfo(peer): ConnectInfo<SocketAddr>, request: Request, next: Next) -> Result<Response, ApiError> {
    if peer.ip().is_loopback() { Ok(next.run(request).await) } else { Err(ApiError::not_found()) }
}

async fn fail(State(shared): State<Shared>, Json(fault): Json<Fault>) -> Result<StatusCode, ApiError> {
    if shared.world().faults.add(fault) { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::invalid("too many faults, or one that never strikes")) }
}

async fn faults(State(shared): State<Shared>) -> Json<Vec<Fault>> {
    Json(shared.world().faults.list().to_vec())
}

async fn mend(State(shared): State<Shared>) -> StatusCode {
    shared.world().faults.clear();
    StatusCode::NO_CONTENT
}

async fn accounts(State(shared): State<Shared>) -> Json<Vec<Account>> {
    Json(shared.world().kept.accounts.clone())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewAccount {
    login: String,
}

/// A new account, with a number of its own even when its name was another's before.
async fn create(State(shared): State<Shared>, Json(new): Json<NewAccount>) -> Result<(StatusCode, Json<Account>), ApiError> {
    let mut world = shared.world();
    if !is_login(&new.login) || world.account(&new.login).is_some() || world.kept.accounts.len() >= MOST_ACCOUNTS {
        return Err(ApiError::invalid("the login is taken or invalid"));
    }
    let account = Account {
        id: world.kept.accounts.iter().map(|account| account.id).max().unwrap_or(1000) + 1,
        name: new.login.clone(),
        email: format!("{}@example.test", new.login),
        login: new.login,
        verified: true,
        revoked: false,
        keys: Vec::new(),
    };
    world.kept.accounts.push(account.clone());
    world.save().map_err(ApiError::broken)?;
    Ok((StatusCode::CREATED, Json(account)))
}

/// What is left out stays.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    login: Option<String>,
    name: Option<String>,
    email: Option<String>,
    verified: Option<bool>,
    revoked: Option<bool>,
    /// Public keys, in place of those that it has.
    keys: Option<Vec<String>>,
}

async fn change(State(shared): State<Shared>, Path(login): Path<String>, Json(change): Json<Change>) -> Result<Json<Account>, ApiError> {
    let mut world = shared.world();
    if let Some(wanted) = &change.login
        && (!is_login(wanted) || (!wanted.eq_ignore_ascii_case(&login) && world.account(wanted).is_some()))
    {
        return Err(ApiError::invalid("the login is taken or invalid"));
    }
    let account = world.account_mut(&login).ok_or_else(ApiError::not_found)?;
    account.login = change.login.unwrap_or_else(|| account.login.clone());
    account.name = change.name.unwrap_or_else(|| account.name.clone());
    account.email = change.email.unwrap_or_else(|| account.email.clone());
    account.verified = change.verified.unwrap_or(account.verified);
    account.revoked = change.revoked.unwrap_or(account.revoked);
    account.keys = change.keys.unwrap_or_else(|| account.keys.clone());
    let account = account.clone();
    world.save().map_err(ApiError::broken)?;
    Ok(Json(account))
}

/// How often each method and path was asked for.
async fn requests(State(shared): State<Shared>) -> Json<BTreeMap<String, u64>> {
    Json(shared.world().requests.clone())
}

async fn forget_requests(State(shared): State<Shared>) -> StatusCode {
    shared.world().requests.clear();
    StatusCode::NO_CONTENT
}

async fn reset(State(shared): State<Shared>) -> Result<StatusCode, ApiError> {
    let mut world = shared.world();
    world.reset();
    world.save().map_err(ApiError::broken)?;
    Ok(StatusCode::NO_CONTENT)
}
