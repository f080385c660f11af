//! `pinacle-server`: serves, works, prints tokens, replaces keys.

use clap::Parser;
use pinacle_server::{
    account::cli,
    config::{Cli, Command, KeysCommand, OperatorCommand, TokenCommand},
    crypto, db, hosts, keys, start, telemetry,
};
use secrecy::ExposeSecret;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Before the runtime's threads are there.
    let master_key = crypto::take_variable();
    let mut command = Cli::parse().command;
    command.config_mut().master_key = master_key;
    telemetry::start();
    let ended = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime.block_on(run(command)),
        Err(error) => Err(error.into()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pinacle-server: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<(), Box<dyn std::error::Error>> {
    match command {
        Command::Serve { config, no_worker } => Ok(start::serve(*config, !no_worker).await?),
        Command::Worker { config } => Ok(start::work(*config).await?),
        Command::Token { command: TokenCommand::Create { config, login, scope, expires_days, name } } => {
            let token = cli::create_token(&config, &login, &scope, expires_days, &name).await?;
            println!("{}", token.expose_secret());
            Ok(())
        }
        Command::Operator { command: OperatorCommand::Grant { config, login } } => Ok(cli::set_operator(&config, &login, true).await?),
        Command::Operator { command: OperatorCommand::Revoke { config, login } } => Ok(cli::set_operator(&config, &login, false).await?),
        Command::Keys { command: KeysCommand::Rotate { config } } => Ok(keys::rotate(&config).await?),
        Command::Migrate { config } => Ok(db::migrate(&config).await?),
        Command::Restored { config } => {
            let epoch = hosts::cli::begin_epoch(&config).await?;
            println!("epoch {epoch} has begun: let each host join again (Hosts, Join again…)");
            Ok(())
        }
    }
}
