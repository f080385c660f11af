//! The REST API under `/api/v3`, as a GitHub Enterprise server has it: users, repositories, branches.

use crate::{
    accounts::Account,
    app, git, keys,
    repositories::{self, Repository},
    world::{May, Shared},
};
use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{FromRequestParts, Path, Query, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header, request::Parts},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fmt::Display;

/// Bytes of an answer, far above what the sample data gives.
const MOST_ANSWER: usize = 4 * 1024 * 1024;
const MOST_PER_PAGE: usize = 100;
const PER_PAGE: usize = 30;
const FIRST_SAMPLES: &str = "2026-01-05T09:00:00Z";

pub fn router(shared: Shared) -> Router<Shared> {
    Router::new()
        .route("/", get(|| async { Json(json!({ "current_user_url": "/user" })) }))
        .route("/user", get(me))
        .route("/user/emails", get(emails))
        .route("/user/repos", get(my_repositories))
        .route("/user/{id}", get(user_by_id))
        .route("/users/{login}", get(user))
        .route("/users/{login}/keys", get(public_keys))
        .route("/users/{login}/repos", get(their_repositories))
        .route("/repos/{owner}/{name}", get(repository))
        .route("/repos/{owner}/{name}/installation", get(app::installation))
        .route("/app/installations/{id}/access_tokens", post(app::token))
        .route("/repos/{owner}/{name}/branches", get(branches))
        .route("/repos/{owner}/{name}/branches/{*branch}", get(branch))
        .route("/repos/{owner}/{name}/keys", get(keys::list).post(keys::add))
        .route("/repos/{owner}/{name}/keys/{id}", get(keys::get).delete(keys::remove))
        .fallback(|| async { ApiError::not_found() })
        .layer(middleware::from_fn_with_state(shared, headers))
}

/// An error as GitHub writes it.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    message: String,
}

impl ApiError {
    pub fn new(status: StatusCode, message: &str) -> Self {
        Self { status, message: message.into() }
    }

    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not Found")
    }

    pub fn bad_credentials() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Bad credentials")
    }

    pub fn invalid(message: &str) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    /// A fault of the stand-in itself.
    pub fn broken(error: impl Display) -> Self {
        tracing::error!("{error}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Server Error")
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body =
            json!({ "message": self.message, "documentation_url": "https://docs.github.com/rest", "status": self.status.as_u16().to_string() });
        (self.status, Json(body)).into_response()
    }
}

/// Who asks: nobody (public things are open to all), or the holder of a good token. A bad token is refused.
pub struct Caller {
    pub account: Option<Account>,
    may: May,
}

impl Caller {
    pub fn nobody() -> Self {
        Self { account: None, may: May::Nothing }
    }

    pub fn account(&self) -> Result<&Account, ApiError> {
        self.account.as_ref().ok_or_else(|| ApiError::new(StatusCode::UNAUTHORIZED, "Requires authentication"))
    }

    pub fn reads(&self, repository: &Repository) -> bool {
        !repository.private
            || match (self.may, &self.account) {
                (May::Only(only), _) => only.repository == repository.id,
                (May::Repositories, Some(account)) => repository.writable_by(account),
                _ => false,
            }
    }

    pub fn writes(&self, repository: &Repository) -> bool {
        match (self.may, &self.account) {
            (May::Only(only), _) => only.repository == repository.id && only.write,
            (May::Repositories, Some(account)) => repository.writable_by(account),
            _ => false,
        }
    }

    pub fn owns(&self, repository: &Repository) -> bool {
        matches!((self.may, &self.account), (May::Repositories, Some(account)) if account.id == repository.owner)
    }

    /// Deploy keys are the owner's; to others, and without the scope, they are not there, as at GitHub.
    pub fn must_own(&self, repository: &Repository) -> Result<(), ApiError> {
        self.account()?;
        if self.owns(repository) { Ok(()) } else { Err(ApiError::not_found()) }
    }
}

impl FromRequestParts<Shared> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, ApiError> {
        let Some(token) = token_of(&parts.headers) else { return Ok(Self::nobody()) };
        let (account, may, _) = shared.world().authenticate(&token).ok_or_else(ApiError::bad_credentials)?;
        Ok(Self { account: Some(account), may })
    }
}

/// `Bearer TOKEN`, `token TOKEN`, or Basic with the token as the password (or, as GitHub takes it, as the name).
pub fn token_of(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("basic") {
        let decoded = String::from_utf8(BASE64.decode(rest.trim()).ok()?).ok()?;
        let (name, password) = decoded.split_once(':')?;
        return Some(if password.is_empty() || password == "x-oauth-basic" { name } else { password }.to_owned());
    }
    (scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token")).then(|| rest.trim().to_owned())
}

/// Rate limit and ETag, as on every answer of GitHub.
async fn headers(State(shared): State<Shared>, request: Request, next: Next) -> Result<Response, ApiError> {
    let seen = request.headers().get(header::IF_NONE_MATCH).cloned();
    let is_read = request.method() == Method::GET;
    let left = token_of(request.headers()).and_then(|token| shared.world().authenticate(&token)).map_or(60, |(_, _, left)| left);
    let (mut parts, body) = next.run(request).await.into_parts();
    let bytes = to_bytes(body, MOST_ANSWER).await.map_err(ApiError::broken)?;
    parts.headers.insert("x-ratelimit-limit", HeaderValue::from_static("5000"));
    parts.headers.insert("x-ratelimit-remaining", HeaderValue::from(left));
    parts.headers.insert("x-github-request-id", HeaderValue::from_static("local"));
    if is_read && parts.status == StatusCode::OK {
        let etag = format!("W/\"{}\"", hex::encode(&Sha256::digest(&bytes)[..16]));
        let etag = HeaderValue::try_from(etag).map_err(ApiError::broken)?;
        parts.headers.insert(header::ETAG, etag.clone());
        if seen.as_ref() == Some(&etag) {
            parts.status = StatusCode::NOT_MODIFIED;
            parts.headers.remove(header::CONTENT_LENGTH);
            return Ok(Response::from_parts(parts, Body::empty()));
        }
    }
    Ok(Response::from_parts(parts, Body::from(bytes)))
}

#[derive(Deserialize)]
pub struct Page {
    per_page: Option<usize>,
    page: Option<usize>,
}

/// One page of a list, with the `Link` header that leads to the others.
pub fn paged(shared: &Shared, uri: &Uri, page: &Page, items: Vec<Value>) -> Response {
    let size = page.per_page.unwrap_or(PER_PAGE).clamp(1, MOST_PER_PAGE);
    let number = page.page.unwrap_or(1).max(1);
    let last = items.len().div_ceil(size).max(1);
    let query: Vec<(String, String)> = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
        .filter(|(key, _)| key != "page")
        .map(|(key, value)| (key.into_owned(), value.into_owned()))
        .collect();
    let link = |to: usize, rel: &str| {
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&query).append_pair("page", &to.to_string()).finish();
        format!("<{}?{query}>; rel=\"{rel}\"", shared.config.browser(&format!("api/v3{}", uri.path())))
    };
    let mut links = Vec::new();
    if number > 1 {
        links.extend([link(number - 1, "prev"), link(1, "first")]);
    }
    if number < last {
        links.extend([link(number + 1, "next"), link(last, "last")]);
    }
    let shown: Vec<Value> = items.into_iter().skip((number - 1).saturating_mul(size)).take(size).collect();
    let mut response = Json(shown).into_response();
    if let Ok(value) = HeaderValue::try_from(links.join(", "))
        && !links.is_empty()
    {
        response.headers_mut().insert(header::LINK, value);
    }
    response
}

fn shown_account(shared: &Shared, account: &Account) -> Value {
    json!({
        "login": account.login, "id": account.id, "node_id": format!("U_{}", account.id), "type": "User", "site_admin": false,
        "avatar_url": shared.config.browser(&format!("avatars/{}", account.id)),
        "html_url": shared.config.browser(&account.login), "url": shared.config.browser(&format!("api/v3/users/{}", account.login)),
        "name": account.name, "created_at": FIRST_SAMPLES,
    })
}

fn shown_repository(shared: &Shared, owner: &Account, repository: &Repository, caller: &Caller) -> Value {
    let full_name = format!("{}/{}", owner.login, repository.name);
    let (own, push) = (caller.owns(repository), caller.writes(repository));
    json!({
        "id": repository.id, "node_id": format!("R_{}", repository.id), "name": repository.name, "full_name": full_name,
        "private": repository.private, "visibility": if repository.private { "private" } else { "public" },
        "owner": shown_account(shared, owner), "description": repository.description, "fork": false, "archived": false, "disabled": false,
        "html_url": shared.config.browser(&full_name), "clone_url": shared.config.clone_address(&full_name),
        "default_branch": "main", "size": if repository.empty { 0 } else { 8 },
        "permissions": { "admin": own, "push": push, "pull": true },
        "created_at": FIRST_SAMPLES, "updated_at": FIRST_SAMPLES, "pushed_at": FIRST_SAMPLES,
    })
}

async fn me(State(shared): State<Shared>, caller: Caller) -> Result<Json<Value>, ApiError> {
    Ok(Json(shown_account(&shared, caller.account()?)))
}

async fn emails(caller: Caller) -> Result<Json<Value>, ApiError> {
    let account = caller.account()?;
    Ok(Json(json!([{ "email": account.email, "primary": true, "verified": account.verified, "visibility": "private" }])))
}

async fn user(State(shared): State<Shared>, _: Caller, Path(login): Path<String>) -> Result<Json<Value>, ApiError> {
    let account = shared.world().account(&login).cloned().ok_or_else(ApiError::not_found)?;
    Ok(Json(shown_account(&shared, &account)))
}

async fn user_by_id(State(shared): State<Shared>, _: Caller, Path(id): Path<u64>) -> Result<Json<Value>, ApiError> {
    let account = shared.world().account_by_id(id).cloned().ok_or_else(ApiError::not_found)?;
    Ok(Json(shown_account(&shared, &account)))
}

async fn public_keys(
    State(shared): State<Shared>,
    _: Caller,
    Path(login): Path<String>,
    Query(page): Query<Page>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let account = shared.world().account(&login).cloned().ok_or_else(ApiError::not_found)?;
    let items = (1..).zip(&account.keys).map(|(id, key)| json!({ "id": id, "key": key })).collect();
    Ok(paged(&shared, &uri, &page, items))
}

async fn my_repositories(State(shared): State<Shared>, caller: Caller, Query(page): Query<Page>, uri: Uri) -> Result<Response, ApiError> {
    let account = caller.account()?;
    let mut items = owned(&shared, account, &caller);
    for repository in repositories::all().filter(|repository| repository.writers.contains(&account.id) && caller.reads(repository)) {
        let owner = shared.world().account_by_id(repository.owner).cloned();
        items.extend(owner.map(|owner| shown_repository(&shared, &owner, &repository, &caller)));
    }
    Ok(paged(&shared, &uri, &page, items))
}

async fn their_repositories(
    State(shared): State<Shared>,
    caller: Caller,
    Path(login): Path<String>,
    Query(page): Query<Page>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let account = shared.world().account(&login).cloned().ok_or_else(ApiError::not_found)?;
    let items = owned(&shared, &account, &caller);
    Ok(paged(&shared, &uri, &page, items))
}

fn owned(shared: &Shared, owner: &Account, caller: &Caller) -> Vec<Value> {
    repositories::all()
        .filter(|repository| repository.owner == owner.id && caller.reads(repository))
        .map(|repository| shown_repository(shared, owner, &repository, caller))
        .collect()
}

/// The repository, or the 404 that GitHub gives for what is not there and for what is not one's own alike.
pub fn repository_of(shared: &Shared, owner: &str, name: &str, caller: &Caller) -> Result<Repository, ApiError> {
    repositories::find(&shared.world(), owner, name, caller).ok_or_else(ApiError::not_found)
}

async fn repository(State(shared): State<Shared>, caller: Caller, Path((owner, name)): Path<(String, String)>) -> Result<Json<Value>, ApiError> {
    let repository = repository_of(&shared, &owner, &name, &caller)?;
    let owner = shared.world().account_by_id(repository.owner).cloned().ok_or_else(ApiError::not_found)?;
    Ok(Json(shown_repository(&shared, &owner, &repository, &caller)))
}

fn shown_branch(name: &str, commit: &str) -> Value {
    json!({ "name": name, "commit": { "sha": commit }, "protected": false })
}

async fn branches(
    State(shared): State<Shared>,
    caller: Caller,
    Path((owner, name)): Path<(String, String)>,
    Query(page): Query<Page>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let repository = repository_of(&shared, &owner, &name, &caller)?;
    let found = git::branches(&repository.path(&shared.config.data_dir)).await.map_err(ApiError::broken)?;
    let items = found.iter().map(|(name, commit)| shown_branch(name, commit)).collect();
    Ok(paged(&shared, &uri, &page, items))
}

async fn branch(
    State(shared): State<Shared>,
    caller: Caller,
    Path((owner, name, branch)): Path<(String, String, String)>,
) -> Result<Json<Value>, ApiError> {
    let repository = repository_of(&shared, &owner, &name, &caller)?;
    let found = git::branches(&repository.path(&shared.config.data_dir)).await.map_err(ApiError::broken)?;
    let commit = found.iter().find(|(name, _)| *name == branch);
    let (name, commit) = commit.ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, "Branch not found"))?;
    Ok(Json(shown_branch(name, commit)))
}
