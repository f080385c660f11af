//! API tokens: JWTs (HS256) whose `jti` is looked up at every request, so that one can be revoked.

use super::store;
use crate::{
    activity::{self, By, Entry, Home},
    control::ControlPlane,
    crypto::{SealError, Sealer},
    db::{self, Db},
};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use pinacle_app::{
    AppError, AppResult, ErrorCode, FieldErrors,
    account::{NewToken, NewTokenMade, TokenScope},
    backend::{Caller, Door, Scope},
    ids::{TokenId, UserId},
    teams::activity::Action,
    text::turns_direction,
};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

const AUDIENCE: &str = "pinacle-api";
/// Of one user, that are good at the same time.
const MOST_TOKENS: i64 = 100;
const MOST_NAME: usize = 60;
const MOST_DAYS: u32 = 365;
/// A token of ours has about 300 bytes.
const MOST_TEXT: usize = 2048;

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: Uuid,
    jti: Uuid,
    aud: String,
    iat: i64,
    exp: i64,
}

/// Signs and checks.
pub struct TokenKeys {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
}

/// The row that the signing key is sealed for.
pub const KEY_ROW: &[u8] = b"installation/token_key";

#[derive(Debug, thiserror::Error)]
pub enum TokenKeyError {
    #[error("the database can't be used: {0}")]
    Database(#[from] sqlx::Error),
    #[error("the master key does not open what the database holds: it is not the one that it was sealed with ({0})")]
    Closed(#[from] SealError),
}

impl TokenKeys {
    /// The installation's, made on the first start. It lies sealed in the database, so that tokens outlive the master key that they
    /// were made under.
    pub async fn load(db: &Db, sealer: &Sealer) -> Result<Self, TokenKeyError> {
        let mut connection = db.acquire().await?;
        let sealed = match store::token_key(&mut *connection).await? {
            Some(sealed) => sealed,
            // Of servers that start together the first one's stays.
            None => store::keep_token_key(&mut connection, &sealer.seal(KEY_ROW, sealer.first_token_key().as_slice())).await?,
        };
        Ok(Self::new(&sealer.open(KEY_ROW, &sealed)?))
    }

    fn new(key: &[u8]) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "aud", "sub"]);
        validation.leeway = 0;
        Self { encoding: EncodingKey::from_secret(key), decoding: DecodingKey::from_secret(key), validation }
    }

    fn sign(&self, claims: &Claims) -> AppResult<String> {
        encode(&Header::new(Algorithm::HS256), claims, &self.encoding).map_err(|error| {
            tracing::error!(%error, "an API token could not be signed");
            AppError::internal()
        })
    }

    /// Whose token it is and which, if we have signed it and it has not expired.
    fn read(&self, text: &str) -> Option<(UserId, TokenId)> {
        if text.len() > MOST_TEXT {
            return None;
        }
        let claims = decode::<Claims>(text, &self.decoding, &self.validation).ok()?.claims;
        Some((UserId(claims.sub), TokenId(claims.jti)))
    }
}

fn refused() -> AppError {
    AppError::new(ErrorCode::Unauthenticated, "The API token is not valid, has expired or was revoked.")
}

/// Who asks with this token, from this address.
pub async fn caller_for_token(control: &ControlPlane, text: &str, address: IpAddr) -> AppResult<Caller> {
    let (user, token) = control.token_keys.read(text).ok_or_else(refused)?;
    let good = store::good_token(&control.db, token, user).await.map_err(db::fault)?.ok_or_else(refused)?;
    if good.is_stale {
        store::token_was_used(&control.db, token).await.map_err(db::fault)?;
    }
    let scope = match good.scope {
        TokenScope::Read => Scope::Read,
        TokenScope::Write => Scope::Write,
    };
    Ok(Caller { user, operator: good.operator, scope, door: Door::Token(token), address })
}

/// Makes a token; the text itself is given this once.
pub async fn create(db: &Db, keys: &TokenKeys, user: UserId, by: By, new: &NewToken) -> AppResult<NewTokenMade> {
    let name = new.name.trim();
    let mut errors = FieldErrors::default();
    if name.is_empty() {
        errors.add("name", "Say what the token is for.");
    } else if name.chars().count() > MOST_NAME {
        errors.add("name", format!("At most {MOST_NAME} characters."));
    } else if name.chars().any(|c| c.is_control() || turns_direction(c)) {
        errors.add("name", "No line breaks, control characters or marks that turn the direction of the text.");
    }
    if !(1..=MOST_DAYS).contains(&new.expires_days) {
        errors.add("expires_days", format!("From 1 to {MOST_DAYS} days."));
    }
    errors.check()?;
    let now = OffsetDateTime::now_utc();
    let expires_at = now + Duration::days(new.expires_days.into());
    let id = TokenId(Uuid::now_v7());
    let mut transaction = db.begin().await.map_err(db::fault)?;
    store::lock_user(&mut transaction, user).await.map_err(db::fault)?;
    if store::count_tokens(&mut transaction, user).await.map_err(db::fault)? >= MOST_TOKENS {
        return Err(AppError::new(ErrorCode::QuotaExceeded, format!("You have {MOST_TOKENS} API tokens. Revoke one first.")));
    }
    let listed = store::insert_token(&mut transaction, id, user, name, new.scope, expires_at).await.map_err(db::fault)?;
    let claims = Claims { sub: user.0, jti: id.0, aud: AUDIENCE.to_owned(), iat: now.unix_timestamp(), exp: expires_at.unix_timestamp() };
    let token = keys.sign(&claims)?;
    let detail = match new.scope {
        TokenScope::Read => "that may only read",
        TokenScope::Write => "",
    };
    let entry = Entry { home: Home::Personal(user), by, action: Action::TokenCreate, object: Some(id.0), name, detail };
    activity::record(&mut transaction, &entry).await.map_err(db::fault)?;
    transaction.commit().await.map_err(db::fault)?;
    Ok(NewTokenMade { token, listed })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

    fn keys(byte: u8) -> TokenKeys {
        TokenKeys::new(&[byte; 32])
    }

    fn claims(expires_in: i64) -> Claims {
        let now = OffsetDateTime::now_utc().unix_timestamp();
        Claims { sub: Uuid::from_u128(1), jti: Uuid::from_u128(2), aud: AUDIENCE.to_owned(), iat: now, exp: now + expires_in }
    }

    #[test]
    fn a_token_of_ours_is_read() {
        let text = keys(1).sign(&claims(60)).unwrap();
        assert_eq!(keys(1).read(&text), Some((UserId(Uuid::from_u128(1)), TokenId(Uuid::from_u128(2)))));
        assert_eq!(keys(2).read(&text), None, "signed with another key");
    }

    #[test]
    fn an_expired_foreign_or_unsigned_token_is_not() {
        let keys = keys(1);
        assert_eq!(keys.read(&keys.sign(&claims(-1)).unwrap()), None);
        assert_eq!(keys.read(&keys.sign(&Claims { aud: "another".to_owned(), ..claims(60) }).unwrap()), None);
        let part = |value: &str| URL_SAFE_NO_PAD.encode(value);
        let body = part(&serde_json::to_string(&claims(60)).unwrap());
        assert_eq!(keys.read(&format!("{}.{body}.", part(r#"{"alg":"none","typ":"JWT"}"#))), None);
        assert_eq!(keys.read(""), None);
        assert_eq!(keys.read(&"a".repeat(MOST_TEXT + 1)), None);
    }
}
