//! Signing in with GitHub: OAuth 2.0 with state and PKCE (RFC 7636, S256), and one exact redirect address.

use super::{CONNECT_DEADLINE, DEADLINE, GitHub, GitHubError, body_of, unavailable};
use crate::config::{Config, SignIn};
use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointNotSet, EndpointSet, HttpRequest, HttpResponse,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RequestTokenError, Scope, TokenResponse, TokenUrl, basic::BasicClient,
};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

pub const CALLBACK: &str = "/auth/github/callback";

type Client = BasicClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet>;

/// Our OAuth application at GitHub.
#[derive(Clone)]
pub struct Application {
    client: Client,
    /// For signing in.
    scopes: Vec<Scope>,
    http: reqwest::Client,
}

/// Private repositories and deploy keys: GitHub has no narrower right that includes either.
pub const REPOSITORIES: &str = "repo";

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// Who somebody is.
    SignIn,
    /// And its repositories.
    Repositories,
}

/// What an account has allowed.
#[derive(Clone)]
pub struct Grant {
    pub token: SecretString,
    pub scopes: Vec<String>,
}

impl Grant {
    pub fn has_repositories(&self) -> bool {
        self.scopes.iter().any(|scope| scope == REPOSITORIES)
    }
}

/// A sign-in that was begun: where the browser goes, and what to keep until it is back.
pub struct Authorization {
    pub url: Url,
    pub state: String,
    /// Secret until the exchange.
    pub verifier: String,
}

#[derive(Debug, thiserror::Error)]
pub enum OAuthError {
    /// The code was used, has expired, or was issued for another browser.
    #[error("GitHub refused the code: {0}")]
    Refused(String),
    #[error(transparent)]
    GitHub(#[from] GitHubError),
}

impl Application {
    pub fn new(config: &Config) -> Result<Self, reqwest::Error> {
        let page = |path: &str| {
            let mut url = config.github_url.clone();
            let base = url.path().trim_end_matches('/').to_owned();
            url.set_path(&format!("{base}{path}"));
            url
        };
        let mut callback = config.url.clone();
        callback.set_path(CALLBACK);
        let client = BasicClient::new(ClientId::new(config.github_client_id.clone()))
            .set_client_secret(ClientSecret::new(config.github_client_secret.expose_secret().to_owned()))
            .set_auth_type(AuthType::RequestBody)
            .set_auth_uri(AuthUrl::from_url(page("/login/oauth/authorize")))
            .set_token_uri(TokenUrl::from_url(page("/login/oauth/access_token")))
            .set_redirect_uri(RedirectUrl::from_url(callback));
        // Organisations are read only where they decide who comes in.
        let mut scopes = vec!["read:user", "user:email"];
        if matches!(config.sign_in, SignIn::Orgs(_)) {
            scopes.push("read:org");
        }
        let scopes = scopes.into_iter().map(|scope| Scope::new(scope.to_owned())).collect();
        // A code goes to the token address and nowhere else: no redirects.
        let http = reqwest::Client::builder()
            .user_agent(concat!("pinacle/", env!("CARGO_PKG_VERSION")))
            .timeout(DEADLINE)
            .connect_timeout(CONNECT_DEADLINE)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { client, scopes, http })
    }
}

impl GitHub {
    /// Begins a sign-in, or asks for more than that.
    pub fn authorize(&self, consent: Consent) -> Authorization {
        let more = match consent {
            Consent::SignIn => None,
            Consent::Repositories => Some(Scope::new(REPOSITORIES.to_owned())),
        };
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let (url, state) = self
            .oauth
            .client
            .authorize_url(CsrfToken::new_random)
            .add_scopes(self.oauth.scopes.iter().cloned().chain(more))
            .set_pkce_challenge(challenge)
            .url();
        Authorization { url, state: state.into_secret(), verifier: verifier.into_secret() }
    }

    /// Trades a code for the account's token.
    pub async fn exchange(&self, code: String, verifier: String) -> Result<Grant, OAuthError> {
        let http = self.oauth.http.clone();
        let send = move |request| send(http.clone(), request);
        let answer = self
            .oauth
            .client
            .exchange_code(AuthorizationCode::new(code))
            .set_pkce_verifier(PkceCodeVerifier::new(verifier))
            .request_async(&send)
            .await;
        match answer {
            Ok(token) => {
                // GitHub puts commas between them, where RFC 6749 has spaces.
                let scopes = token.scopes().into_iter().flatten().flat_map(|scopes| scopes.split([',', ' ']));
                let scopes = scopes.filter(|scope| !scope.is_empty()).map(str::to_owned).collect();
                Ok(Grant { token: SecretString::from(token.access_token().secret().as_str()), scopes })
            }
            Err(RequestTokenError::ServerResponse(refusal)) => Err(OAuthError::Refused(refusal.error().to_string())),
            Err(RequestTokenError::Request(error)) => Err(error.into()),
            // The body may hold a token: it is left out.
            Err(RequestTokenError::Parse(..)) => Err(GitHubError::Unexpected("no token in the answer to a code".to_owned()).into()),
            Err(RequestTokenError::Other(cause)) => Err(GitHubError::Unexpected(cause).into()),
        }
    }
}

/// GitHub refuses with 200 and `error` in the body, where RFC 6749 wants 400: told apart here.
async fn send(http: reqwest::Client, request: HttpRequest) -> Result<HttpResponse, GitHubError> {
    let request = reqwest::Request::try_from(request).map_err(unavailable)?;
    let response = http.execute(request).await.map_err(unavailable)?;
    let mut status = response.status();
    if status.is_server_error() || status.is_redirection() || status == http::StatusCode::TOO_MANY_REQUESTS {
        return Err(GitHubError::Unavailable(format!("status {status} for a code")));
    }
    let body = body_of(response).await?;
    let refused = serde_json::from_slice::<serde_json::Value>(&body).is_ok_and(|value| value.get("error").is_some());
    if refused {
        status = http::StatusCode::BAD_REQUEST;
    }
    http::Response::builder().status(status).body(body).map_err(|error| GitHubError::Unexpected(error.to_string()))
}
