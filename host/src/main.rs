//! `pinacle-host`: the daemon of a pod host, and the three small commands around it.

use clap::{Parser, Subcommand};
use pinacle_host::{daemon, gate, join, pod::sandbox};
use std::{error::Error, path::PathBuf, process::ExitCode};

type Fault = Box<dyn Error>;

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
    let ended = match Arguments::parse().command {
        Command::Sandbox => {
            // Before there are threads: a mount namespace is entered by a single one.
            eprintln!("{}", sandbox::enter());
            return ExitCode::FAILURE;
        }
        Command::Gate { socket } => gate::gate(&socket).map_err(Fault::from),
        Command::Serve(options) => run(daemon::serve(options)),
        Command::Join(options) => run(join::join(options)),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pinacle-host: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: impl Future<Output = Result<(), Fault>>) -> Result<(), Fault> {
    let filter = tracing_subscriber::EnvFilter::try_from_env("PINACLE_LOG").unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(command);
    // A thread that blocks is not waited for.
    runtime.shutdown_background();
    ended
}
