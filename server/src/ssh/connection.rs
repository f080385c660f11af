//! One connection: a task that connects when a channel is asked for, and again when the connection was lost.

use super::Target;
use russh::{
    client,
    keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey, PublicKeyBase64, PublicKeyOrCertificate},
};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

const USER: &str = "pinacle";
/// What sshd is asked to run; a host's forced command runs in its place.
const GATE: &str = "pinacle-host gate";
const CONNECT_DEADLINE: Duration = Duration::from_secs(8);
const CHANNEL_DEADLINE: Duration = Duration::from_secs(5);
const KEEPALIVE: Duration = Duration::from_secs(5);
const KEEPALIVES_MISSED: usize = 3;
/// A connection that nobody has asked for a channel in this long is closed once its channels are.
const IDLE: Duration = Duration::from_secs(300);
/// Messages of one channel that wait to be read. One more holds up the whole connection, so what a channel may have on its way
/// has to fit: 1,000 pieces, each of which may arrive as two.
const CHANNEL_BUFFER: usize = 2048;
/// Requests for channels that wait for one connection.
const WAITING: usize = 256;

/// A channel as a stream of bytes; dropped, it is closed.
pub type Stream = russh::ChannelStream<client::Msg>;

#[derive(Clone, Debug, thiserror::Error)]
pub enum SshError {
    #[error("the key of the control plane can't be used: {0}")]
    Key(String),
    #[error("the host shows another key than the one it joined with ({fingerprint})")]
    HostKeyChanged { algorithm: String, key: Vec<u8>, fingerprint: String },
    #[error("the host does not accept the control plane's key")]
    Refused,
    #[error("no connection to the host: {0}")]
    Unreachable(String),
    #[error("the host did not answer within {0:?}")]
    Timeout(Duration),
}

impl From<russh::Error> for SshError {
    fn from(error: russh::Error) -> Self {
        Self::Unreachable(error.to_string())
    }
}

type Answer = oneshot::Sender<Result<Stream, SshError>>;

#[derive(Clone)]
pub(super) struct Connection {
    requests: mpsc::Sender<Answer>,
}

impl Connection {
    /// Nothing is connected before the first channel.
    pub(super) fn start(target: Target, key: Arc<PrivateKey>) -> Self {
        let (requests, inbox) = mpsc::channel(WAITING);
        tokio::spawn(serve(target, key, inbox));
        Self { requests }
    }

    pub(super) fn is_open(&self) -> bool {
        !self.requests.is_closed()
    }

    pub(super) async fn open(&self) -> Result<Stream, SshError> {
        let (answer, opened) = oneshot::channel();
        let gone = || SshError::Unreachable("the connection was closed".to_owned());
        self.requests.send(answer).await.map_err(|_| gone())?;
        opened.await.map_err(|_| gone())?
    }
}

/// Ends when nobody asks any more; channels that are open keep the connection until they are closed.
async fn serve(target: Target, key: Arc<PrivateKey>, mut inbox: mpsc::Receiver<Answer>) {
    let mut handle: Option<Arc<client::Handle<Pinned>>> = None;
    // Set where a channel was not answered in time: the others may go on, new ones get a new connection.
    let mut stuck = Arc::new(AtomicBool::new(false));
    while let Ok(Some(answer)) = timeout(IDLE, inbox.recv()).await {
        if answer.is_closed() {
            continue;
        }
        let connected = match handle.take().filter(|h| !h.is_closed() && !stuck.load(Ordering::Relaxed)) {
            Some(handle) => Ok(handle),
            None => {
                stuck = Arc::default();
                connect(&target, &key).await.map(Arc::new)
            }
        };
        match connected {
            Ok(connected) => {
                handle = Some(Arc::clone(&connected));
                let stuck = Arc::clone(&stuck);
                // Several may be on their way at once; each has a deadline.
                tokio::spawn(async move {
                    let opened = timeout(CHANNEL_DEADLINE, channel(&connected)).await.unwrap_or_else(|_| {
                        stuck.store(true, Ordering::Relaxed);
                        Err(SshError::Timeout(CHANNEL_DEADLINE))
                    });
                    // Whoever asked may have gone: the channel closes as it is dropped.
                    drop(answer.send(opened));
                });
            }
            // Who asked meanwhile waits for no attempt of its own.
            Err(error) => {
                drop(answer.send(Err(error.clone())));
                while let Ok(waiting) = inbox.try_recv() {
                    drop(waiting.send(Err(error.clone())));
                }
            }
        }
    }
}

async fn channel(handle: &client::Handle<Pinned>) -> Result<Stream, SshError> {
    let channel = handle.channel_open_session().await?;
    // Without a reply: a refusal shows as the end of the stream, and a round trip is saved.
    channel.exec(false, GATE).await?;
    Ok(channel.into_stream())
}

async fn connect(target: &Target, key: &Arc<PrivateKey>) -> Result<client::Handle<Pinned>, SshError> {
    let config = client::Config {
        keepalive_interval: Some(KEEPALIVE),
        keepalive_max: KEEPALIVES_MISSED,
        nodelay: true,
        channel_buffer_size: CHANNEL_BUFFER,
        ..client::Config::default()
    };
    let refused = Arc::new(Mutex::new(None));
    let pinned = Pinned { trusted: target.trusted.clone(), refused: Arc::clone(&refused) };
    let attempt = async {
        let mut handle = client::connect(Arc::new(config), (target.address.as_str(), target.port), pinned).await?;
        let hash = handle.best_supported_rsa_hash().await?.flatten();
        let accepted = handle.authenticate_publickey(USER, PrivateKeyWithHashAlg::new(Arc::clone(key), hash)).await?;
        if accepted.success() { Ok(handle) } else { Err(SshError::Refused) }
    };
    let result = timeout(CONNECT_DEADLINE, attempt).await.unwrap_or(Err(SshError::Timeout(CONNECT_DEADLINE)));
    // russh only says that the key was unknown; which one is what an operator has to see.
    let offered = refused.lock().unwrap_or_else(PoisonError::into_inner).take();
    match offered {
        Some(changed) => Err(changed),
        None => result,
    }
}

/// Accepts the pinned keys and no other.
struct Pinned {
    trusted: Vec<Vec<u8>>,
    refused: Arc<Mutex<Option<SshError>>>,
}

impl client::Handler for Pinned {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = shown else { return Ok(false) };
        let bytes = key.public_key_bytes();
        if self.trusted.contains(&bytes) {
            return Ok(true);
        }
        let changed = SshError::HostKeyChanged { algorithm: key.algorithm().to_string(), fingerprint: fingerprint(key), key: bytes };
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(changed);
        Ok(false)
    }
}

/// Such as `SHA256:…`, as `ssh-keygen -l` prints it.
fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}
