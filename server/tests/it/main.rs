//! Tests with real parts: the server's own program, Postgres, and the stand-in for GitHub.
//!
//! `DATABASE_URL`, `PINACLE_URL` and the `PINACLE_GITHUB_*` variables say where those are; `dev/stack.sh` writes them.

mod chaos;
mod database;
mod doors;
mod fleet;
mod gateway;
mod hosts;
mod keys;
mod pods;
mod queue;
mod queue_model;
mod rest;
mod screen;
mod stand;
