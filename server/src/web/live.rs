//! `/live`: what is live, for browsers: by session cookie, from our own pages only (see `origin`).

use super::{
    AppState, csv, files,
    guard::{self, Reach},
    problem::Answer,
    rest::extract::{Params, PathId, PathPair},
    session::Asker,
    sse, terminal,
};
use crate::account::may_change;
use axum::{
    Router,
    body::Body,
    extract::{
        DefaultBodyLimit, State,
        ws::{Message, WebSocket, WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
    handler::Handler,
    response::Response,
    routing::{MethodRouter, get, put},
};
use bytes::Bytes;
use futures::{SinkExt, StreamExt, stream::BoxStream};
use http::{HeaderMap, Method};
use pinacle_app::{
    AppError, AppResult, ErrorCode,
    backend::Caller,
    ids::{PodId, TeamId},
    teams::activity::ActivityQuery,
};
use serde::Deserialize;
use std::pin::pin;
use utoipa::IntoParams;
use uuid::Uuid;

/// Bytes that a WebSocket reads at once: so many are filled with zeros before each try. A longer message takes several.
const READ_BUFFER: usize = 16 << 10;

/// One stream or transfer of browsers: a method at a path.
struct Live {
    method: Method,
    path: &'static str,
    handler: MethodRouter<AppState>,
}

fn reads<T: 'static>(path: &'static str, handler: impl Handler<T, AppState>) -> Live {
    Live { method: Method::GET, path, handler: get(handler) }
}

/// Of a file, which may be larger than other bodies.
fn puts<T: 'static>(path: &'static str, handler: impl Handler<T, AppState>) -> Live {
    Live { method: Method::PUT, path, handler: put(handler).layer(DefaultBodyLimit::disable()) }
}

fn routes() -> [Live; 8] {
    [
        reads("/live/pods", pods),
        reads("/live/teams/{id}", team),
        reads("/live/teams/{id}/activity.csv", activity),
        reads("/live/pods/{id}/events", pod_news),
        reads("/live/pods/{id}/terminals/{name}", terminal),
        reads("/live/pods/{id}/logs/{process}", process_log),
        reads("/live/pods/{id}/files", download),
        puts("/live/pods/{id}/files", upload),
    ]
}

pub fn router() -> Router<AppState> {
    routes().into_iter().fold(Router::new(), |router, live| router.route(live.path, live.handler))
}

/// What there is, for whoever checks that each has its rights.
pub fn paths() -> impl Iterator<Item = (Method, &'static str)> {
    routes().into_iter().map(|live| (live.method, live.path))
}

async fn pods(State(state): State<AppState>, Asker(caller): Asker) -> Answer<Response> {
    sse::pods(state, caller).await
}

async fn team(State(state): State<AppState>, Asker(caller): Asker, PathId(id): PathId<TeamId>) -> Answer<Response> {
    sse::team(state, caller, id).await
}

async fn activity(
    State(state): State<AppState>,
    Asker(caller): Asker,
    PathId(id): PathId<TeamId>,
    Params(query): Params<ActivityQuery>,
) -> Answer<Response> {
    csv::activity(state, caller, id, query).await
}

#[derive(Deserialize)]
struct After {
    after: Option<String>,
}

async fn pod_news(
    State(state): State<AppState>,
    Asker(caller): Asker,
    PathId(id): PathId<PodId>,
    Params(query): Params<After>,
    headers: HeaderMap,
) -> Answer<Response> {
    let after = sse::after_of(query.after.as_deref())?;
    sse::pod_news(state, caller, id, after, &headers).await
}

/// The size of the screen that looks at a terminal, and who looks.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Screen {
    /// 2–1000; 80 if left out.
    cols: Option<u16>,
    /// 1–1000; 24 if left out.
    rows: Option<u16>,
    /// Chosen by the client and kept when it reconnects. With it, input is acknowledged and output has to be.
    client: Option<Uuid>,
}

pub type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

async fn terminal(
    State(state): State<AppState>,
    Asker(caller): Asker,
    PathPair(id, name): PathPair,
    Params(screen): Params<Screen>,
    upgrade: Upgrade,
) -> Answer<Response> {
    attach(state, caller, &id, name, screen, upgrade).await
}

/// Attaches to a terminal; at both doors.
pub async fn attach(state: AppState, caller: Caller, id: &str, name: String, screen: Screen, upgrade: Upgrade) -> Answer<Response> {
    let pod: PodId = id.parse().map_err(|_| AppError::not_found())?;
    // Typing is a change, whatever the method is.
    may_change(&caller)?;
    let size = terminal::size(screen.cols, screen.rows)?;
    let upgrade = upgraded(upgrade)?;
    let slot = state.streams.take(caller.user)?;
    let connection = match state.backend.open_terminal(&caller, pod, &name, size, screen.client).await {
        Ok(connection) => connection,
        Err(error) if terminal::is_shown(&error) => return Ok(upgrade.on_upgrade(move |socket| terminal::refuse(socket, error))),
        Err(error) => return Err(error.into()),
    };
    let sockets = state.sockets.clone();
    let counts = screen.client.is_some();
    Ok(upgrade.on_upgrade(move |socket| sockets.track_future(terminal::attach(state, caller, pod, socket, connection, counts, slot))))
}

async fn process_log(State(state): State<AppState>, Asker(caller): Asker, PathPair(id, process): PathPair, upgrade: Upgrade) -> Answer<Response> {
    let pod: PodId = id.parse().map_err(|_| AppError::not_found())?;
    let upgrade = upgraded(upgrade)?;
    let slot = state.streams.take(caller.user)?;
    let log = match state.backend.process_log(&caller, pod, &process).await {
        Ok(log) => log,
        Err(error) if terminal::is_shown(&error) => return Ok(upgrade.on_upgrade(move |socket| terminal::refuse(socket, error))),
        Err(error) => return Err(error.into()),
    };
    let sockets = state.sockets.clone();
    Ok(upgrade.on_upgrade(move |socket| {
        sockets.track_future(async move {
            let _held = slot;
            follow(state, caller, pod, socket, log).await;
        })
    }))
}

fn upgraded(upgrade: Upgrade) -> Result<WebSocketUpgrade, AppError> {
    upgrade
        .map(|upgrade| upgrade.read_buffer_size(READ_BUFFER).max_message_size(terminal::MOST_MESSAGE).max_frame_size(terminal::MOST_MESSAGE))
        .map_err(|_| AppError::new(ErrorCode::BadRequest, "This is a WebSocket: connect to it as one."))
}

/// Sends a log as it grows until it ends, the reader goes, or its right does.
async fn follow(state: AppState, caller: Caller, pod: PodId, socket: WebSocket, log: BoxStream<'static, AppResult<Bytes>>) {
    let (mut sink, mut stream) = socket.split();
    let mut log = pin!(log.take_until(guard::ended(state, caller, Reach::Pod(pod))));
    // The reader says nothing but that it is there, and goodbye.
    let gone = async {
        while let Ok(Some(Ok(message))) = tokio::time::timeout(terminal::SILENCE, stream.next()).await
            && !matches!(message, Message::Close(_))
        {}
    };
    let writing = async {
        let mut ping = tokio::time::interval(terminal::PING);
        loop {
            let message = tokio::select! {
                chunk = log.next() => match chunk {
                    Some(Ok(chunk)) => Message::Binary(chunk),
                    Some(Err(error)) => Message::text(serde_json::json!({ "closed": { "reason": error.message } }).to_string()),
                    None => break,
                },
                _ = ping.tick() => Message::Ping(Bytes::new()),
            };
            match tokio::time::timeout(terminal::SEND_DEADLINE, sink.send(message)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return false,
            }
        }
        true
    };
    let told_all = tokio::select! {
        () = gone => false,
        told_all = writing => told_all,
    };
    if told_all {
        terminal::close(sink, stream).await;
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct FileQuery {
    /// Relative to /home/dev, or absolute.
    pub path: Option<String>,
}

async fn download(
    State(state): State<AppState>,
    Asker(caller): Asker,
    PathId(id): PathId<PodId>,
    Params(query): Params<FileQuery>,
) -> Answer<Response> {
    files::download(state, caller, id, query.path).await
}

async fn upload(
    State(state): State<AppState>,
    Asker(caller): Asker,
    PathId(id): PathId<PodId>,
    Params(query): Params<FileQuery>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    files::upload(state, caller, id, query.path, &headers, body).await
}
