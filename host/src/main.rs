//! `pinacle-host`: the daemon of a pod host, and the three small commands around it.

use clap::{Parser, Subcommand};
use pinacle_host::{daemon, gate, join, pod::sandbox};
use std::{path::PathBuf, process::ExitCode};

#[derive(Parser)]
#[command(version, about = "The daemon of a Pinacle pod host")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the control plane's commands, as root
    Serve(daemon::Options),
    /// Join standard input and output to the daemon's socket
    Gate {
        /// The daemon's socket
        #[arg(long, default_value = "/run/pinacle/host.sock")]
        socket: PathBuf,
    },
    /// Join this host to an installation; the one-time token comes on standard input
    Join(join::Options),
    /// Become a sandbox; the daemon calls this
    #[command(hide = true)]
    Sandbox,
}

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    if matches!(command, Command::Sandbox) {
        // Before there are threads: a mount namespace is entered by a single one.
        eprintln!("{}", sandbox::enter());
        return ExitCode::FAILURE;
    }
    let filter = tracing_subscriber::EnvFilter::try_from_env("PINACLE_LOG").unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.to_string()),
    };
    let ended: Result<(), Box<dyn std::error::Error>> = match command {
        Command::Serve(options) => runtime.block_on(daemon::serve(options)),
        Command::Gate { socket } => runtime.block_on(gate::gate(&socket)).map_err(Into::into),
        Command::Join(options) => runtime.block_on(join::join(options)),
        Command::Sandbox => Ok(()),
    };
    // Reading standard input blocks a thread for good: it is not waited for.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

fn fail(message: &str) -> ExitCode {
    eprintln!("pinacle-host: {message}");
    ExitCode::FAILURE
}
