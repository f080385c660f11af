//! Serves a router on a listener: HTTP/1 and 2, upgrades, limits on what a client may hold open, and an end that fails
//! no request: whoever holds a connection may still ask on it for a moment, and what is under way goes on to a deadline.

use super::{Slots, party};
use axum::{
    Router,
    extract::{ConnectInfo, Request, State},
    middleware::{self, Next},
    response::Response,
};
use http::{HeaderValue, StatusCode, Version, header::CONNECTION};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

/// Connections at the same time; more wait in the kernel's queue.
const MOST_CONNECTIONS: u32 = 8192;
/// Of one party; a proxy's are of many.
const MOST_OF_ONE: usize = 2048;
/// For the first byte, and for all of a request's head. Also how long an idle HTTP/1 connection is kept.
const HEAD_DEADLINE: Duration = Duration::from_secs(15);
/// Bytes of a request's head.
const MOST_HEAD: usize = 64 << 10;
const MOST_HEADERS: usize = 100;
const MOST_HTTP2_STREAMS: u32 = 128;
const HTTP2_PING: Duration = Duration::from_secs(20);
/// How long requests still begin on connections that are open when the server is told to stop. Each answer says that it
/// is the connection's last; closed at once, a connection would take a request with it that is on its way.
const GOODBYE: Duration = Duration::from_secs(2);
/// How long requests may go on after that; streams are told to close at once.
const DRAIN: Duration = Duration::from_secs(10);
/// After an error of accept (too many open files), so as not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How an HTTP/2 connection begins; what looks like it has to become it in time.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PEEK_AGAIN: Duration = Duration::from_millis(20);

/// Serves until `shutdown`, then drains. `proxies` speak for others; `sockets` are the tasks of connections that became something else
/// than HTTP.
pub async fn serve(listener: TcpListener, router: Router, proxies: &[IpAddr], sockets: TaskTracker, shutdown: CancellationToken) -> io::Result<()> {
    let router = router.layer(middleware::from_fn_with_state(shutdown.clone(), say_last));
    let builder = Arc::new(builder());
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS as usize));
    let parties = Arc::new(Slots::new(MOST_OF_ONE));
    // No request begins any more.
    let closed = CancellationToken::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let Some((stream, peer, place)) = accepted else { continue };
        let address = peer.ip().to_canonical();
        let of_party = if proxies.contains(&address) { None } else { Some(parties.take(party(address))) };
        let Ok(of_party) = of_party.transpose() else {
            tracing::debug!(%peer, "a party has too many connections");
            continue;
        };
        let (builder, router, watcher, stop) = (builder.clone(), router.clone(), graceful.watcher(), closed.clone());
        tokio::spawn(async move {
            let _held = (place, of_party);
            let has_begun = tokio::select! {
                has_begun = begins(&stream) => has_begun,
                () = stop.cancelled() => false,
            };
            if !has_begun {
                return;
            }
            let service = router.map_request(move |mut request: http::Request<Incoming>| {
                request.extensions_mut().insert(ConnectInfo(peer));
                request.map(axum::body::Body::new)
            });
            let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(service)).into_owned();
            if let Err(error) = watcher.watch(connection).await {
                tracing::debug!(%error, %peer, "a connection broke");
            }
        });
    }
    // Connections that nobody has accepted stay with the socket, for a process that holds it, too.
    drop(listener);
    if tokio::time::timeout(GOODBYE, places.acquire_many(MOST_CONNECTIONS)).await.is_err() {
        tracing::debug!("connections that nobody asks on are closed");
    }
    closed.cancel();
    sockets.close();
    let drained = async { tokio::join!(graceful.shutdown(), sockets.wait()) };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        tracing::warn!("requests were still under way {:?} after the server was told to stop", GOODBYE + DRAIN);
    }
    Ok(())
}

/// Once the server is to stop, every answer of HTTP/1 is its connection's last (HTTP/2 says so by itself).
async fn say_last(State(shutdown): State<CancellationToken>, request: Request, next: Next) -> Response {
    let is_first_version = request.version() <= Version::HTTP_11;
    let mut response = next.run(request).await;
    if shutdown.is_cancelled() && is_first_version && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(MOST_HEAD)
        .max_headers(MOST_HEADERS)
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MOST_HEAD as u32)
        .max_concurrent_streams(MOST_HTTP2_STREAMS)
        .keep_alive_interval(HTTP2_PING)
        .keep_alive_timeout(HTTP2_PING);
    builder
}

async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    // Never closed.
    let place = places.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection ended before it began");
                return None;
            }
            Some((stream, peer, place))
        }
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// Whether the client says something, and which version it speaks can be told, in time: hyper waits for that without
/// a limit of its own.
async fn begins(stream: &TcpStream) -> bool {
    let told = async {
        let mut start = [0; HTTP2_PREFACE.len()];
        loop {
            let count = stream.peek(&mut start).await?;
            let half_a_preface = count < HTTP2_PREFACE.len() && HTTP2_PREFACE.starts_with(&start[..count]);
            if count == 0 || !half_a_preface {
                return io::Result::Ok(count > 0);
            }
            tokio::time::sleep(PEEK_AGAIN).await;
        }
    };
    matches!(tokio::time::timeout(HEAD_DEADLINE, told).await, Ok(Ok(true)))
}
