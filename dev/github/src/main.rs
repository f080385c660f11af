//! A stand-in for GitHub: what Pinacle uses of it, on addresses of one's choice, without a network.
//! `serve` is the stand-in, `git` what its sshd runs; `decoy` answers where a pod must not reach, so that a hole in the fence shows.

mod accounts;
mod admin;
mod api;
mod app;
mod config;
mod decoy;
mod faults;
mod git;
mod keys;
mod oauth;
mod pages;
mod repositories;
mod samples;
mod serve;
mod ssh;
#[cfg(test)]
mod tests;
mod world;

use clap::Parser;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let ended = match config::Arguments::parse().command {
        config::Command::Serve(config) => serve::run(*config).await,
        config::Command::Git(asked) => Err(ssh::run(&asked)),
        config::Command::Decoy { listen } => decoy::run(&listen).await,
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
