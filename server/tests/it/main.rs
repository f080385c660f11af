//! Tests with real parts: the server's own program, Postgres, and the stand-in for GitHub.
//!
//! `DATABASE_URL`, `PINACLE_URL` and the `PINACLE_GITHUB_*` variables say where those are; `dev/stack.sh` writes them.

mod activity;
mod canary;
mod chaos;
mod credentials;
mod crosswise;
mod database;
mod doors;
mod fleet;
mod floods;
mod gateway;
mod github_lists;
mod hosts;
mod input;
mod keys;
mod master_key;
mod misfortunes;
mod pods;
mod queue;
mod queue_model;
mod rest;
mod restart;
mod rights;
mod screen;
mod secrets;
mod stand;
mod teams;
