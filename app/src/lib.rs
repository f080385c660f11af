//! What a person sees: the product's nouns as types that the browser, the server and the API share, the server
//! functions between them, and the pages.

// A page's type is as deep as its markup.
#![recursion_limit = "512"]

pub mod account;
mod app;
#[cfg(feature = "ssr")]
pub mod backend;
pub mod endpoints;
pub mod error;
pub mod hosts;
pub mod ids;
pub mod pods;
mod routes;
pub mod secrets;
#[cfg(feature = "ssr")]
pub mod server;
pub mod teams;
pub mod text;
pub mod ui;

pub use app::App;
pub use error::{AppError, AppResult, ErrorCode, FieldErrors};
