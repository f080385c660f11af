//! `pinacle-server`: serves, works, and prints tokens.

use clap::Parser;
use pinacle_server::{
    account::cli,
    config::{Cli, Command, OperatorCommand, TokenCommand},
    db, hosts, start, telemetry,
};
use secrecy::ExposeSecret;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let command = Cli::parse().command;
    telemetry::start();
    let ended: Result<(), Box<dyn std::error::Error>> = match command {
        Command::Serve { config, no_worker } => start::serve(*config, !no_worker).await.map_err(Into::into),
        Command::Worker { config } => start::work(*config).await.map_err(Into::into),
        Command::Migrate { config } => db::migrate(&config).await.map_err(Into::into),
        Command::Token { command: TokenCommand::Create { config, login, scope, expires_days, name } } => {
            cli::create_token(&config, &login, &scope, expires_days, &name)
                .await
                .map(|token| println!("{}", token.expose_secret()))
                .map_err(Into::into)
        }
        Command::Operator { command: OperatorCommand::Grant { config, login } } => cli::set_operator(&config, &login, true).await.map_err(Into::into),
        Command::Operator { command: OperatorCommand::Revoke { config, login } } => {
            cli::set_operator(&config, &login, false).await.map_err(Into::into)
        }
        Command::Restored { config } => hosts::cli::begin_epoch(&config)
            .await
            .map(|epoch| println!("epoch {epoch} has begun: let each host join again (Hosts, Join again…)"))
            .map_err(Into::into),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pinacle-server: {error}");
            ExitCode::FAILURE
        }
    }
}
