//! Sign-in: the authorize page with its accounts, and the exchange of a code for a token with PKCE (RFC 7636, S256) checked.

use crate::{
    api::ApiError,
    pages,
    world::{Shared, Token, World, secret},
};
use axum::{
    Form, Json, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::time::{Duration, Instant};
use url::Url;

/// How long a code may wait for its exchange; GitHub's is ten minutes.
const CODE_LIFE: Duration = Duration::from_secs(60);
/// Codes waiting at once.
const MOST_CODES: usize = 1_000;

pub fn router() -> Router<Shared> {
    Router::new().route("/authorize", get(ask).post(choose)).route("/access_token", post(exchange))
}

/// What the application asked for.
#[derive(Clone, Serialize, Deserialize)]
pub struct Ask {
    client_id: String,
    pub redirect_uri: Option<String>,
    #[serde(default)]
    pub state: String,
    #[serde(default)]
    pub scope: String,
    pub code_challenge: Option<String>,
    pub code_challenge_method: Option<String>,
    /// Of the account to choose without asking.
    pub login: Option<String>,
    /// A form's second button.
    #[serde(default, skip_serializing)]
    cancel: Option<String>,
}

/// A code that waits for its exchange.
pub struct Grant {
    account: u64,
    redirect: Url,
    challenge: Option<String>,
    scope: String,
    made: Instant,
}

async fn ask(State(shared): State<Shared>, Query(ask): Query<Ask>) -> Response {
    let redirect = match checked(&shared, &ask) {
        Ok(redirect) => redirect,
        Err(sentence) => return refused(sentence),
    };
    if ask.login.is_some() {
        return grant(&shared, &ask, redirect);
    }
    let accounts = shared.world().kept.accounts.clone();
    Html(pages::authorize(&ask, &accounts, redirect.host_str().unwrap_or_default())).into_response()
}

async fn choose(State(shared): State<Shared>, Form(ask): Form<Ask>) -> Response {
    let mut redirect = match checked(&shared, &ask) {
        Ok(redirect) => redirect,
        Err(sentence) => return refused(sentence),
    };
    if ask.cancel.is_some() {
        redirect
            .query_pairs_mut()
            .append_pair("error", "access_denied")
            .append_pair("error_description", "The user has denied your application access.")
            .append_pair("state", &ask.state);
        return Redirect::to(redirect.as_str()).into_response();
    }
    grant(&shared, &ask, redirect)
}

fn refused(sentence: &str) -> Response {
    (StatusCode::BAD_REQUEST, Html(pages::refused(sentence))).into_response()
}

/// The address to send the browser back to: the configured callback or one below it.
fn checked(shared: &Shared, ask: &Ask) -> Result<Url, &'static str> {
    if ask.client_id != shared.config.client_id {
        return Err("There is no application with this client id.");
    }
    if ask.code_challenge.is_some() && ask.code_challenge_method.as_deref() != Some("S256") {
        return Err("The code challenge method must be S256.");
    }
    let callback = &shared.config.callback;
    let Some(redirect) = &ask.redirect_uri else { return Ok(callback.clone()) };
    let redirect = Url::parse(redirect).map_err(|_| "The redirect address is not an address.")?;
    let base = callback.path().trim_end_matches('/');
    let below = redirect.path().strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if redirect.origin() == callback.origin() && below && redirect.username().is_empty() {
        Ok(redirect)
    } else {
        Err("The redirect address is not associated with this application.")
    }
}

fn grant(shared: &Shared, ask: &Ask, mut redirect: Url) -> Response {
    let mut world = shared.world();
    let Some(account) = world.account(ask.login.as_deref().unwrap_or_default()).map(|account| account.id) else {
        return refused("There is no such account.");
    };
    world.codes.retain(|_, grant| grant.made.elapsed() < CODE_LIFE);
    if world.codes.len() >= MOST_CODES {
        return refused("Too many sign-ins are waiting.");
    }
    let code = secret("");
    let granted = Grant {
        account,
        redirect: redirect.clone(),
        challenge: ask.code_challenge.clone(),
        scope: ask.scope.replace(' ', ","),
        made: Instant::now(),
    };
    world.codes.insert(code.clone(), granted);
    redirect.query_pairs_mut().append_pair("code", &code).append_pair("state", &ask.state);
    Redirect::to(redirect.as_str()).into_response()
}

#[derive(Deserialize)]
struct Exchange {
    client_id: Option<String>,
    client_secret: Option<String>,
    #[serde(default)]
    code: String,
    redirect_uri: Option<String>,
    code_verifier: Option<String>,
}

/// Refusals are answered with 200 and an `error` in the body, as GitHub does.
async fn exchange(State(shared): State<Shared>, headers: HeaderMap, Form(asked): Form<Exchange>) -> Result<Response, ApiError> {
    let fields = match issue(&shared, &headers, &asked) {
        Ok(token) => {
            let mut world = shared.world();
            let fields = [("access_token", token.token.clone()), ("scope", token.scope.clone()), ("token_type", "bearer".into())];
            world.add_token(token);
            world.save().map_err(ApiError::broken)?;
            fields.to_vec()
        }
        Err((code, sentence)) => vec![("error", code.to_owned()), ("error_description", sentence.to_owned())],
    };
    let wants_json = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|accept| accept.contains("json"));
    if wants_json {
        let object: serde_json::Map<String, serde_json::Value> = fields.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
        return Ok(Json(object).into_response());
    }
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    Ok(([(header::CONTENT_TYPE, "application/x-www-form-urlencoded")], body).into_response())
}

type Refusal = (&'static str, &'static str);
const BAD_CODE: Refusal = ("bad_verification_code", "The code passed is incorrect or expired.");

fn issue(shared: &Shared, headers: &HeaderMap, asked: &Exchange) -> Result<Token, Refusal> {
    let given = client_of(headers).or_else(|| Some((asked.client_id.clone()?, asked.client_secret.clone()?)));
    if given != Some((shared.config.client_id.clone(), shared.config.client_secret.clone())) {
        return Err(("incorrect_client_credentials", "The client_id and/or client_secret passed are incorrect."));
    }
    // Taken out before it is looked at: a code is good for one try.
    let taken = shared.world().codes.remove(&asked.code);
    let grant = taken.filter(|grant| grant.made.elapsed() < CODE_LIFE).ok_or(BAD_CODE)?;
    if asked.redirect_uri.as_deref().is_some_and(|redirect| redirect != grant.redirect.as_str()) {
        return Err(("redirect_uri_mismatch", "The redirect_uri is not the one that the code was issued for."));
    }
    let proof = asked.code_verifier.as_deref().map(|verifier| URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)));
    if grant.challenge.is_some() && proof != grant.challenge {
        return Err(("bad_verification_code", "The code verifier does not match the code challenge."));
    }
    known(&shared.world(), grant)
}

fn known(world: &World, grant: Grant) -> Result<Token, Refusal> {
    world.account_by_id(grant.account).ok_or(BAD_CODE)?;
    Ok(Token { token: secret("gho_"), account: grant.account, scope: grant.scope, used: 0, only: None })
}

/// Client id and secret from a Basic header (RFC 6749, 2.3.1).
fn client_of(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let decoded = String::from_utf8(BASE64.decode(value).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    let plain = |text: &str| url::form_urlencoded::parse(format!("x={text}").as_bytes()).next().map(|(_, value)| value.into_owned());
    Some((plain(id)?, plain(secret)?))
}
