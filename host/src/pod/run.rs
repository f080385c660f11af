//! Runs a program of the host: no shell, a deadline, bounded output.

use crate::protocol::{HostError, HostErrorCode};
use std::{ffi::OsStr, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Command,
    time::timeout,
};

/// What is kept of each output, in bytes.
const MAX_OUTPUT: u64 = 64 << 10;
/// What of it stands in an error.
const MAX_SHOWN: usize = 8 << 10;

/// Runs it to its end; anything but success is an error that carries the last output. Gives its standard output.
pub async fn run<A: AsRef<OsStr>>(program: impl AsRef<OsStr>, arguments: &[A], input: &[u8], deadline: Duration) -> Result<String, HostError> {
    Ok(run_for_both(program, arguments, input, deadline).await?.0)
}

/// The same; gives standard output and standard error.
pub async fn run_for_both<A: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: &[A],
    input: &[u8],
    deadline: Duration,
) -> Result<(String, String), HostError> {
    let mut command = Command::new(&program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    ends_with_daemon(&mut command);
    let name = program.as_ref().to_string_lossy().into_owned();
    let spawned = command.spawn();
    let mut child = spawned.map_err(|error| HostError::new(HostErrorCode::Failed, format!("{name} could not be started: {error}")))?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let work = async {
        let feed = async {
            if let Some(mut stdin) = stdin {
                // A program that does not want it says so by its exit code.
                let _unread = stdin.write_all(input).await;
            }
        };
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        let read_out = async {
            match stdout {
                Some(pipe) => pipe.take(MAX_OUTPUT).read_to_end(&mut out).await,
                None => Ok(0),
            }
        };
        let read_errors = async {
            match stderr {
                Some(pipe) => pipe.take(MAX_OUTPUT).read_to_end(&mut errors).await,
                None => Ok(0),
            }
        };
        let ((), read, read_too) = tokio::join!(feed, read_out, read_errors);
        read?;
        read_too?;
        let status = child.wait().await?;
        Ok::<_, std::io::Error>((status, out, errors))
    };
    match timeout(deadline, work).await {
        Err(_) => Err(HostError::new(HostErrorCode::Timeout, format!("{name} did not end within {} s", deadline.as_secs()))),
        Ok(Err(error)) => Err(HostError::new(HostErrorCode::Failed, format!("{name}: {error}"))),
        Ok(Ok((status, out, errors))) if status.success() => {
            Ok((String::from_utf8_lossy(&out).into_owned(), String::from_utf8_lossy(&errors).into_owned()))
        }
        Ok(Ok((status, out, errors))) => {
            Err(HostError { code: HostErrorCode::Failed, message: format!("{name} failed ({status})"), output: tail(&[errors, out].concat()) })
        }
    }
}

/// Has the kernel end the program when the daemon is killed: the next daemon would not know of it, and work on the same disk
/// beside it. What the program itself starts lives on.
pub fn ends_with_daemon(command: &mut Command) {
    let daemon = nix::unistd::getpid();
    // SAFETY: prctl and getppid are async-signal-safe and touch no memory of ours.
    unsafe {
        command.pre_exec(move || {
            // Of the thread that starts it, which lives as long as the runtime does.
            nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
            // Killed before it could be asked for.
            if nix::unistd::getppid() == daemon { Ok(()) } else { Err(std::io::ErrorKind::Interrupted.into()) }
        });
    }
}

/// The end of an output, for an error.
pub fn tail(output: &[u8]) -> String {
    String::from_utf8_lossy(&output[output.len().saturating_sub(MAX_SHOWN)..]).trim().to_owned()
}
