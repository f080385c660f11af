//! What a person sees: the product's nouns as types that the browser, the server and the API share.

pub mod account;
#[cfg(feature = "ssr")]
pub mod backend;
pub mod error;
pub mod hosts;
pub mod ids;
pub mod pods;
pub mod teams;

pub use error::{AppError, AppResult, ErrorCode, FieldErrors};
