//! What a person sees: the product's nouns as types that the browser, the server and the API share.

pub mod error;
pub mod ids;
pub mod pods;

pub use error::{AppError, AppResult, ErrorCode, FieldErrors};
