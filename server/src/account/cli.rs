//! What `pinacle-server token` and `pinacle-server operator` do: on the database alone, beside a running server.

use super::{store, tokens};
use crate::{
    account::{TokenKeyError, TokenKeys},
    activity::{self, By, Entry, Home},
    config::Config,
    crypto::{MasterKeyError, Sealer},
    db::{self, Db},
};
use pinacle_app::{
    AppError,
    account::{NewToken, TokenScope},
    ids::UserId,
    teams::activity::Action,
};
use secrecy::{ExposeSecret, SecretString};

#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error("the database can't be used: {0}")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Key(#[from] MasterKeyError),
    #[error(transparent)]
    TokenKey(#[from] TokenKeyError),
    #[error("nobody of that login has signed in yet: {0}")]
    NoSuchLogin(String),
    #[error("the scope is read or write, not {0}")]
    Scope(String),
    #[error(transparent)]
    Refused(#[from] AppError),
}

/// A new API token of a user who has signed in before.
pub async fn create_token(config: &Config, login: &str, scope: &str, expires_days: u32, name: &str) -> Result<SecretString, CliError> {
    let scope = match scope {
        "read" => TokenScope::Read,
        "write" => TokenScope::Write,
        other => return Err(CliError::Scope(other.to_owned())),
    };
    let sealer = Sealer::load(config)?;
    let (db, user) = user_of(config, login).await?;
    let keys = TokenKeys::load(&db, &sealer).await?;
    let made = tokens::create(&db, &keys, user, By::COMMAND_LINE, &NewToken { name: name.to_owned(), scope, expires_days }).await?;
    Ok(SecretString::from(made.token))
}

/// Makes a user an operator, or takes that back.
pub async fn set_operator(config: &Config, login: &str, operator: bool) -> Result<(), CliError> {
    let (db, user) = user_of(config, login).await?;
    let mut transaction = db.begin().await?;
    store::set_operator(&mut transaction, user, operator).await?;
    let action = if operator { Action::OperatorGrant } else { Action::OperatorRevoke };
    let entry = Entry { home: Home::Personal(user), by: By::COMMAND_LINE, action, object: Some(user.0), name: login, detail: "" };
    activity::record(&mut transaction, &entry).await?;
    Ok(transaction.commit().await?)
}

async fn user_of(config: &Config, login: &str) -> Result<(Db, UserId), CliError> {
    let db = db::connect(config.database_url.expose_secret(), 1).await?;
    let user = store::user_of_login(&db, login).await?.ok_or_else(|| CliError::NoSuchLogin(login.to_owned()))?;
    Ok((db, user))
}
