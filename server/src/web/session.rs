//! The browsers' door: which session a request is on, and who is signed in on it.

use super::{AppState, client, problem::Problem};
use crate::{
    account::session_store::{ANONYMOUS, PostgresSessions, SignedIn},
    control::ControlPlane,
    db,
};
use axum::{
    extract::{FromRequestParts, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{Method, request::Parts};
use pinacle_app::{
    AppError, ErrorCode,
    backend::{Caller, Door, Scope},
};
use std::net::IpAddr;
use tower_sessions::{Expiry, Session, SessionManagerLayer, cookie::SameSite};

pub const COOKIE: &str = "__Host-pinacle_session";

pub fn layer(control: &ControlPlane) -> SessionManagerLayer<PostgresSessions> {
    SessionManagerLayer::new(PostgresSessions::new(control.db.clone()))
        .with_name(COOKIE)
        .with_secure(true)
        .with_http_only(true)
        // Lax: GitHub sends the browser back to us with it.
        .with_same_site(SameSite::Lax)
        .with_path("/")
        .with_expiry(Expiry::OnInactivity(ANONYMOUS))
}

/// Puts the [`Caller`] into the request where somebody is signed in.
pub async fn identify(State(state): State<AppState>, session: Session, mut request: Request, next: Next) -> Response {
    // Taken out first: a request with its body is not to be shared across an await.
    let address = client::address(request.extensions(), request.headers(), &state.control.config.trusted_proxies);
    let agent = client::agent(request.headers());
    match caller_of(&state, &session, &agent, address).await {
        Ok(Some(caller)) => {
            let reads = matches!(*request.method(), Method::GET | Method::HEAD);
            if !reads && let Err(error) = state.calls.take(caller.user) {
                return Problem(error).into_response();
            }
            request.extensions_mut().insert(caller);
        }
        Ok(None) => {}
        Err(error) => return Problem(error).into_response(),
    }
    next.run(request).await
}

async fn caller_of(state: &AppState, session: &Session, agent: &str, address: IpAddr) -> Result<Option<Caller>, AppError> {
    // Without a cookie there is nothing to ask the database for.
    if session.id().is_none() {
        return Ok(None);
    }
    let Some(signed_in) = SignedIn::of(session).await.map_err(fault)? else { return Ok(None) };
    if signed_in.is_stale {
        let store = PostgresSessions::new(state.control.db.clone());
        store.touch(signed_in.session, agent, &address.to_string()).await.map_err(db::fault)?;
    }
    Ok(Some(Caller { user: signed_in.user, operator: signed_in.operator, scope: Scope::Write, door: Door::Session(signed_in.session), address }))
}

/// A session that could not be read or written: logged here.
pub fn fault(error: tower_sessions::session::Error) -> AppError {
    tracing::error!(%error, "the session can't be used");
    AppError::new(ErrorCode::Unavailable, "The database does not answer. Try again in a moment.")
}

/// Who asks, at either door.
pub struct Asker(pub Caller);

impl<S: Send + Sync> FromRequestParts<S> for Asker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Caller>().cloned().map(Self).ok_or(Problem(AppError::unauthenticated()))
    }
}
