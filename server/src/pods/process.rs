//! Commands, shells and ports of a pod for somebody at the other end of a connection: what flows is held back on both ways, so
//! that who does not read holds up nobody else.

use super::answer;
use crate::{
    control::ControlPlane,
    hosts::{
        HostTarget,
        link::{self, Received, StreamReader, StreamWriter},
    },
    ssh::Class,
};
use pinacle_app::{
    AppError, AppResult, ErrorCode,
    backend::{ByteConnection, ByteControl, ByteInput, ByteOutput, ProcessStart, Program},
    ids::PodId,
};
use pinacle_host::{
    frame::{DATA_CHUNK, WINDOW, WINDOW_PIECES},
    protocol::{Command, ExecSpec, PtySize, StreamInput, StreamOutput},
};
use std::time::Duration;
use tokio::{sync::mpsc, time::timeout};

/// Seconds until a connection's command is ended: a week.
const MOST_SECONDS: u32 = 604_800;
const MOST_COMMAND: usize = 128 << 10;
const MOST_ENV: usize = 64;
const MOST_ENV_BYTES: usize = 16 << 10;
/// Of the image (`dev/image.sh`).
const SFTP_SERVER: &str = "/usr/lib/openssh/sftp-server";
/// Pieces of input that wait for the pod.
const INPUT_WAITS: usize = 8;
const CONTROLS_WAIT: usize = 64;
/// Pieces that the pod may send without hearing that they were taken, and a few that say how it ended.
pub(super) const OUTPUT_WAITS: usize = WINDOW_PIECES + 8;
/// For what is to be said to the host.
const SAY_DEADLINE: Duration = Duration::from_secs(60);

fn spec(start: ProcessStart) -> AppResult<ExecSpec> {
    let argv: Vec<String> = match start.program {
        Program::Shell => vec!["/bin/bash".to_owned(), "-l".to_owned()],
        Program::Command(command) => vec!["/bin/bash".to_owned(), "-c".to_owned(), command],
        Program::Sftp => vec![SFTP_SERVER.to_owned()],
    };
    if argv.iter().any(|text| text.contains('\0')) || argv.iter().map(String::len).sum::<usize>() > MOST_COMMAND {
        return Err(AppError::field("command", format!("At most {} KiB, without NUL.", MOST_COMMAND >> 10)));
    }
    let bytes: usize = start.env.iter().map(|(name, value)| name.len() + value.len()).sum();
    if start.env.len() > MOST_ENV || bytes > MOST_ENV_BYTES {
        return Err(AppError::field("env", format!("At most {MOST_ENV} variables of {} KiB together.", MOST_ENV_BYTES >> 10)));
    }
    let pty = start.pty.map(|pty| PtySize { cols: pty.cols.clamp(1, 1000), rows: pty.rows.clamp(1, 1000), term: pty.term });
    Ok(ExecSpec { argv, env: start.env, cwd: None, timeout_seconds: MOST_SECONDS, kill_group_on_exit: false, pty, window: true })
}

pub async fn open(control: &ControlPlane, host: &HostTarget, pod: PodId, start: ProcessStart) -> AppResult<ByteConnection> {
    // A terminal is for somebody who waits for each letter; the rest may be a transfer.
    let class = if start.pty.is_some() { Class::Interactive } else { Class::Bulk };
    let command = Command::Exec { pod: pod.0, exec: spec(start)? };
    let (reader, writer) = link::stream(control, host, class, command).await.map_err(answer)?;
    Ok(join(reader, writer))
}

pub async fn connect(control: &ControlPlane, host: &HostTarget, pod: PodId, port: u16) -> AppResult<ByteConnection> {
    if port == 0 {
        return Err(AppError::new(ErrorCode::NotFound, "There is no port 0."));
    }
    let command = Command::Connect { pod: pod.0, port, window: true };
    let (reader, writer) = link::stream(control, host, Class::Bulk, command).await.map_err(answer)?;
    Ok(join(reader, writer))
}

/// Ends when the pod's side has ended, or the other end is dropped.
fn join(reader: StreamReader, writer: StreamWriter) -> ByteConnection {
    let (input, given) = mpsc::channel(INPUT_WAITS);
    let (control, controls) = mpsc::channel(CONTROLS_WAIT);
    let (shown, output) = mpsc::channel(OUTPUT_WAITS);
    let (taken, takings) = mpsc::channel(WINDOW_PIECES);
    tokio::spawn(async move {
        tokio::select! {
            () = outward(reader, &shown, taken) => {}
            () = inward(writer, given, controls, takings) => {}
            () = shown.closed() => {}
        }
    });
    ByteConnection { input, control, output }
}

async fn outward(mut reader: StreamReader, shown: &mpsc::Sender<ByteOutput>, taken: mpsc::Sender<u32>) {
    loop {
        let piece = match reader.next().await {
            Ok(Received::Stdout(bytes)) => ByteOutput::Data(bytes),
            Ok(Received::Stderr(bytes)) => ByteOutput::ErrorData(bytes),
            Ok(Received::Message(StreamOutput::Taken { bytes })) => {
                // Gone with the one who is to hear it.
                if taken.send(bytes).await.is_err() {
                    return;
                }
                continue;
            }
            Ok(Received::Message(StreamOutput::Exit { code, signal, .. })) => ByteOutput::Exit { code, signal },
            Ok(Received::Message(_)) => continue,
            Err(error) => ByteOutput::Closed { reason: answer(error).message },
        };
        let last = matches!(piece, ByteOutput::Exit { .. } | ByteOutput::Closed { .. });
        if shown.send(piece).await.is_err() || last {
            return;
        }
    }
}

/// Ends when the other end has gone.
async fn inward(
    mut writer: StreamWriter,
    mut given: mpsc::Receiver<ByteInput>,
    mut controls: mpsc::Receiver<ByteControl>,
    mut takings: mpsc::Receiver<u32>,
) {
    let (mut on_the_way, mut pieces, mut open) = (0_usize, 0_usize, true);
    loop {
        let room = open && on_the_way + DATA_CHUNK <= WINDOW && pieces < WINDOW_PIECES;
        let said = tokio::select! {
            control = controls.recv() => {
                let Some(control) = control else { return };
                say(writer.message(&wire(control))).await
            }
            bytes = takings.recv() => {
                let Some(bytes) = bytes else { return };
                on_the_way = on_the_way.saturating_sub(usize::try_from(bytes).unwrap_or(usize::MAX));
                pieces = pieces.saturating_sub(1);
                Ok(())
            }
            piece = given.recv(), if room => match piece {
                Some(ByteInput::Data(bytes)) => {
                    on_the_way += bytes.len();
                    pieces += bytes.len().div_ceil(DATA_CHUNK);
                    say(writer.data(bytes)).await
                }
                // Who drops this end without a word has no more to say, either.
                Some(ByteInput::Eof) | None => {
                    open = false;
                    say(writer.message(&StreamInput::Eof)).await
                }
            },
        };
        if let Err(reason) = said {
            // The host may have closed after its last word, which is still being read.
            tracing::debug!(reason, "a host takes no more of a stream");
            std::future::pending::<()>().await;
        }
    }
}

fn wire(control: ByteControl) -> StreamInput {
    match control {
        ByteControl::Taken(bytes) => StreamInput::Taken { bytes },
        ByteControl::Resize { cols, rows } => StreamInput::Resize { cols: cols.clamp(1, 1000), rows: rows.clamp(1, 1000) },
        ByteControl::Signal(signal) => StreamInput::Signal { signal },
    }
}

async fn say(saying: impl Future<Output = Result<(), link::LinkError>>) -> Result<(), String> {
    match timeout(SAY_DEADLINE, saying).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("it was too slow".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_one_argument_of_the_pods_own_shell() {
        let start = |program| ProcessStart { program, env: Default::default(), pty: None };
        let spec_of = |program| spec(start(program)).unwrap().argv;
        assert_eq!(spec_of(Program::Command("echo 'a b' $HOME".into())), ["/bin/bash", "-c", "echo 'a b' $HOME"]);
        assert_eq!(spec_of(Program::Sftp), [SFTP_SERVER]);
        assert!(spec(start(Program::Command("a\0b".into()))).is_err());
        assert!(spec(start(Program::Command("x".repeat(MOST_COMMAND)))).is_err());
    }
}
