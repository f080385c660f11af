//! `ssh <pod>.<handle>@<gateway>`: the door for people's own SSH clients. Who somebody is says a public key of theirs
//! (`account::public_keys`); what they may says `Backend`, as at every door. What is joined runs in the pod: shell, commands,
//! files, ports.

mod channel;
mod client;
mod held;
mod program;

use crate::{
    config::Config,
    control::ControlPlane,
    listen::Sockets,
    web::{Buckets, Rate, Slot, Slots, party},
};
use pinacle_app::{account::Gateway as Shown, backend::Backend, ids::UserId};
use russh::{
    MethodKind, MethodSet, SshId,
    keys::{HashAlg, PrivateKey},
    server::{self, Config as SshConfig},
};
use std::{
    borrow::Cow,
    io,
    net::{IpAddr, Shutdown, SocketAddr},
    os::fd::AsFd,
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::Interest,
    net::{TcpListener, TcpStream},
    sync::{Semaphore, oneshot},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// Connections at once; those that have not said yet who they are, per address.
const MOST_CONNECTIONS: usize = 2000;
const MOST_STRANGERS: usize = 20;
/// Connections of one user.
const MOST_A_USER: usize = 30;
/// Connections begun from one address.
const BEGUN: Rate = Rate { burst: 120.0, per_second: 4.0 };
/// Keys that a client may offer before it is sent away.
const MOST_TRIES: usize = 12;
/// Within which it has to be known who it is.
const SIGN_IN: Duration = Duration::from_secs(60);
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVES_MISSED: usize = 4;
/// Bytes of a channel's input that may be on their way.
const INPUT_WINDOW: u32 = 256 << 10;
/// Pieces of at most 32 KiB of a channel's input that wait for the pod; one more holds up the client's whole connection.
const INPUT_WAITS: usize = 64;
const REJECTED_AFTER: Duration = Duration::from_millis(200);
/// What does not listen for a moment does not end the door.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// For one client to hear that its connection ends, and why; then its socket is closed under it.
const LAST_WORD: Duration = Duration::from_secs(1);
/// For what a client that has gone had sent to be read, to its end.
const LEFT_BEHIND: Duration = Duration::from_secs(10);
/// For all of them, when the server ends.
const GOODBYE: Duration = Duration::from_secs(3);

#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    #[error("its key: {0}")]
    Key(String),
    #[error("PINACLE_GATEWAY_ADDRESS is no name with a port: {0}")]
    Address(String),
    #[error("can't listen on {address}: {error}")]
    Listen { address: SocketAddr, error: io::Error },
}

/// What clients know the gateway by.
pub struct Identity {
    key: PrivateKey,
    pub shown: Shown,
}

impl Identity {
    /// None: there is no gateway.
    pub fn of(config: &Config) -> Result<Option<Self>, GatewayError> {
        let (Some(listen), Some(file)) = (config.gateway.gateway_listen, &config.gateway.gateway_key_file) else { return Ok(None) };
        let key = russh::keys::load_secret_key(file, None).map_err(|error| GatewayError::Key(format!("{}: {error}", file.display())))?;
        let (host, port) = match config.gateway.gateway_address.as_deref() {
            None => (config.url.host_str().unwrap_or("localhost").to_owned(), listen.port()),
            Some(address) => {
                let broken = || GatewayError::Address(address.to_owned());
                let url = url::Url::parse(&format!("ssh://{address}")).map_err(|_| broken())?;
                (
                    url.host_str().filter(|_| url.path().is_empty() && url.username().is_empty()).ok_or_else(broken)?.to_owned(),
                    url.port().unwrap_or(22),
                )
            }
        };
        let fingerprint = key.public_key().fingerprint(HashAlg::Sha256).to_string();
        Ok(Some(Self { key, shown: Shown { host, port, fingerprint } }))
    }
}

pub async fn listen(control: &ControlPlane, sockets: &mut Sockets) -> Result<Option<TcpListener>, GatewayError> {
    let (Some(address), Some(_)) = (control.config.gateway.gateway_listen, &control.gateway) else { return Ok(None) };
    sockets.gateway(address).await.map(Some).map_err(|error| GatewayError::Listen { address, error })
}

/// What all connections share.
struct Gateway {
    control: ControlPlane,
    backend: Arc<dyn Backend>,
    stop: CancellationToken,
    users: Arc<Slots<UserId>>,
    strangers: Arc<Slots<IpAddr>>,
    begun: Buckets<IpAddr>,
}

/// Until `stop`; what is open is told and ends.
pub async fn serve(listener: TcpListener, control: ControlPlane, stop: CancellationToken) {
    let Some(identity) = &control.gateway else { return };
    let ssh = Arc::new(ssh_config(identity.key.clone()));
    let gateway = Arc::new(Gateway {
        backend: Arc::new(control.clone()),
        stop: stop.clone(),
        users: Arc::new(Slots::new(MOST_A_USER)),
        strangers: Arc::new(Slots::new(MOST_STRANGERS)),
        begun: Buckets::new(BEGUN),
        control,
    });
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut open = JoinSet::new();
    loop {
        while open.try_join_next().is_some() {}
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        let address = peer.ip().to_canonical();
        let place = Arc::clone(&places).try_acquire_owned();
        let party = party(address);
        let (Ok(place), Ok(()), Ok(stranger)) = (place, gateway.begun.take(party), gateway.strangers.take(party)) else {
            // Closed: it has not said a word yet.
            continue;
        };
        let (ssh, gateway) = (Arc::clone(&ssh), Arc::clone(&gateway));
        open.spawn(async move {
            connection(ssh, gateway, socket, address, stranger).await;
            drop(place);
        });
    }
    if timeout(GOODBYE, async { while open.join_next().await.is_some() {} }).await.is_err() {
        open.abort_all();
    }
}

fn ssh_config(key: PrivateKey) -> SshConfig {
    SshConfig {
        server_id: SshId::Standard(Cow::Borrowed("SSH-2.0-Pinacle")),
        methods: MethodSet::from(&[MethodKind::PublicKey, MethodKind::KeyboardInteractive][..]),
        auth_rejection_time: REJECTED_AFTER,
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: vec![key],
        window_size: INPUT_WINDOW,
        channel_buffer_size: INPUT_WAITS,
        max_auth_attempts: MOST_TRIES,
        inactivity_timeout: None,
        keepalive_interval: Some(KEEPALIVE),
        keepalive_max: KEEPALIVES_MISSED,
        nodelay: true,
        ..SshConfig::default()
    }
}

/// One client, to its end.
async fn connection(ssh: Arc<SshConfig>, gateway: Arc<Gateway>, socket: TcpStream, peer: IpAddr, stranger: Slot<IpAddr>) {
    let known = CancellationToken::new();
    let (tell, mut right_ended) = oneshot::channel();
    // A client that reads nothing, that never ends an exchange of keys, or whose input nothing takes, keeps the session from hearing
    // anything.
    let own = socket.as_fd().try_clone_to_owned().map(std::net::TcpStream::from);
    let own = match own.and_then(TcpStream::from_std) {
        Ok(socket) => socket,
        Err(error) => return tracing::warn!(%error, "a connection could not be taken"),
    };
    let over = CancellationToken::new();
    let handler = client::Client::new(Arc::clone(&gateway), peer, stranger, known.clone(), tell, over.clone());
    let session = match timeout(SIGN_IN, server::run_stream(ssh, socket, handler)).await {
        Ok(Ok(session)) => session,
        // No SSH, or nothing at all.
        Ok(Err(error)) => return tracing::debug!(%error, %peer, "a connection was none"),
        Err(_) => return,
    };
    let handle = session.handle();
    tokio::pin!(session);
    let why = tokio::select! {
        ended = &mut session => return heard(peer, ended),
        () = hung_up(&own) => None,
        () = async { if timeout(SIGN_IN, known.cancelled()).await.is_ok() { std::future::pending::<()>().await } } => Some("Nobody has signed in.".to_owned()),
        Ok(why) = &mut right_ended => Some(why),
        () = gateway.stop.cancelled() => Some("The server restarts.".to_owned()),
    };
    let grace = if why.is_some() { LAST_WORD } else { LEFT_BEHIND };
    let told = async {
        if let Some(why) = why {
            // An error: the session has just ended by itself.
            let _gone = handle.disconnect(russh::Disconnect::ByApplication, why, String::new()).await;
        }
        (&mut session).await
    };
    let ended = match timeout(grace, told).await {
        Ok(ended) => ended,
        Err(_) => {
            tracing::debug!(%peer, "a client did not hear the end");
            if let Err(error) = own.into_std().and_then(|socket| socket.shutdown(Shutdown::Both)) {
                tracing::debug!(%error, %peer, "a connection had gone");
            }
            // What it was reading, writing or handing on has ended with that; until it has, it keeps its place.
            over.cancel();
            session.await
        }
    };
    heard(peer, ended);
}

/// Resolves when the client has closed its end, whether or not all that it sent before has been read. It can't be told when the socket
/// is not watched any more, and the session finds out by itself.
async fn hung_up(socket: &TcpStream) {
    while let Ok(ready) = socket.ready(Interest::READABLE).await {
        if ready.is_read_closed() {
            return;
        }
        // Nothing is read here: what is there was heard of, and the next wait is for more.
        let _heard = socket.try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
    }
    std::future::pending().await
}

fn heard(peer: IpAddr, ended: Result<(), russh::Error>) {
    if let Err(error) = ended {
        tracing::debug!(%error, %peer, "a connection broke");
    }
}
