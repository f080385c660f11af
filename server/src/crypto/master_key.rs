//! Where the master key comes from: a file, or the environment; never a default. Both may hold several keys while one
//! takes the place of another.

use super::{KEY, MasterKey, Sealer};
use crate::config::Config;
use base64::{Engine, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret, SecretString};
use std::{
    ffi::{CStr, c_char},
    fs::File,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::Path,
};
use zeroize::Zeroizing;

const VARIABLE: &CStr = c"PINACLE_MASTER_KEY";
/// Bytes; a key has 44 characters.
const MOST_KEY_FILE: usize = 1024;
/// The one that seals, and those that still open.
const MOST_KEYS: usize = 8;
/// Others than owner and group must not read the key.
const OTHERS: u32 = 0o007;

#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    #[error(
        "there is no master key: name a file with 32 random bytes in base64 by PINACLE_MASTER_KEY_FILE (head -c 32 /dev/urandom | base64), or \
         give them as PINACLE_MASTER_KEY"
    )]
    Missing,
    #[error("PINACLE_MASTER_KEY_FILE and PINACLE_MASTER_KEY are both set: leave one")]
    Two,
    #[error("the master key file {path} can't be read: {source}")]
    Unreadable { path: String, source: std::io::Error },
    #[error("the master key file {0} can be read by every user of this machine: chmod 0600 it")]
    Open(String),
    #[error(
        "{0} must hold 32 random bytes in base64 (head -c 32 /dev/urandom | base64); while a key is replaced, a line for each, the new one first"
    )]
    NoKey(String),
}

/// Takes the master key out of the environment: what this process starts does not inherit it, and its entry in `/proc` is
/// blank. To be called before there is a second thread.
pub fn take_variable() -> Option<SecretString> {
    unsafe extern "C" {
        fn getenv(name: *const c_char) -> *mut c_char;
    }
    let name = VARIABLE.to_str().ok()?;
    let value = std::env::var(name).ok();
    // SAFETY: there is one thread, so nobody reads or changes the environment meanwhile. getenv gives a string of the process's
    // own memory, which is overwritten within its length, and which removing the variable then lets go of.
    unsafe {
        let text = getenv(VARIABLE.as_ptr());
        if !text.is_null() {
            let length = CStr::from_ptr(text).to_bytes().len();
            for at in 0..length {
                text.add(at).write_volatile(0);
            }
        }
        std::env::remove_var(name);
    }
    value.filter(|value| !value.is_empty()).map(SecretString::from)
}

impl Sealer {
    pub fn load(config: &Config) -> Result<Self, MasterKeyError> {
        match (&config.master_key_file, &config.master_key) {
            (Some(_), Some(_)) => Err(MasterKeyError::Two),
            (Some(path), None) => Self::from_file(path),
            (None, Some(text)) => Self::from_text(text.expose_secret()).ok_or_else(|| MasterKeyError::NoKey("PINACLE_MASTER_KEY".to_owned())),
            (None, None) => Err(MasterKeyError::Missing),
        }
    }

    fn from_file(path: &Path) -> Result<Self, MasterKeyError> {
        let name = path.display().to_string();
        let unreadable = |source| MasterKeyError::Unreadable { path: name.clone(), source };
        let file = File::open(path).map_err(unreadable)?;
        if file.metadata().map_err(unreadable)?.permissions().mode() & OTHERS != 0 {
            return Err(MasterKeyError::Open(name));
        }
        // Of its full size from the beginning: a buffer that grows leaves copies behind.
        let mut bytes = Zeroizing::new([0; MOST_KEY_FILE]);
        let mut read = 0;
        loop {
            match (&file).read(&mut bytes[read..]).map_err(unreadable)? {
                0 => break,
                more => read += more,
            }
        }
        let whole = std::str::from_utf8(&bytes[..read]).ok().filter(|_| read < MOST_KEY_FILE);
        whole.and_then(Self::from_text).ok_or_else(|| MasterKeyError::NoKey(format!("the master key file {name}")))
    }

    fn from_text(text: &str) -> Option<Self> {
        let keys: Vec<MasterKey> = text.split_whitespace().map(key).collect::<Option<_>>()?;
        let mut keys = keys.into_iter();
        let first = keys.next()?;
        let others: Vec<MasterKey> = keys.collect();
        (others.len() < MOST_KEYS).then_some(Self { first, others })
    }
}

fn key(text: &str) -> Option<MasterKey> {
    let bytes = Zeroizing::new(STANDARD.decode(text).ok()?);
    let key = Zeroizing::new(<[u8; KEY]>::try_from(bytes.as_slice()).ok()?);
    // Zeros are a forgotten placeholder, not a key.
    key.iter().any(|byte| *byte != key[0]).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::OpenOptionsExt};

    fn text(first: u8) -> String {
        STANDARD.encode((0..32).map(|at| first.wrapping_add(at)).collect::<Vec<u8>>())
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
        let good = format!("{}\n", text(0));
        assert!(Sealer::from_file(&write("good", 0o600, &good)).is_ok());
        assert!(matches!(Sealer::from_file(&write("open", 0o604, &good)), Err(MasterKeyError::Open(_))));
        assert!(matches!(Sealer::from_file(&write("short", 0o600, "AAAA")), Err(MasterKeyError::NoKey(_))));
        assert!(matches!(Sealer::from_file(&write("empty", 0o600, "\n")), Err(MasterKeyError::NoKey(_))));
        assert!(matches!(Sealer::from_file(&write("long", 0o600, &good.repeat(30))), Err(MasterKeyError::NoKey(_))));
        assert!(matches!(Sealer::from_file(&write("zeros", 0o600, &STANDARD.encode([0; KEY]))), Err(MasterKeyError::NoKey(_))));
        assert!(matches!(Sealer::from_file(&folder.join("missing")), Err(MasterKeyError::Unreadable { .. })));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn of_several_keys_the_first_seals_and_all_open() {
        let (old, new) = (text(1), text(2));
        let before = Sealer::from_text(&old).unwrap();
        let both = Sealer::from_text(&format!("{new}\n{old}\n")).unwrap();
        assert_eq!(both.open(b"row", &before.seal(b"row", b"value")).unwrap().as_slice(), b"value");
        let sealed = both.seal(b"row", b"value");
        assert!(before.open(b"row", &sealed).is_err());
        assert!(Sealer::from_text(&new).unwrap().open(b"row", &sealed).is_ok());
        assert!(Sealer::from_text(&format!("{new}\nnot a key")).is_none(), "one that can't be read is not passed over");
    }
}
