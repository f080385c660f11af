//! Everything the stand-in remembers: accounts, tokens, deploy keys (kept in `state.json`), codes, faults and counters (not kept).

use crate::{
    accounts::{self, Account},
    config::Config,
    faults::Faults,
    keys::DeployKey,
    oauth::Grant,
    ssh,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

/// Tokens kept at once; the oldest goes first, which GitHub does per application and user, too.
const MOST_TOKENS: usize = 10_000;
/// Paths that are counted apart.
const MOST_COUNTERS: usize = 1_000;
const STATE: &str = "state.json";
const REQUESTS_AN_HOUR: u32 = 5_000;

/// What survives a restart.
#[derive(Serialize, Deserialize)]
pub struct Kept {
    pub accounts: Vec<Account>,
    /// In the order of their making.
    pub tokens: Vec<Token>,
    pub keys: Vec<DeployKey>,
    pub next_key: u64,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct Token {
    pub token: String,
    pub account: u64,
    pub scope: String,
    #[serde(default)]
    pub used: u32,
    /// Of the App's.
    #[serde(default)]
    pub only: Option<Only>,
}

/// What a token of the App's is good for.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Only {
    pub repository: u64,
    pub write: bool,
    /// Seconds since the Unix epoch.
    pub until: u64,
}

/// What a good token may.
#[derive(Clone, Copy, Debug)]
pub enum May {
    /// What everybody may, and say who it is.
    Nothing,
    /// What its account may in its repositories.
    Repositories,
    Only(Only),
}

pub struct World {
    pub kept: Kept,
    pub codes: HashMap<String, Grant>,
    pub faults: Faults,
    pub requests: BTreeMap<String, u64>,
    file: PathBuf,
}

#[derive(Clone)]
pub struct Shared {
    pub config: Arc<Config>,
    world: Arc<Mutex<World>>,
}

impl Shared {
    pub fn open(config: Config) -> io::Result<Self> {
        fs::create_dir_all(&config.data_dir)?;
        let file = config.data_dir.join(STATE);
        let kept = Self::kept(&config.data_dir)?;
        let world = World { kept, codes: HashMap::new(), faults: Faults::default(), requests: BTreeMap::new(), file };
        Ok(Self { config: Arc::new(config), world: Arc::new(Mutex::new(world)) })
    }

    /// What was kept last, or what there is in the beginning.
    pub fn kept(data_dir: &Path) -> io::Result<Kept> {
        match fs::read(data_dir.join(STATE)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Kept::initial()),
            Err(error) => Err(error),
        }
    }

    /// Held for a few lines, never across an await.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    pub fn initial() -> Self {
        Self { accounts: accounts::initial(), tokens: Vec::new(), keys: Vec::new(), next_key: 1 }
    }
}

impl World {
    pub fn account(&self, login: &str) -> Option<&Account> {
        self.kept.accounts.iter().find(|account| account.login.eq_ignore_ascii_case(login))
    }

    pub fn account_mut(&mut self, login: &str) -> Option<&mut Account> {
        self.kept.accounts.iter_mut().find(|account| account.login.eq_ignore_ascii_case(login))
    }

    pub fn account_by_id(&self, id: u64) -> Option<&Account> {
        self.kept.accounts.iter().find(|account| account.id == id)
    }

    /// Who a token belongs to, what it may, and how many requests it has left this hour. None when it is unknown or revoked.
    pub fn authenticate(&mut self, token: &str) -> Option<(Account, May, u32)> {
        let token = self.kept.tokens.iter_mut().find(|known| known.token == token)?;
        token.used = (token.used + 1) % REQUESTS_AN_HOUR;
        let (id, left) = (token.account, REQUESTS_AN_HOUR - token.used);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let may = match token.only {
            Some(only) if only.until <= now => return None,
            Some(only) => May::Only(only),
            None if token.scope.split(',').any(|scope| scope == "repo") => May::Repositories,
            None => May::Nothing,
        };
        let account = self.account_by_id(id).filter(|account| !account.revoked)?;
        Some((account.clone(), may, left))
    }

    /// Signing in again makes good a revocation: older tokens stay dead, the new one works.
    pub fn add_token(&mut self, token: Token) {
        if let Some(account) = self.kept.accounts.iter_mut().find(|account| account.id == token.account)
            && account.revoked
        {
            account.revoked = false;
            self.kept.tokens.retain(|known| known.account != token.account);
        }
        if self.kept.tokens.len() >= MOST_TOKENS {
            self.kept.tokens.remove(0);
        }
        self.kept.tokens.push(token);
    }

    pub fn count(&mut self, request: String) {
        if self.requests.len() < MOST_COUNTERS || self.requests.contains_key(&request) {
            *self.requests.entry(request).or_default() += 1;
        }
    }

    /// Back to the first accounts, no keys, no faults; tokens stay.
    pub fn reset(&mut self) {
        self.kept.accounts = accounts::initial();
        self.kept.keys.clear();
        self.faults.clear();
        self.requests.clear();
        self.codes.clear();
    }

    /// Writes what is kept; replaced at once, so that a crash leaves the old or the new.
    pub fn save(&self) -> io::Result<()> {
        let beside = self.file.with_extension("new");
        fs::write(&beside, serde_json::to_vec(&self.kept).map_err(io::Error::other)?)?;
        fs::rename(&beside, &self.file)?;
        match self.file.parent() {
            Some(folder) => ssh::write_keys(folder, &self.kept),
            None => Ok(()),
        }
    }
}

/// A random text of letters and digits after a prefix.
pub fn secret(prefix: &str) -> String {
    format!("{prefix}{}", hex::encode(rand::random::<[u8; 20]>()))
}
