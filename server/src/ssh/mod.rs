//! SSH to pod hosts: pooled connections, host keys pinned. Knows nothing of pods.
//!
//! A connection is a task that hands out channels. russh runs one task a connection, so classes of traffic get
//! connections of their own: a download never stands before a keystroke.

mod connection;
pub mod pair;

pub use connection::{SshError, Stream};

use connection::Connection;
use russh::keys::{HashAlg, PrivateKey, PublicKey};
use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};
use uuid::Uuid;

/// Bulk traffic of one host is spread over this many connections.
const BULK_CONNECTIONS: usize = 2;

/// Of a line of `authorized_keys`, such as `SHA256:…`; None for what is no key.
pub fn fingerprint_of(line: &str) -> Option<String> {
    PublicKey::from_openssh(line).ok().map(|key| key.fingerprint(HashAlg::Sha256).to_string())
}

/// What a channel is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Jobs, health, and what pods ask.
    Control,
    /// Terminals and what a person waits for.
    Interactive,
    /// Files, previews, commands and set-ups: what may send much.
    Bulk,
}

/// A machine that runs an sshd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub id: Uuid,
    pub address: String,
    pub port: u16,
    /// Host keys that are accepted, in SSH's wire format. Several while one is replaced.
    pub trusted: Vec<Vec<u8>>,
}

/// Host, class, and which of the class's connections.
type Slot = (Uuid, Class, usize);

/// All connections of this process.
pub struct Connections {
    key: Arc<PrivateKey>,
    pool: Mutex<HashMap<Slot, (Target, Connection)>>,
    next_bulk: AtomicUsize,
}

impl Connections {
    /// `key_file` holds an OpenSSH private key without a passphrase.
    pub fn new(key_file: &Path) -> Result<Self, SshError> {
        let key = russh::keys::load_secret_key(key_file, None).map_err(|e| SshError::Key(format!("{}: {e}", key_file.display())))?;
        Ok(Self { key: Arc::new(key), pool: Mutex::default(), next_bulk: AtomicUsize::new(0) })
    }

    /// The control plane's public key as a line of `authorized_keys`.
    pub fn public_key(&self) -> Result<String, SshError> {
        self.key.public_key().to_openssh().map_err(|e| SshError::Key(e.to_string()))
    }

    /// A new channel running the host's forced command, on a connection of this class.
    pub async fn open(&self, target: &Target, class: Class) -> Result<Stream, SshError> {
        let slot = if class == Class::Bulk { self.next_bulk.fetch_add(1, Ordering::Relaxed) % BULK_CONNECTIONS } else { 0 };
        let connection = {
            let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
            match pool.get(&(target.id, class, slot)) {
                // Another address or another set of keys: what was connected before is not used any more.
                Some((known, connection)) if known == target && connection.is_open() => connection.clone(),
                _ => {
                    let connection = Connection::start(target.clone(), Arc::clone(&self.key));
                    pool.insert((target.id, class, slot), (target.clone(), connection.clone()));
                    connection
                }
            }
        };
        connection.open().await
    }
}
