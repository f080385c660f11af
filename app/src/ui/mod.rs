//! Parts that every page uses.

pub mod account_menu;
pub mod asking;
pub mod clock;
pub mod copy;
pub mod dialog;
pub mod download;
pub mod frame;
pub mod icon;
pub mod keys;
pub mod list;
pub mod live;
pub mod not_found;
pub mod once;
pub mod palette;
mod palette_items;
pub mod problem;
pub mod refusal;
pub mod status;
pub mod time;
pub mod toast;
