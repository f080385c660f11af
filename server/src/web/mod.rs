//! The doors: pages and server functions for browsers, the REST API for everything else, streams for what is live.
//!
//! A request passes, from the outside in: the host check, the security headers, then what its door asks of it:
//! a session and an origin of our own (browsers), or a bearer token (the API). All doors end at `Backend`.

mod auth;
mod client;
mod csv;
mod files;
mod guard;
mod headers;
mod health;
mod host_check;
mod limits;
mod live;
mod origin;
mod pages;
mod problem;
mod refused;
mod rest;
mod return_to;
mod serve;
mod session;
mod sse;
mod terminal;
mod unread;

pub use live::paths as streams;
pub use serve::serve;

use crate::{control::ControlPlane, health::Looks};
use axum::{
    Router,
    extract::{DefaultBodyLimit, FromRef},
    middleware,
    routing::{any, get, post},
};
pub use client::party;
use leptos::config::LeptosOptions;
pub use limits::{Buckets, Rate, Slot, Slots};
use pinacle_app::{backend::Backend, ids::UserId};
use std::{net::IpAddr, sync::Arc, time::Duration};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_http::{limit::RequestBodyLimitLayer, timeout::RequestBodyTimeoutLayer};

/// Bytes of a request's body, but for files.
pub const MOST_BODY: usize = 256 << 10;

/// Within which such a body has to be there. Files take as long as they take.
pub const BODY_DEADLINE: Duration = Duration::from_secs(30);

/// A body that pauses for longer has ended.
const BODY_PAUSE: Duration = Duration::from_secs(60);

/// What the doors need. Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    pub backend: Arc<dyn Backend>,
    pub control: ControlPlane,
    pub leptos: LeptosOptions,
    /// Streams end with it.
    shutdown: CancellationToken,
    changes: Arc<Buckets<UserId>>,
    /// Calls of browsers.
    calls: Arc<Buckets<UserId>>,
    sign_ins: Arc<Buckets<IpAddr>>,
    streams: Arc<Slots<UserId>>,
    /// At the health of the parts.
    looks: Arc<Looks>,
    /// What goes on after a connection became a WebSocket.
    pub sockets: TaskTracker,
}

impl AppState {
    pub fn new(control: ControlPlane, shutdown: CancellationToken) -> Self {
        // A released site has its pages' files under names with a hash, and a list of them.
        let hashes = std::path::absolute(control.config.site_root.join("hash.txt")).unwrap_or_default();
        let leptos = LeptosOptions::builder()
            .output_name("pinacle")
            .site_root(control.config.site_root.display().to_string())
            .site_pkg_dir("pkg")
            .site_addr(control.config.listen)
            .hash_files(hashes.is_file())
            .hash_file(hashes.display().to_string().into())
            .env(if cfg!(debug_assertions) { leptos::config::Env::DEV } else { leptos::config::Env::PROD })
            .build();
        Self {
            backend: Arc::new(control.clone()),
            control,
            leptos,
            shutdown,
            changes: Arc::new(Buckets::new(limits::CHANGES)),
            calls: Arc::new(Buckets::new(limits::CALLS)),
            sign_ins: Arc::new(Buckets::new(limits::SIGN_INS)),
            streams: Arc::new(Slots::new(limits::MOST_STREAMS)),
            looks: Arc::default(),
            sockets: TaskTracker::new(),
        }
    }
}

impl FromRef<AppState> for LeptosOptions {
    fn from_ref(state: &AppState) -> Self {
        state.leptos.clone()
    }
}

pub fn router(state: AppState) -> Router {
    let browser = Router::new()
        .route("/auth/github", get(auth::begin))
        .route(crate::github::CALLBACK, get(auth::callback))
        .route("/auth/sign-out", post(auth::sign_out))
        .route("/fn/{*path}", any(pages::server_function))
        .layer(RequestBodyLimitLayer::new(MOST_BODY))
        .merge(live::router())
        .merge(pages::router(&state))
        .layer(middleware::from_fn_with_state(state.clone(), session::identify))
        .layer(session::layer(&state.control))
        .layer(middleware::from_fn_with_state(state.clone(), origin::check))
        .layer(middleware::from_fn_with_state(state.clone(), pages::site_file));
    Router::new()
        .route("/health", get(health::health))
        .route("/health/live", get(health::live))
        .nest("/api/v1", rest::router(&state))
        .merge(browser)
        .layer(DefaultBodyLimit::max(MOST_BODY))
        .layer(RequestBodyTimeoutLayer::new(BODY_PAUSE))
        .layer(middleware::from_fn_with_state(state.clone(), headers::add))
        .layer(middleware::from_fn_with_state(state.clone(), host_check::check))
        .layer(middleware::from_fn(unread::read))
        .with_state(state)
}
