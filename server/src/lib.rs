//! The control plane: web, domain, queue, jobs, SSH. The only crate that knows Postgres.

// The pages' types are as deep as their markup.
#![recursion_limit = "512"]

pub mod account;
pub mod activity;
pub mod config;
pub mod control;
pub mod crypto;
pub mod db;
pub mod gateway;
pub mod github;
pub mod health;
pub mod hosts;
pub mod jobs;
pub mod keys;
pub mod listen;
pub mod news;
mod paging;
pub mod pods;
pub mod queue;
pub mod secrets;
pub mod ssh;
pub mod start;
pub mod teams;
pub mod telemetry;
pub mod web;
