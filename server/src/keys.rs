//! `pinacle-server keys rotate`: wraps everything that is sealed by the first of the master keys, beside servers that go on serving.
//!
//! A row changes only from what was read to the same value under another key, so that a value that somebody replaces meanwhile
//! stays replaced. What was done before an interruption is found done; old and new key both open until the old one is taken away.

use crate::{
    account::{self, store as accounts},
    config::Config,
    crypto::{MasterKeyError, RewrappedRow, SealedRow, Sealer},
    db::{self, Db},
    pods, secrets,
};
use secrecy::ExposeSecret;
use std::fmt;
use uuid::Uuid;

/// Rows that are read, and written, at once.
const PAGE: i64 = 500;

#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    #[error("the database can't be used: {0}")]
    Database(#[from] sqlx::Error),
    #[error("{0} could not be opened by any of the master keys and were left as they are: keep the keys that they were sealed with")]
    Closed(u64),
}

/// What is sealed, and where. A column that holds something sealed is named here, or it is lost with the old key: a test
/// compares this list with the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    TokenKey,
    GitHubTokens,
    Secrets,
    /// The private halves.
    PodKeys,
}

impl Place {
    pub const ALL: [Self; 4] = [Self::TokenKey, Self::GitHubTokens, Self::Secrets, Self::PodKeys];

    /// Table and column.
    pub fn column(self) -> (&'static str, &'static str) {
        match self {
            Self::TokenKey => ("installation", "token_key"),
            Self::GitHubTokens => ("users", "github_token"),
            Self::Secrets => ("secrets", "sealed"),
            Self::PodKeys => ("ssh_keys", "private_key_encrypted"),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::TokenKey => "the key of API tokens",
            Self::GitHubTokens => "GitHub tokens",
            Self::Secrets => "secrets",
            Self::PodKeys => "keys of pods",
        }
    }

    async fn page(self, db: &Db, after: Uuid) -> Result<Vec<SealedRow>, sqlx::Error> {
        match self {
            // One row, whose id is as good as any behind nil.
            Self::TokenKey if after.is_nil() => {
                let sealed = accounts::token_key(db).await?;
                Ok(sealed.map(|sealed| SealedRow { id: Uuid::max(), row: account::KEY_ROW.to_vec(), sealed }).into_iter().collect())
            }
            Self::TokenKey => Ok(Vec::new()),
            Self::GitHubTokens => accounts::sealed_github_tokens(db, after, PAGE).await,
            Self::Secrets => secrets::store::sealed_after(db, after, PAGE).await,
            Self::PodKeys => pods::store::sealed_keys_after(db, after, PAGE).await,
        }
    }

    async fn write(self, db: &Db, rows: &[RewrappedRow]) -> Result<u64, sqlx::Error> {
        match self {
            Self::TokenKey => {
                let mut written = 0;
                for row in rows {
                    written += u64::from(accounts::rewrap_token_key(db, row).await?);
                }
                Ok(written)
            }
            Self::GitHubTokens => accounts::rewrap_github_tokens(db, rows).await,
            Self::Secrets => secrets::store::rewrap(db, rows).await,
            Self::PodKeys => pods::store::rewrap_keys(db, rows).await,
        }
    }
}

/// What came of one place.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    wrapped: u64,
    /// By the first key before this run came to them.
    before: u64,
    /// Changed by a server meanwhile, and sealed by the first key thereby.
    changed: u64,
    closed: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} wrapped by the new key, {} were already", self.wrapped, self.before + self.changed)?;
        if self.closed > 0 {
            write!(f, ", {} opened by none of the keys", self.closed)?;
        }
        Ok(())
    }
}

/// Says on standard output what came of each place.
pub async fn rotate(config: &Config) -> Result<(), RotateError> {
    let sealer = Sealer::load(config)?;
    let db = db::connect(config.database_url.expose_secret(), 1).await?;
    let mut closed = 0;
    for place in Place::ALL {
        let counts = rewrap(&db, &sealer, place).await?;
        println!("{}: {counts}", place.words());
        closed += counts.closed;
    }
    if closed > 0 { Err(RotateError::Closed(closed)) } else { Ok(()) }
}

async fn rewrap(db: &Db, sealer: &Sealer, place: Place) -> Result<Counts, sqlx::Error> {
    let mut counts = Counts::default();
    let mut after = Uuid::nil();
    loop {
        let page = place.page(db, after).await?;
        let Some(last) = page.last() else { return Ok(counts) };
        after = last.id;
        let mut rows = Vec::new();
        for SealedRow { id, row, sealed } in page {
            match sealer.rewrap(&row, &sealed) {
                Ok(Some(anew)) => rows.push(RewrappedRow { id, before: sealed, after: anew }),
                Ok(None) => counts.before += 1,
                Err(error) => {
                    tracing::error!(%error, %id, column = ?place.column(), "a sealed value could not be wrapped anew");
                    counts.closed += 1;
                }
            }
        }
        let written = if rows.is_empty() { 0 } else { place.write(db, &rows).await? };
        counts.wrapped += written;
        counts.changed += rows.len() as u64 - written;
    }
}
