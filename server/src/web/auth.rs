//! Signing in with GitHub and out again. What goes wrong leads to the sign-in page, which says so in a sentence.

use super::{AppState, client, problem::Answer, return_to::own_path, session::fault};
use crate::{
    account::{
        session_store::{self, SignedIn},
        sign_in::{Refusal, sign_in},
    },
    github::{Consent, GitHubError, OAuthError},
    teams::invitations::Closed,
};
use axum::{
    Extension,
    extract::{Query, Request, State},
    response::{IntoResponse, Redirect, Response},
};
use pinacle_app::{
    ErrorCode,
    backend::{Caller, Door},
};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use time::{Duration, OffsetDateTime};
use tower_sessions::{Expiry, Session};

/// Sign-ins that one browser has begun and not finished: as many as tabs a person may have open for it.
const MOST_BEGUN: usize = 5;
const BEGUN: &str = "sign_ins";
/// GitHub's codes live ten minutes.
const BEGUN_LIFE: Duration = Duration::minutes(10);
const MOST_CODE: usize = 512;

/// What waits for the browser to come back.
#[derive(Clone, Serialize, Deserialize)]
struct Begun {
    state: String,
    verifier: String,
    return_to: String,
    #[serde(with = "time::serde::timestamp")]
    at: OffsetDateTime,
}

/// Why a sign-in did not work, as the sign-in page's address says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    ConsentRefused,
    StaleState,
    GitHubDown,
    NoVerifiedEmail,
    NotInvited,
    InvitationForeign,
    InvitationOver,
    Failed,
}

impl Failure {
    fn code(self) -> &'static str {
        match self {
            Failure::ConsentRefused => "consent_refused",
            Failure::StaleState => "stale_state",
            Failure::GitHubDown => "github_down",
            Failure::NoVerifiedEmail => "no_verified_email",
            Failure::NotInvited => "not_invited",
            Failure::InvitationForeign => "invitation_foreign",
            Failure::InvitationOver => "invitation_over",
            Failure::Failed => "failed",
        }
    }

    fn page(self, return_to: &str) -> Redirect {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("error", self.code());
        if return_to != "/" {
            query.append_pair("return_to", return_to);
        }
        Redirect::to(&format!("/sign-in?{}", query.finish()))
    }
}

#[derive(Deserialize)]
pub struct Begin {
    return_to: Option<String>,
    /// `repositories`: asks for those, too.
    access: Option<String>,
}

/// GET /auth/github: on to GitHub.
pub async fn begin(State(state): State<AppState>, session: Session, Query(begin): Query<Begin>, request: Request) -> Answer<Response> {
    let address = client::address(request.extensions(), request.headers(), &state.control.config.trusted_proxies);
    state.sign_ins.take(client::party(address))?;
    let consent = match begin.access.as_deref() {
        Some("repositories") => Consent::Repositories,
        Some(_) | None => Consent::SignIn,
    };
    let authorization = state.control.github.authorize(consent);
    let mut begun = waiting(&session).await?;
    begun.push(Begun {
        state: authorization.state,
        verifier: authorization.verifier,
        return_to: own_path(begin.return_to.as_deref()).to_owned(),
        at: OffsetDateTime::now_utc(),
    });
    if begun.len() > MOST_BEGUN {
        begun.remove(0);
    }
    keep(&session, begun).await?;
    Ok(Redirect::to(authorization.url.as_str()).into_response())
}

#[derive(Deserialize)]
pub struct Callback {
    code: Option<String>,
    #[serde(default)]
    state: String,
    error: Option<String>,
}

/// GET /auth/github/callback: back from GitHub.
pub async fn callback(State(state): State<AppState>, session: Session, Query(callback): Query<Callback>, request: Request) -> Answer<Response> {
    let mut begun = waiting(&session).await?;
    let Some(at) = begun.iter().position(|begun| bool::from(begun.state.as_bytes().ct_eq(callback.state.as_bytes()))) else {
        return Ok(Failure::StaleState.page("/").into_response());
    };
    let this = begun.remove(at);
    keep(&session, begun).await?;
    let failed = |failure: Failure| Ok(failure.page(&this.return_to).into_response());
    match callback.error.as_deref() {
        None => {}
        Some("access_denied") => return failed(Failure::ConsentRefused),
        Some(error) => {
            tracing::warn!(error = error.chars().take(100).collect::<String>(), "GitHub sent a sign-in back");
            return failed(Failure::Failed);
        }
    }
    let Some(code) = callback.code.filter(|code| !code.is_empty() && code.len() <= MOST_CODE) else { return failed(Failure::StaleState) };
    let grant = match state.control.github.exchange(code, this.verifier.clone()).await {
        Ok(grant) => grant,
        Err(error) => return failed(of_exchange(&error)),
    };
    let address = client::address(request.extensions(), request.headers(), &state.control.config.trusted_proxies);
    let user = match sign_in(&state.control, &grant, address, code_in(&this.return_to)).await {
        Ok(user) => user,
        Err(refusal) => return failed(of_refusal(&refusal)),
    };
    session_store::sign_in(&session, user, &client::agent(request.headers()), &address.to_string()).await.map_err(fault)?;
    Ok(Redirect::to(&this.return_to).into_response())
}

/// POST /auth/sign-out: this browser.
pub async fn sign_out(State(state): State<AppState>, session: Session, caller: Option<Extension<Caller>>) -> Answer<Response> {
    if let Some(Extension(caller)) = caller
        && let Door::Session(id) = caller.door
    {
        match state.backend.end_session(&caller, id).await {
            // Ended in another tab at the same moment.
            Err(error) if error.code == ErrorCode::NotFound => {}
            ended => ended?,
        }
    }
    session.flush().await.map_err(fault)?;
    Ok(Redirect::to("/").into_response())
}

/// The code of the invitation that somebody came to sign in for.
fn code_in(return_to: &str) -> Option<&str> {
    return_to.strip_prefix("/invitations/").filter(|code| !code.is_empty() && !code.contains(['/', '?', '#']))
}

async fn waiting(session: &Session) -> Answer<Vec<Begun>> {
    let mut begun: Vec<Begun> = session.get(BEGUN).await.map_err(fault)?.unwrap_or_default();
    let since = OffsetDateTime::now_utc() - BEGUN_LIFE;
    begun.retain(|begun| begun.at > since);
    Ok(begun)
}

async fn keep(session: &Session, begun: Vec<Begun>) -> Answer<()> {
    session.insert(BEGUN, begun).await.map_err(fault)?;
    // Saving sends the cookie again: one that is signed in keeps its time.
    if let Some(signed_in) = SignedIn::of(session).await.map_err(fault)? {
        session.set_expiry(Some(Expiry::AtDateTime(signed_in.expires_at)));
    }
    Ok(())
}

fn of_exchange(error: &OAuthError) -> Failure {
    match error {
        OAuthError::Refused(_) => Failure::StaleState,
        OAuthError::GitHub(GitHubError::Unexpected(cause)) => {
            tracing::error!(cause, "signing in with GitHub failed");
            Failure::Failed
        }
        OAuthError::GitHub(error) => {
            tracing::warn!(%error, "signing in with GitHub failed");
            Failure::GitHubDown
        }
    }
}

fn of_refusal(refusal: &Refusal) -> Failure {
    match refusal {
        Refusal::NotInvited | Refusal::Invitation(Closed::Unknown) => Failure::NotInvited,
        Refusal::Invitation(Closed::Foreign) => Failure::InvitationForeign,
        Refusal::Invitation(_) => Failure::InvitationOver,
        Refusal::NoVerifiedEmail => Failure::NoVerifiedEmail,
        Refusal::GitHub(error @ (GitHubError::Unavailable(_) | GitHubError::RateLimited { .. })) => {
            tracing::warn!(%error, "signing in with GitHub failed");
            Failure::GitHubDown
        }
        Refusal::GitHub(_) | Refusal::Database(_) | Refusal::NoHandle(_) => {
            tracing::error!(error = %refusal, "a sign-in failed");
            Failure::Failed
        }
    }
}
