//! Sealing of secrets and tokens: XChaCha20-Poly1305, a data key per row, wrapped by the master key.
//!
//! What is sealed is bound to the row that it stands in (the associated data that the caller gives), so that a
//! value that somebody moves to another row does not open there. While the master key is replaced there are several: the
//! first seals, all of them open, and `rewrap` brings a row from one of the others to the first.

mod master_key;

pub use master_key::{MasterKeyError, take_variable};

use chacha20poly1305::{
    Key, KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use rand::RngCore;
use sha2::{Digest, Sha256};
use uuid::Uuid;
use zeroize::{Zeroize, Zeroizing};

const KEY: usize = 32;
const NONCE: usize = 24;
const TAG: usize = 16;
const WRAPPED: usize = KEY + TAG;
/// First byte of what is sealed: `version ‖ nonce ‖ wrapped data key ‖ nonce ‖ ciphertext`.
const VERSION: u8 = 1;

type MasterKey = Zeroizing<[u8; KEY]>;

/// Holds the master key, and those that it takes the place of; they never leave here.
pub struct Sealer {
    /// Seals, and opens.
    first: MasterKey,
    /// Open what was sealed before.
    others: Vec<MasterKey>,
}

/// What is sealed, with the row that it is sealed for.
pub struct SealedRow {
    pub id: Uuid,
    pub row: Vec<u8>,
    pub sealed: Vec<u8>,
}

/// A row whose data key another master key has wrapped, in place of what was there.
pub struct RewrappedRow {
    pub id: Uuid,
    pub before: Vec<u8>,
    pub after: Vec<u8>,
}

impl RewrappedRow {
    /// As arrays for one statement: ids, what was there, what takes its place.
    pub fn columns(rows: &[Self]) -> (Vec<Uuid>, Vec<&[u8]>, Vec<&[u8]>) {
        let all = |pick: fn(&Self) -> &[u8]| rows.iter().map(pick).collect();
        (rows.iter().map(|row| row.id).collect(), all(|row| &row.before), all(|row| &row.after))
    }
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
    #[cfg(test)]
    pub(crate) fn for_tests(byte: u8) -> Self {
        Self { first: Zeroizing::new([byte; KEY]), others: Vec::new() }
    }

    /// Seals `plain` for the row that `row` names.
    pub fn seal(&self, row: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut data_key = Zeroizing::new([0; KEY]);
        rand::rng().fill_bytes(data_key.as_mut_slice());
        let mut sealed = vec![VERSION];
        append(&mut sealed, &self.first, b"key", row, data_key.as_slice());
        append(&mut sealed, &data_key, b"value", row, plain);
        sealed
    }

    pub fn open(&self, row: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (wrapped, value) = parts(sealed)?;
        opened(&self.unwrap(row, wrapped)?.0, b"value", row, value)
    }

    /// The same value with its data key wrapped by the first key; None where it is already.
    pub fn rewrap(&self, row: &[u8], sealed: &[u8]) -> Result<Option<Vec<u8>>, SealError> {
        let (wrapped, value) = parts(sealed)?;
        let (data_key, by_first) = self.unwrap(row, wrapped)?;
        if by_first {
            return Ok(None);
        }
        let mut anew = vec![VERSION];
        append(&mut anew, &self.first, b"key", row, data_key.as_slice());
        anew.extend_from_slice(value);
        Ok(Some(anew))
    }

    /// The data key, and whether the first master key has opened it.
    fn unwrap(&self, row: &[u8], wrapped: &[u8]) -> Result<(Zeroizing<[u8; KEY]>, bool), SealError> {
        let keys = std::iter::once((&self.first, true)).chain(self.others.iter().map(|key| (key, false)));
        let open = |(master, first): (&MasterKey, bool)| opened(master, b"key", row, wrapped).ok().map(|bytes| (bytes, first));
        let (bytes, first) = keys.into_iter().find_map(open).ok_or(SealError::Closed)?;
        let mut data_key = Zeroizing::new([0; KEY]);
        data_key.copy_from_slice(&bytes);
        Ok((data_key, first))
    }

    /// What API tokens were signed with before that key had a place of its own in the database: what stands there first.
    pub fn first_token_key(&self) -> Zeroizing<[u8; KEY]> {
        self.derive(b"pinacle api tokens, HS256, 1")
    }

    /// SHA-256 over a label and the key. The key is uniformly random and of fixed length, so this is one-way and
    /// labels don't meet; the label comes first and ends with a zero.
    fn derive(&self, label: &[u8]) -> Zeroizing<[u8; KEY]> {
        let mut digest = Sha256::new();
        digest.update(label);
        digest.update([0]);
        digest.update(self.first.as_slice());
        Zeroizing::new(digest.finalize().into())
    }
}

/// The wrapped data key and the sealed value, each behind its nonce.
fn parts(sealed: &[u8]) -> Result<(&[u8], &[u8]), SealError> {
    let (version, rest) = sealed.split_first().ok_or(SealError::Closed)?;
    if *version != VERSION {
        return Err(SealError::Version);
    }
    rest.split_at_checked(NONCE + WRAPPED).ok_or(SealError::Closed)
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

    fn with_others(first: u8, others: &[u8]) -> Sealer {
        Sealer { first: Zeroizing::new([first; KEY]), others: others.iter().map(|byte| Zeroizing::new([*byte; KEY])).collect() }
    }

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
        assert_ne!(Sealer::for_tests(7).first_token_key().as_slice(), [7; KEY]);
        assert_eq!(Sealer::for_tests(7).first_token_key(), Sealer::for_tests(7).first_token_key());
        assert_ne!(Sealer::for_tests(7).first_token_key(), Sealer::for_tests(8).first_token_key());
    }

    #[test]
    fn a_rewrapped_value_opens_with_the_new_key_and_no_longer_with_the_old() {
        let old = Sealer::for_tests(7);
        let sealed = old.seal(b"row", b"value");
        let both = with_others(8, &[7]);
        assert_eq!(both.open(b"row", &sealed).unwrap().as_slice(), b"value", "both work meanwhile");
        let anew = both.rewrap(b"row", &sealed).unwrap().expect("it was wrapped by the old key");
        assert_eq!(Sealer::for_tests(8).open(b"row", &anew).unwrap().as_slice(), b"value");
        assert_eq!(old.open(b"row", &anew), Err(SealError::Closed));
        assert_eq!(both.rewrap(b"row", &anew), Ok(None), "twice is once");
        assert_eq!(both.rewrap(b"another row", &sealed), Err(SealError::Closed));
        assert_eq!(Sealer::for_tests(9).rewrap(b"row", &sealed), Err(SealError::Closed));
    }
}
