//! `AppError`: what every door answers when the answer is no.

use leptos::prelude::{FromServerFnError, ServerFnErrorErr};
use leptos::server_fn::codec::JsonEncoding;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Stable codes; a client may branch on them. REST sends them as `code` of an RFC 9457 problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Nobody is signed in, or the token is not valid.
    Unauthenticated,
    /// Signed in, but not allowed to: a read-only token, an operator's page.
    Forbidden,
    /// Over the user's quota; the message has the figures.
    QuotaExceeded,
    /// Unknown and foreign ids alike.
    NotFound,
    /// A name that is taken.
    Taken,
    /// Not in the state that this needs.
    WrongState,
    /// Fields that break their rules; see `fields`.
    Invalid,
    /// Not the JSON that was expected.
    BadRequest,
    TooLarge,
    UnsupportedMediaType,
    MethodNotAllowed,
    /// Asked too often; see `retry_after`.
    RateLimited,
    /// A part that this needs does not answer: GitHub, a host, the database.
    Unavailable,
    /// A fault of ours; it has been logged.
    Internal,
}

impl ErrorCode {
    /// HTTP status.
    pub fn status(self) -> u16 {
        match self {
            ErrorCode::Unauthenticated => 401,
            ErrorCode::Forbidden | ErrorCode::QuotaExceeded => 403,
            ErrorCode::NotFound => 404,
            ErrorCode::MethodNotAllowed => 405,
            ErrorCode::Taken | ErrorCode::WrongState => 409,
            ErrorCode::TooLarge => 413,
            ErrorCode::UnsupportedMediaType => 415,
            ErrorCode::Invalid => 422,
            ErrorCode::BadRequest => 400,
            ErrorCode::RateLimited => 429,
            ErrorCode::Unavailable => 503,
            ErrorCode::Internal => 500,
        }
    }

    /// RFC 9457 `title`: the same words for every occurrence.
    pub fn title(self) -> &'static str {
        match self {
            ErrorCode::Unauthenticated => "Not signed in",
            ErrorCode::Forbidden => "Not allowed",
            ErrorCode::QuotaExceeded => "Quota exceeded",
            ErrorCode::NotFound => "Not found",
            ErrorCode::Taken => "Name taken",
            ErrorCode::WrongState => "Wrong state",
            ErrorCode::Invalid => "Invalid fields",
            ErrorCode::BadRequest => "Bad request",
            ErrorCode::TooLarge => "Too large",
            ErrorCode::UnsupportedMediaType => "Unsupported media type",
            ErrorCode::MethodNotAllowed => "Method not allowed",
            ErrorCode::RateLimited => "Too many requests",
            ErrorCode::Unavailable => "Unavailable",
            ErrorCode::Internal => "Internal error",
        }
    }
}

/// A refusal or a fault with a sentence that a person can act on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct AppError {
    pub code: ErrorCode,
    pub message: String,
    /// Messages by field name, for `Invalid` and `Taken`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, Vec<String>>,
    /// Seconds, for `RateLimited` and `Unavailable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u32>,
}

pub type AppResult<T> = Result<T, AppError>;

impl AppError {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), fields: BTreeMap::new(), retry_after: None }
    }

    /// The same words for what is unknown and for what belongs to somebody else.
    pub fn not_found() -> Self {
        Self::new(ErrorCode::NotFound, "This doesn't exist, or you have no access to it.")
    }

    pub fn unauthenticated() -> Self {
        Self::new(ErrorCode::Unauthenticated, "Sign in first.")
    }

    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Forbidden, message)
    }

    /// A fault of ours: the cause goes to the log, not to the person.
    pub fn internal() -> Self {
        Self::new(ErrorCode::Internal, "Something failed on our side. It has been logged; try again.")
    }

    /// One field that breaks its rule.
    pub fn field(name: &str, message: impl Into<String>) -> Self {
        FieldErrors::default().with(name, message).into_error()
    }

    /// What to say at a field: the message for it, else the general one.
    pub fn at(&self, field: &str) -> &str {
        self.of(field).unwrap_or(&self.message)
    }

    /// The first message for a field, if there is one.
    pub fn of(&self, field: &str) -> Option<&str> {
        self.fields.get(field).and_then(|all| all.first()).map(String::as_str)
    }
}

impl FromServerFnError for AppError {
    type Encoder = JsonEncoding;

    fn from_server_fn_error(value: ServerFnErrorErr) -> Self {
        match value {
            ServerFnErrorErr::Request(_) | ServerFnErrorErr::Response(_) => {
                AppError::new(ErrorCode::Unavailable, "The server can't be reached. Check the connection and try again.")
            }
            ServerFnErrorErr::Args(_) | ServerFnErrorErr::MissingArg(_) | ServerFnErrorErr::Deserialization(_) => {
                AppError::new(ErrorCode::BadRequest, "The request couldn't be read.")
            }
            _ => AppError::internal(),
        }
    }
}

/// Collects what is wrong with the fields of one form or body.
#[derive(Default, Debug)]
pub struct FieldErrors(BTreeMap<String, Vec<String>>);

impl FieldErrors {
    pub fn add(&mut self, field: &str, message: impl Into<String>) {
        self.0.entry(field.to_owned()).or_default().push(message.into());
    }

    pub fn with(mut self, field: &str, message: impl Into<String>) -> Self {
        self.add(field, message);
        self
    }

    /// The value, or None and its message noted under `field`.
    pub fn take<T, E: std::fmt::Display>(&mut self, field: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|e| self.add(field, e.to_string())).ok()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn into_error(self) -> AppError {
        let message = match self.0.len() {
            1 => self.0.values().flatten().next().cloned().unwrap_or_default(),
            n => format!("{n} fields need another value."),
        };
        AppError { code: ErrorCode::Invalid, message, fields: self.0, retry_after: None }
    }

    /// `Ok` when nothing was noted.
    pub fn check(self) -> AppResult<()> {
        if self.is_empty() { Ok(()) } else { Err(self.into_error()) }
    }
}
