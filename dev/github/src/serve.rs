//! Puts the rooms together: routes, faults, counting, a deadline for everything.

use crate::{
    admin, api,
    api::ApiError,
    config::Config,
    faults::{Fault, Mode},
    git, oauth, pages, samples,
    world::Shared,
};
use axum::{
    Router,
    extract::{DefaultBodyLimit, Path, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use std::{io, net::SocketAddr, time::Duration};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::{sleep, timeout},
};

/// Until an answer begins; above the slowest fault and git's own deadline.
const ANSWER_DEADLINE: Duration = Duration::from_secs(180);
const MOST_BODY: usize = 64 * 1024;

/// Writes the sample repositories, then serves until a signal.
pub async fn run(config: Config) -> io::Result<()> {
    samples::write(&config.data_dir).await?;
    let addresses = config.listen.clone();
    let app = router(Shared::open(config)?);
    let mut servers = JoinSet::new();
    for address in addresses {
        let listener = TcpListener::bind(address).await?;
        tracing::info!("listening on {address}");
        let app = app.clone().into_make_service_with_connect_info::<SocketAddr>();
        servers.spawn(async move { axum::serve(listener, app).await });
    }
    let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        ended = servers.join_next() => ended.map_or(Ok(()), |ended| ended.map_err(io::Error::other)?),
        _ = term.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

pub fn router(shared: Shared) -> Router {
    Router::new()
        .route("/", get(|| async { "A stand-in for GitHub, for the local stack of Pinacle.\n" }))
        .route("/avatars/{id}", get(avatar))
        .nest("/login/oauth", oauth::router())
        .nest("/api/v3", api::router(shared.clone()))
        .merge(git::router())
        .layer(DefaultBodyLimit::max(MOST_BODY))
        .layer(middleware::from_fn_with_state(shared.clone(), strike))
        // Outside the faults: what switches them off must work.
        .nest("/_dev", admin::router())
        .with_state(shared)
}

async fn avatar(Path(id): Path<u64>) -> Response {
    ([(header::CONTENT_TYPE, "image/svg+xml"), (header::CACHE_CONTROL, "max-age=3600")], pages::avatar(id)).into_response()
}

async fn strike(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let fault = {
        let mut world = shared.world();
        world.count(format!("{} {path}", request.method()));
        world.faults.strike(&path)
    };
    if let Some(fault) = fault
        && let Some(refusal) = suffer(&fault).await
    {
        return refusal;
    }
    match timeout(ANSWER_DEADLINE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::new(StatusCode::GATEWAY_TIMEOUT, "The answer took too long").into_response(),
    }
}

/// The answer that a fault gives in place of the real one; slow ones give none, only later.
async fn suffer(fault: &Fault) -> Option<Response> {
    match fault.mode {
        Mode::Error500 => Some(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "Server Error").into_response()),
        Mode::Revoked => Some(ApiError::bad_credentials().into_response()),
        Mode::RateLimited => {
            let mut refusal = ApiError::new(StatusCode::FORBIDDEN, "API rate limit exceeded").into_response();
            for (name, value) in [("x-ratelimit-limit", "5000"), ("x-ratelimit-remaining", "0"), ("retry-after", "60")] {
                refusal.headers_mut().insert(name, HeaderValue::from_static(value));
            }
            Some(refusal)
        }
        Mode::Slow => {
            sleep(fault.delay()).await;
            None
        }
    }
}
