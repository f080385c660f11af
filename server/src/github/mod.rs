//! GitHub: signing in, and what an account's repositories and branches are. Each call has a deadline and a size.

mod app;
mod cache;
mod deploy_keys;
mod oauth;
mod waits;

pub use app::{AppKeyError, ShortToken};
pub use oauth::{Authorization, CALLBACK, Consent, Grant, OAuthError};

use crate::config::Config;
use app::App;
use cache::Cache;
use pinacle_app::{
    AppError, ErrorCode,
    pods::{Branch, Repository as Listed},
};
use reqwest::{
    Method, RequestBuilder, StatusCode,
    header::{ACCEPT, AUTHORIZATION, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, LINK, RETRY_AFTER},
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::time::Duration;
use url::Url;
use waits::Waits;

const DEADLINE: Duration = Duration::from_secs(10);
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// Bytes of one answer; a page of 100 repositories has about 600 KB.
const MOST_ANSWER: usize = 4 << 20;
const MOST_REDIRECTS: usize = 3;
const PER_PAGE: usize = 100;
/// Pages that a search looks through, or a list of branches has.
const MOST_PAGES: u32 = 10;
/// Seconds to wait after a refusal that does not say how long.
const DEFAULT_RETRY: u32 = 60;
const MOST_RETRY: u32 = 3600;
/// Characters of GitHub's own words that are passed on.
const MOST_WORDS: usize = 200;

/// Characters of a login.
const MOST_LOGIN: usize = 39;

/// What may be asked for as somebody's login. Accounts that an enterprise manages have an underscore in theirs.
pub fn is_login(text: &str) -> bool {
    (1..=MOST_LOGIN).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// The client. Cheap to clone.
#[derive(Clone)]
pub struct GitHub {
    http: reqwest::Client,
    api: Url,
    oauth: oauth::Application,
    app: Option<App>,
    cache: Cache,
    /// Until when GitHub wants no more calls of a token.
    waits: Waits,
}

/// What went wrong with a call, for whoever decides on it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GitHubError {
    /// Not there, or not this account's to see.
    #[error("GitHub has no such thing, or this account may not see it")]
    NotFound,
    /// The token was revoked, or never was good.
    #[error("GitHub no longer accepts the token")]
    Unauthorized,
    #[error("GitHub allows no more calls for {retry_after} s")]
    RateLimited { retry_after: u32 },
    /// A change that it does not make, in its own words.
    #[error("GitHub refuses: {0}")]
    Refused(String),
    #[error("GitHub does not answer: {0}")]
    Unavailable(String),
    /// An answer that is none of the above.
    #[error("GitHub gave an unexpected answer: {0}")]
    Unexpected(String),
}

impl From<GitHubError> for AppError {
    fn from(error: GitHubError) -> Self {
        match error {
            GitHubError::NotFound => AppError::new(ErrorCode::NotFound, "GitHub has no such repository, or your account has no access to it."),
            GitHubError::Unauthorized => AppError::forbidden("GitHub no longer accepts what you allowed. Renew it on your account's page."),
            GitHubError::RateLimited { retry_after } => AppError {
                retry_after: Some(retry_after),
                ..AppError::new(ErrorCode::Unavailable, "GitHub has had too many requests for your account. Try again later.")
            },
            GitHubError::Refused(words) => AppError::new(ErrorCode::WrongState, format!("GitHub refuses this: {words}")),
            GitHubError::Unavailable(cause) => {
                tracing::warn!(cause, "GitHub does not answer");
                AppError::new(ErrorCode::Unavailable, "GitHub does not answer. Try again in a moment.")
            }
            GitHubError::Unexpected(cause) => {
                tracing::error!(cause, "an unexpected answer of GitHub's");
                AppError::new(ErrorCode::Unavailable, "GitHub gave an answer that we did not expect. Try again in a moment.")
            }
        }
    }
}

/// Why there is no client for GitHub.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("no client for GitHub: {0}")]
    Client(#[from] reqwest::Error),
    #[error(transparent)]
    App(#[from] AppKeyError),
}

/// An account at GitHub.
#[derive(Clone, Debug, Deserialize)]
pub struct User {
    /// Never changes and is never given to somebody else.
    pub id: i64,
    pub login: String,
    pub name: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Email {
    pub email: String,
    pub primary: bool,
    pub verified: bool,
}

/// A repository as the set-up of a pod needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    pub id: i64,
    pub owner_id: i64,
    pub full_name: String,
    pub private: bool,
    pub default_branch: String,
    /// As GitHub gives it; pods clone from PINACLE_GITHUB_GIT_URL.
    pub clone_url: String,
    /// Whether whoever asked may push.
    pub may_push: bool,
}

#[derive(Deserialize)]
struct WireRepository {
    id: i64,
    full_name: String,
    private: bool,
    default_branch: String,
    clone_url: String,
    html_url: String,
    pushed_at: Option<String>,
    owner: WireOwner,
    #[serde(default)]
    permissions: WirePermissions,
}

#[derive(Default, Deserialize)]
struct WirePermissions {
    #[serde(default)]
    push: bool,
}

#[derive(Deserialize)]
struct WireOwner {
    id: i64,
}

#[derive(Deserialize)]
struct WireBranch {
    name: String,
    commit: WireCommit,
}

#[derive(Deserialize)]
struct WireCommit {
    sha: String,
}

#[derive(Deserialize)]
struct WireKey {
    key: String,
}

#[derive(Deserialize)]
struct WireMembership {
    state: String,
}

/// One page of the account's repositories.
pub struct Repositories {
    pub items: Vec<Listed>,
    pub next_page: Option<u32>,
}

impl GitHub {
    pub fn new(config: &Config) -> Result<Self, StartError> {
        let api_origin = config.github_api_url.origin();
        // GitHub redirects a renamed repository within its API; a token goes nowhere else.
        let redirects = reqwest::redirect::Policy::custom(move |attempt| {
            if attempt.previous().len() > MOST_REDIRECTS {
                attempt.error("too many redirects")
            } else if attempt.url().origin() == api_origin {
                attempt.follow()
            } else {
                attempt.stop()
            }
        });
        let http = reqwest::Client::builder()
            .user_agent(concat!("pinacle/", env!("CARGO_PKG_VERSION")))
            .timeout(DEADLINE)
            .connect_timeout(CONNECT_DEADLINE)
            .redirect(redirects)
            .build()?;
        Ok(Self {
            http,
            api: config.github_api_url.clone(),
            oauth: oauth::Application::new(config)?,
            app: App::of(config)?,
            cache: Cache::default(),
            waits: Waits::default(),
        })
    }

    pub async fn user(&self, token: &SecretString) -> Result<User, GitHubError> {
        self.get(Some(token), &["user"], &[]).await
    }

    pub async fn emails(&self, token: &SecretString) -> Result<Vec<Email>, GitHubError> {
        self.get(Some(token), &["user", "emails"], &[("per_page", "100".to_owned())]).await
    }

    /// Anybody's account by its present name.
    pub async fn user_by_login(&self, token: Option<&SecretString>, login: &str) -> Result<User, GitHubError> {
        self.get(token, &["users", login], &[]).await
    }

    /// The account's login as it is now. Logins are renamed and recycled; the number is not.
    pub async fn login_of(&self, token: Option<&SecretString>, id: i64) -> Result<String, GitHubError> {
        let user: User = self.get(token, &["user", &id.to_string()], &[]).await?;
        if user.id == id { Ok(user.login) } else { Err(GitHubError::Unexpected("another account than was asked for".to_owned())) }
    }

    /// The public keys that an account signs in to git with, as lines of `authorized_keys`. At most a hundred.
    pub async fn public_keys(&self, token: Option<&SecretString>, login: &str) -> Result<Vec<String>, GitHubError> {
        let keys: Vec<WireKey> = self.get(token, &["users", login, "keys"], &[("per_page", PER_PAGE.to_string())]).await?;
        Ok(keys.into_iter().map(|key| key.key).collect())
    }

    /// Whether the account is an active member of the organisation.
    pub async fn is_member(&self, token: &SecretString, organisation: &str) -> Result<bool, GitHubError> {
        match self.get::<WireMembership>(Some(token), &["user", "memberships", "orgs", organisation], &[]).await {
            Ok(membership) => Ok(membership.state == "active"),
            Err(GitHubError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The account's repositories, newest push first. GitHub can't search these, so a search looks through
    /// the first thousand and gives at most a hundred.
    pub async fn repositories(&self, token: &SecretString, search: Option<&str>, page: u32) -> Result<Repositories, GitHubError> {
        let Some(search) = search.map(|s| s.trim().to_ascii_lowercase()).filter(|s| !s.is_empty()) else {
            return self.repository_page(token, page).await;
        };
        let mut items = Vec::new();
        let mut page = Some(1);
        while let Some(number) = page.filter(|number| *number <= MOST_PAGES) {
            let found = self.repository_page(token, number).await?;
            items.extend(found.items.into_iter().filter(|r| r.full_name.to_ascii_lowercase().contains(&search)));
            if items.len() >= PER_PAGE {
                items.truncate(PER_PAGE);
                break;
            }
            page = found.next_page;
        }
        Ok(Repositories { items, next_page: None })
    }

    async fn repository_page(&self, token: &SecretString, page: u32) -> Result<Repositories, GitHubError> {
        let query = [
            ("sort", "pushed".to_owned()),
            ("affiliation", "owner,collaborator,organization_member".to_owned()),
            ("per_page", PER_PAGE.to_string()),
            ("page", page.to_string()),
        ];
        let (found, more) = self.list::<WireRepository>(Some(token), &["user", "repos"], &query).await?;
        let items = found.into_iter().map(|r| Listed {
            full_name: r.full_name,
            url: r.html_url,
            private: r.private,
            default_branch: r.default_branch,
            pushed_at: r.pushed_at,
        });
        Ok(Repositories { items: items.collect(), next_page: more.then_some(page + 1) })
    }

    /// Without a token: a public repository.
    pub async fn repository(&self, token: Option<&SecretString>, owner: &str, name: &str) -> Result<Repository, GitHubError> {
        let found: WireRepository = self.get(token, &["repos", owner, name], &[]).await?;
        Ok(Repository {
            id: found.id,
            owner_id: found.owner.id,
            full_name: found.full_name,
            private: found.private,
            default_branch: found.default_branch,
            clone_url: found.clone_url,
            may_push: found.permissions.push,
        })
    }

    /// At most a thousand.
    pub async fn branches(&self, token: Option<&SecretString>, owner: &str, name: &str) -> Result<Vec<Branch>, GitHubError> {
        let mut branches = Vec::new();
        for page in 1..=MOST_PAGES {
            let query = [("per_page", PER_PAGE.to_string()), ("page", page.to_string())];
            let (found, more) = self.list::<WireBranch>(token, &["repos", owner, name, "branches"], &query).await?;
            branches.extend(found.into_iter().map(|b| Branch { name: b.name, commit: b.commit.sha }));
            if !more {
                break;
            }
        }
        Ok(branches)
    }

    async fn get<T: DeserializeOwned>(&self, token: Option<&SecretString>, path: &[&str], query: &[(&str, String)]) -> Result<T, GitHubError> {
        let answer = self.send(token, &self.address(path, query), None).await?;
        parse(&answer.body)
    }

    /// One page of a list, kept for a few seconds and asked for by ETag after that; and whether there is a next page.
    async fn list<T: DeserializeOwned>(
        &self,
        token: Option<&SecretString>,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<(Vec<T>, bool), GitHubError> {
        let address = self.address(path, query);
        let key = cache::key(token, address.as_str());
        let known = self.cache.get(&key);
        if let Some(known) = known.as_ref().filter(|known| known.is_fresh()) {
            return Ok((parse(&known.body)?, known.more));
        }
        let etag = known.as_ref().and_then(|known| known.etag.clone());
        let answer = self.send(token, &address, etag).await?;
        let kept = match known {
            Some(known) if answer.status == StatusCode::NOT_MODIFIED => known.renewed(),
            _ => cache::Kept::new(answer.headers.get(ETAG).cloned(), answer.body, has_next(&answer.headers)),
        };
        let parsed = parse(&kept.body)?;
        let more = kept.more;
        self.cache.put(key, kept);
        Ok((parsed, more))
    }

    /// Every part of the path is one segment, whatever it holds.
    fn address(&self, path: &[&str], query: &[(&str, String)]) -> Url {
        let mut address = self.api.clone();
        if let Ok(mut segments) = address.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            address.query_pairs_mut().extend_pairs(query);
        }
        address
    }

    fn request(&self, token: Option<&SecretString>, method: Method, address: &Url) -> Result<RequestBuilder, GitHubError> {
        let request =
            self.http.request(method, address.clone()).header(ACCEPT, "application/vnd.github+json").header("x-github-api-version", "2022-11-28");
        let Some(token) = token else { return Ok(request) };
        let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret())).map_err(|_| GitHubError::Unauthorized)?;
        value.set_sensitive(true);
        Ok(request.header(AUTHORIZATION, value))
    }

    /// What changes something; its answer's body.
    async fn change<T: Serialize>(&self, token: &SecretString, method: Method, path: &[&str], body: Option<&T>) -> Result<Vec<u8>, GitHubError> {
        let address = self.address(path, &[]);
        self.waits.check(Some(token))?;
        let mut request = self.request(Some(token), method, &address)?;
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(unavailable)?;
        let (status, headers) = (response.status(), response.headers().clone());
        match status {
            StatusCode::OK | StatusCode::CREATED | StatusCode::NO_CONTENT => body_of(response).await,
            StatusCode::FORBIDDEN | StatusCode::UNPROCESSABLE_ENTITY if !is_rate_limit(&headers) => {
                let said: WireRefusal = parse(&body_of(response).await?)?;
                Err(GitHubError::Refused(said.message.chars().filter(|c| !c.is_control()).take(MOST_WORDS).collect()))
            }
            status => Err(self.waits.heard(Some(token), refusal(status, &headers, &address))),
        }
    }

    async fn send(&self, token: Option<&SecretString>, address: &Url, etag: Option<HeaderValue>) -> Result<Answer, GitHubError> {
        self.waits.check(token)?;
        let mut request = self.request(token, Method::GET, address)?;
        if let Some(etag) = etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let response = request.send().await.map_err(unavailable)?;
        let (status, headers) = (response.status(), response.headers().clone());
        match status {
            StatusCode::OK | StatusCode::NOT_MODIFIED => Ok(Answer { status, headers, body: body_of(response).await? }),
            status => Err(self.waits.heard(token, refusal(status, &headers, address))),
        }
    }
}

fn refusal(status: StatusCode, headers: &HeaderMap, address: &Url) -> GitHubError {
    match status {
        StatusCode::UNAUTHORIZED => GitHubError::Unauthorized,
        StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS => GitHubError::NotFound,
        StatusCode::TOO_MANY_REQUESTS => GitHubError::RateLimited { retry_after: retry_after(headers) },
        StatusCode::FORBIDDEN if is_rate_limit(headers) => GitHubError::RateLimited { retry_after: retry_after(headers) },
        // Blocked, or an organisation that wants single sign-on: to this account it is not there.
        StatusCode::FORBIDDEN => GitHubError::NotFound,
        status if status.is_server_error() => GitHubError::Unavailable(format!("status {status}")),
        status => GitHubError::Unexpected(format!("status {status} for {}", address.path())),
    }
}

#[derive(Deserialize)]
struct WireRefusal {
    message: String,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

fn unavailable(error: reqwest::Error) -> GitHubError {
    // The address may hold a name that a user typed; the cause is enough.
    let error = error.without_url();
    GitHubError::Unavailable(if error.is_timeout() { "it took too long".to_owned() } else { error.to_string() })
}

async fn body_of(mut response: reqwest::Response) -> Result<Vec<u8>, GitHubError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unavailable)? {
        if body.len() + chunk.len() > MOST_ANSWER {
            return Err(GitHubError::Unexpected(format!("an answer of more than {MOST_ANSWER} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, GitHubError> {
    serde_json::from_slice(body).map_err(|error| GitHubError::Unexpected(error.to_string()))
}

fn has_next(headers: &HeaderMap) -> bool {
    headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok()).any(|value| value.contains("rel=\"next\""))
}

/// GitHub says "no more calls" with 403 and either of these.
fn is_rate_limit(headers: &HeaderMap) -> bool {
    headers.contains_key(RETRY_AFTER) || headers.get("x-ratelimit-remaining").is_some_and(|left| left == "0")
}

/// Seconds, from `Retry-After` or the moment in `X-RateLimit-Reset`.
fn retry_after(headers: &HeaderMap) -> u32 {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.parse::<i64>().ok();
    let seconds = number("retry-after")
        .or_else(|| number("x-ratelimit-reset").map(|reset| reset - time::OffsetDateTime::now_utc().unix_timestamp()))
        .unwrap_or(i64::from(DEFAULT_RETRY));
    u32::try_from(seconds.max(1)).unwrap_or(MOST_RETRY).min(MOST_RETRY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Cli;
    use axum::{
        Json, Router,
        extract::State,
        response::{IntoResponse, Response},
    };
    use clap::Parser;
    use serde_json::json;
    use std::sync::{Arc, Mutex};
    use tokio::net::TcpListener;

    /// What each request has asked for by, at a server that has one list, which never changes.
    type Asked = Arc<Mutex<Vec<Option<HeaderValue>>>>;

    async fn a_list(State(asked): State<Asked>, headers: HeaderMap) -> Response {
        let tag = headers.get(IF_NONE_MATCH).cloned();
        asked.lock().unwrap().push(tag.clone());
        if tag.is_some_and(|tag| tag == "\"v1\"") {
            return StatusCode::NOT_MODIFIED.into_response();
        }
        ([(ETAG, "\"v1\"")], Json(json!([{ "name": "main", "commit": { "sha": "1f" } }]))).into_response()
    }

    #[tokio::test]
    async fn a_list_is_given_again_for_a_while_and_then_asked_for_by_etag() {
        let asked = Asked::default();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let api = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(a_list).with_state(asked.clone());
        tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        let arguments = ["pinacle-server", "serve", "--database-url", "x", "--github-client-id", "x", "--github-client-secret", "x"];
        let mut command = Cli::parse_from(arguments.into_iter().chain(["--github-api-url", &api])).command;
        let github = GitHub::new(command.config_mut()).unwrap();

        let first = github.branches(None, "owner", "site").await.unwrap();
        assert_eq!((first[0].name.as_str(), first[0].commit.as_str()), ("main", "1f"));
        let again = github.branches(None, "owner", "site").await.unwrap();
        assert_eq!((again.len(), asked.lock().unwrap().len()), (1, 1), "nothing is asked");
        for _ in 0..2 {
            github.cache.age();
            let unchanged = github.branches(None, "owner", "site").await.unwrap();
            assert_eq!((unchanged[0].name.as_str(), unchanged[0].commit.as_str()), ("main", "1f"));
        }
        let tag = || Some(HeaderValue::from_static("\"v1\""));
        assert_eq!(*asked.lock().unwrap(), [None, tag(), tag()]);
        github.branches(None, "owner", "other").await.unwrap();
        assert_eq!(asked.lock().unwrap().last(), Some(&None), "another list is another's");
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (reqwest::header::HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_refusal_says_how_long_to_wait() {
        assert_eq!(retry_after(&headers(&[("retry-after", "7")])), 7);
        assert_eq!(retry_after(&headers(&[("x-ratelimit-reset", "1")])), 1, "a moment that has passed");
        assert_eq!(retry_after(&headers(&[("retry-after", "99999999999999")])), MOST_RETRY);
        assert_eq!(retry_after(&headers(&[])), DEFAULT_RETRY);
        assert!(is_rate_limit(&headers(&[("x-ratelimit-remaining", "0")])));
        assert!(!is_rate_limit(&headers(&[("x-ratelimit-remaining", "12")])));
    }

    #[test]
    fn a_list_that_goes_on_links_to_its_next_page() {
        assert!(has_next(&headers(&[("link", "<http://x/user/repos?page=2>; rel=\"next\", <http://x/user/repos?page=9>; rel=\"last\"")])));
        assert!(!has_next(&headers(&[("link", "<http://x/user/repos?page=1>; rel=\"first\"")])));
    }
}
