//! Sealing of secrets and tokens: XChaCha20-Poly1305, a data key per row, wrapped by the master key.
//!
//! What is sealed is bound to the row that it stands in (the associated data that the caller gives), so that a
//! value that somebody moves to another row does not open there.

use base64::{Engine, engine::general_purpose::STANDARD};
use chacha20poly1305::{
    Key, KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use rand::RngCore;
use sha2::{Digest, Sha256};
use std::{fs::File, io::Read, os::unix::fs::PermissionsExt, path::Path};
use zeroize::{Zeroize, Zeroizing};

const KEY: usize = 32;
const NONCE: usize = 24;
const TAG: usize = 16;
const WRAPPED: usize = KEY + TAG;
/// First byte of what is sealed: `version ‖ nonce ‖ wrapped data key ‖ nonce ‖ ciphertext`.
const VERSION: u8 = 1;
/// A key file is one short line.
const MOST_KEY_FILE: u64 = 1024;
/// Others than owner and group must not read the key.
const OTHERS: u32 = 0o007;

/// Holds the master key; it never leaves here.
pub struct Sealer {
    master: Zeroizing<[u8; KEY]>,
}

#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    #[error("the master key file {path} can't be read: {source}")]
    Unreadable { path: String, source: std::io::Error },
    #[error("the master key file {0} can be read by every user of this machine: chmod 0600 it")]
    Open(String),
    #[error("the master key file {0} must hold 32 random bytes in base64 (head -c 32 /dev/urandom | base64)")]
    NoKey(String),
}

/// Why something did not open. Says no more: what it is for is known to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("sealed by a version that this server does not know")]
    Version,
    #[error("does not open: another key, another row, or changed bytes")]
    Closed,
}

impl Sealer {
    pub fn from_file(path: &Path) -> Result<Self, KeyFileError> {
        let name = path.display().to_string();
        let unreadable = |source| KeyFileError::Unreadable { path: name.clone(), source };
        let file = File::open(path).map_err(unreadable)?;
        if file.metadata().map_err(unreadable)?.permissions().mode() & OTHERS != 0 {
            return Err(KeyFileError::Open(name));
        }
        let mut text = Zeroizing::new(String::new());
        file.take(MOST_KEY_FILE).read_to_string(&mut text).map_err(unreadable)?;
        let bytes = Zeroizing::new(STANDARD.decode(text.trim()).map_err(|_| KeyFileError::NoKey(name.clone()))?);
        let master = <[u8; KEY]>::try_from(bytes.as_slice()).map_err(|_| KeyFileError::NoKey(name.clone()))?;
        // A file of zeros is a forgotten placeholder, not a key.
        if master.iter().all(|byte| *byte == master[0]) {
            return Err(KeyFileError::NoKey(name));
        }
        Ok(Self { master: Zeroizing::new(master) })
    }

    #[cfg(test)]
    pub(crate) fn for_tests(byte: u8) -> Self {
        Self { master: Zeroizing::new([byte; KEY]) }
    }

    /// Seals `plain` for the row that `row` names.
    pub fn seal(&self, row: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut data_key = Zeroizing::new([0; KEY]);
        rand::rng().fill_bytes(data_key.as_mut_slice());
        let mut sealed = vec![VERSION];
        append(&mut sealed, &self.master, b"key", row, data_key.as_slice());
        append(&mut sealed, &data_key, b"value", row, plain);
        sealed
    }

    pub fn open(&self, row: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (version, rest) = sealed.split_first().ok_or(SealError::Closed)?;
        if *version != VERSION {
            return Err(SealError::Version);
        }
        let (wrapped, value) = rest.split_at_checked(NONCE + WRAPPED).ok_or(SealError::Closed)?;
        let mut data_key = Zeroizing::new([0; KEY]);
        data_key.copy_from_slice(&opened(&self.master, b"key", row, wrapped)?);
        opened(&data_key, b"value", row, value)
    }

    /// The key that API tokens are signed with: derived, so that there is one secret to keep.
    pub fn token_key(&self) -> Zeroizing<[u8; KEY]> {
        self.derive(b"pinacle api tokens, HS256, 1")
    }

    /// SHA-256 over a label and the key. The key is uniformly random and of fixed length, so this is one-way and
    /// labels don't meet; the label comes first and ends with a zero.
    fn derive(&self, label: &[u8]) -> Zeroizing<[u8; KEY]> {
        let mut digest = Sha256::new();
        digest.update(label);
        digest.update([0]);
        digest.update(self.master.as_slice());
        Zeroizing::new(digest.finalize().into())
    }
}

fn cipher(key: &[u8; KEY]) -> XChaCha20Poly1305 {
    let mut bytes = Key::from(*key);
    let cipher = XChaCha20Poly1305::new(&bytes);
    bytes.as_mut_slice().zeroize();
    cipher
}

/// What is authenticated beside the text: the version, what it is, and the row.
fn bound(what: &[u8], row: &[u8]) -> Vec<u8> {
    [&[VERSION], what, &[0], row].concat()
}

fn append(sealed: &mut Vec<u8>, key: &[u8; KEY], what: &[u8], row: &[u8], plain: &[u8]) {
    let mut nonce = [0; NONCE];
    rand::rng().fill_bytes(&mut nonce);
    let aad = bound(what, row);
    // Fails only for texts of more than 256 GiB.
    let text = cipher(key).encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: &aad }).expect("a text that fits in memory is short enough");
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(&text);
}

fn opened(key: &[u8; KEY], what: &[u8], row: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let (nonce, text) = sealed.split_at_checked(NONCE).ok_or(SealError::Closed)?;
    let nonce = <[u8; NONCE]>::try_from(nonce).map_err(|_| SealError::Closed)?;
    let aad = bound(what, row);
    cipher(key).decrypt(&XNonce::from(nonce), Payload { msg: text, aad: &aad }).map(Zeroizing::new).map_err(|_| SealError::Closed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::OpenOptionsExt};

    #[test]
    fn what_is_sealed_opens_in_its_row_alone() {
        let sealer = Sealer::for_tests(7);
        let sealed = sealer.seal(b"users/1", b"gho_secret");
        assert_eq!(sealer.open(b"users/1", &sealed).unwrap().as_slice(), b"gho_secret");
        assert_eq!(sealer.open(b"users/2", &sealed), Err(SealError::Closed));
        assert_eq!(Sealer::for_tests(8).open(b"users/1", &sealed), Err(SealError::Closed));
        assert_ne!(sealer.seal(b"users/1", b"gho_secret"), sealed, "every sealing has a key and nonces of its own");
    }

    #[test]
    fn a_flipped_bit_anywhere_does_not_open() {
        let sealer = Sealer::for_tests(7);
        let sealed = sealer.seal(b"row", b"value");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(sealer.open(b"row", &changed).is_err(), "byte {at}");
        }
        for length in 0..sealed.len() {
            assert!(sealer.open(b"row", &sealed[..length]).is_err(), "cut to {length}");
        }
    }

    #[test]
    fn the_token_key_is_not_the_master_key() {
        assert_ne!(Sealer::for_tests(7).token_key().as_slice(), [7; KEY]);
        assert_eq!(Sealer::for_tests(7).token_key(), Sealer::for_tests(7).token_key());
        assert_ne!(Sealer::for_tests(7).token_key(), Sealer::for_tests(8).token_key());
    }

    #[test]
    fn a_key_file_that_is_missing_short_or_open_to_all_is_refused() {
        let folder = std::env::temp_dir().join(format!("pinacle-key-{}", rand::random::<u64>()));
        fs::create_dir(&folder).unwrap();
        let write = |name: &str, mode: u32, text: &str| {
            let path = folder.join(name);
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&path).unwrap();
            std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
            path
        };
        let good = format!("{}\n", STANDARD.encode((0..32).collect::<Vec<u8>>()));
        assert!(Sealer::from_file(&write("good", 0o600, &good)).is_ok());
        assert!(matches!(Sealer::from_file(&write("open", 0o604, &good)), Err(KeyFileError::Open(_))));
        assert!(matches!(Sealer::from_file(&write("short", 0o600, "AAAA")), Err(KeyFileError::NoKey(_))));
        assert!(matches!(Sealer::from_file(&write("zeros", 0o600, &STANDARD.encode([0; KEY]))), Err(KeyFileError::NoKey(_))));
        assert!(matches!(Sealer::from_file(&folder.join("missing")), Err(KeyFileError::Unreadable { .. })));
        fs::remove_dir_all(&folder).unwrap();
    }
}
