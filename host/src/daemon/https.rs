//! The second way in: HTTPS with an API key. After the key was checked the connection is upgraded and carries the same
//! frames as the socket does: `GET /v1/frames` with `Connection: upgrade`, `Upgrade: pinacle`, answered by 101.

use super::{Daemon, Https, door::MAX_CONNECTIONS, session};
use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{AUTHORIZATION, CONNECTION, HeaderMap, HeaderName, HeaderValue, UPGRADE},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, fs, io, net::SocketAddr, sync::Arc, time::Duration};
use subtle::ConstantTimeEq;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

pub const PATH: &str = "/v1/frames";
pub const PROTOCOL: &str = "pinacle";
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const SHORTEST_KEY: usize = 32;
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
const HEADER_DEADLINE: Duration = Duration::from_secs(10);

/// The open door; None where none is configured.
pub struct Door {
    listener: TcpListener,
    tls: TlsAcceptor,
    key: Arc<str>,
}

pub async fn listen(daemon: &Daemon) -> io::Result<Option<Door>> {
    let Some(options) = &daemon.options.https else { return Ok(None) };
    let key = fs::read_to_string(&options.api_key_file)?.trim().to_owned();
    if key.len() < SHORTEST_KEY {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{}: an API key has at least {SHORTEST_KEY} characters", options.api_key_file.display()),
        ));
    }
    let tls = TlsAcceptor::from(Arc::new(tls(options)?));
    Ok(Some(Door { listener: TcpListener::bind(options.https_listen).await?, tls, key: key.into() }))
}

fn tls(options: &Https) -> io::Result<ServerConfig> {
    let invalid = |error: String| io::Error::new(io::ErrorKind::InvalidData, error);
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&options.https_cert).and_then(Iterator::collect);
    let chain = chain.map_err(|error| invalid(format!("{}: {error}", options.https_cert.display())))?;
    let key = PrivateKeyDer::from_pem_file(&options.https_key).map_err(|error| invalid(format!("{}: {error}", options.https_key.display())))?;
    let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).map_err(|error| invalid(error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Serves the door; without one, waits for ever.
pub async fn serve(daemon: Arc<Daemon>, door: Option<Door>) -> io::Result<()> {
    let Some(door) = door else { return std::future::pending().await };
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let slot = slots.clone().acquire_owned().await.map_err(io::Error::other)?;
        match door.listener.accept().await {
            Ok((socket, from)) => {
                let (daemon, tls, key) = (daemon.clone(), door.tls.clone(), door.key.clone());
                tokio::spawn(async move {
                    if let Err(error) = answer(daemon, tls, key, socket, from).await {
                        tracing::info!(%from, %error, "an HTTPS connection ended");
                    }
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "an HTTPS connection could not be taken");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer(daemon: Arc<Daemon>, tls: TlsAcceptor, key: Arc<str>, socket: TcpStream, from: SocketAddr) -> io::Result<()> {
    socket.set_nodelay(true)?;
    notice_silence(&socket)?;
    let stream = timeout(HANDSHAKE_DEADLINE, tls.accept(socket)).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    // The frames are spoken within the connection's own task, so that its slot is held to the end.
    let (hand_over, mut taken) = tokio::sync::mpsc::channel(1);
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        let (key, hand_over) = (key.clone(), hand_over.clone());
        async move {
            let status = judge(&request, &key);
            let mut response = Response::new(Full::<Bytes>::default());
            *response.status_mut() = status;
            if status == StatusCode::SWITCHING_PROTOCOLS {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
                response.headers_mut().insert(UPGRADE, HeaderValue::from_static(PROTOCOL));
                // Full: one connection is upgraded once.
                let _once = hand_over.try_send(hyper::upgrade::on(&mut request));
            } else {
                tracing::info!(%from, %status, "refused over HTTPS");
            }
            Ok::<_, Infallible>(response)
        }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await
        .map_err(io::Error::other)?;
    if let Ok(upgrade) = taken.try_recv() {
        let upgraded = timeout(HEADER_DEADLINE, upgrade).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?.map_err(io::Error::other)?;
        let (read, write) = tokio::io::split(TokioIo::new(upgraded));
        session::serve(daemon, read, write, false).await;
    }
    Ok(())
}

/// A control plane that has vanished without a word is noticed within a minute.
fn notice_silence(socket: &TcpStream) -> io::Result<()> {
    use nix::sys::socket::{setsockopt, sockopt};
    setsockopt(socket, sockopt::KeepAlive, &true)?;
    setsockopt(socket, sockopt::TcpKeepIdle, &30)?;
    setsockopt(socket, sockopt::TcpKeepInterval, &10)?;
    setsockopt(socket, sockopt::TcpKeepCount, &3)?;
    Ok(())
}

fn judge<B>(request: &Request<B>, key: &str) -> StatusCode {
    if !is_authorized(request.headers(), key) {
        StatusCode::UNAUTHORIZED
    } else if request.uri().path() != PATH {
        StatusCode::NOT_FOUND
    } else if request.headers().get(UPGRADE).is_none_or(|value| value.as_bytes() != PROTOCOL.as_bytes()) {
        StatusCode::UPGRADE_REQUIRED
    } else {
        StatusCode::SWITCHING_PROTOCOLS
    }
}

fn is_authorized(headers: &HeaderMap, key: &str) -> bool {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    let given = headers.get(API_KEY).map(HeaderValue::as_bytes).or(bearer).unwrap_or_default();
    given.ct_eq(key.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_key_opens_the_door() {
        let key = "k".repeat(32);
        let ask = |name: &str, value: &str| Request::get(PATH).header(UPGRADE, PROTOCOL).header(name, value).body(()).unwrap();
        assert_eq!(judge(&ask("x-api-key", &key), &key), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(judge(&ask("authorization", &format!("Bearer {key}")), &key), StatusCode::SWITCHING_PROTOCOLS);
        for wrong in ["", "k", &"k".repeat(33), &"x".repeat(32)] {
            assert_eq!(judge(&ask("x-api-key", wrong), &key), StatusCode::UNAUTHORIZED);
        }
        assert_eq!(judge(&Request::get("/").header("x-api-key", &key).body(()).unwrap(), &key), StatusCode::NOT_FOUND);
    }
}
