//! Terminals: named tmux sessions in a pod, over the host's interactive connection.

use super::{answer, process::OUTPUT_WAITS};
use crate::{
    control::ControlPlane,
    hosts::{
        HostTarget,
        link::{self, LinkError, Received, StreamReader, StreamWriter},
    },
    ssh::Class,
};
use bytes::Bytes;
use pinacle_app::{
    AppError, AppResult,
    backend::{TerminalConnection, TerminalInput, TerminalOutput, TerminalSize},
    ids::PodId,
    pods::Terminal,
};
use pinacle_host::protocol::{Command, Reply, StreamInput, StreamOutput};
use std::{pin::pin, time::Duration};
use time::OffsetDateTime;
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use uuid::Uuid;

/// Pieces of at most 32 KiB on their way in each direction; a full way holds up its sender.
const ON_THE_WAY: usize = 16;
const MAX_NAME: usize = 32;
const MAX_SIDE: u16 = 1000;
const CALL_DEADLINE: Duration = Duration::from_secs(10);

fn check_name(name: &str) -> AppResult<()> {
    let fits =
        (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') && !name.starts_with('-');
    if fits { Ok(()) } else { Err(AppError::field("name", format!("1–{MAX_NAME} letters, digits, hyphens and underscores."))) }
}

pub async fn list(control: &ControlPlane, host: &HostTarget, pod: PodId) -> AppResult<Vec<Terminal>> {
    let reply = link::call_on(control, host, Class::Interactive, Command::Terminals { pod: pod.0 }, CALL_DEADLINE).await.map_err(answer)?;
    let Reply::Terminals { terminals } = reply else { return Err(AppError::internal()) };
    let created = |seconds| OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    Ok(terminals.into_iter().map(|t| Terminal { name: t.name, viewers: t.viewers, created_at: created(t.created) }).collect())
}

pub async fn end(control: &ControlPlane, host: &HostTarget, pod: PodId, name: &str) -> AppResult<()> {
    check_name(name)?;
    let command = Command::EndTerminal { pod: pod.0, name: name.to_owned() };
    link::call_on(control, host, Class::Interactive, command, CALL_DEADLINE).await.map_err(answer)?;
    Ok(())
}

/// Attaches. Dropping either end of the connection detaches; the session and what runs in it stay.
pub async fn open(
    control: &ControlPlane,
    host: &HostTarget,
    pod: PodId,
    name: &str,
    size: TerminalSize,
    client: Option<Uuid>,
) -> AppResult<TerminalConnection> {
    check_name(name)?;
    let TerminalSize { cols, rows } = possible(size);
    let command = Command::Terminal { pod: pod.0, name: name.to_owned(), cols, rows, client };
    let (reader, mut writer) = link::stream(control, host, Class::Interactive, command).await.map_err(answer)?;
    let (input, mut typed) = mpsc::channel(ON_THE_WAY);
    let (shown, output) = mpsc::channel(ON_THE_WAY);
    let (taken, takings) = mpsc::channel(ON_THE_WAY);
    tokio::spawn(async move {
        let mut outward = pin!(outward(reader, &shown, taken));
        let last = tokio::select! {
            last = &mut outward => last,
            left = inward(&mut writer, &mut typed, takings) => match left {
                // All that was typed is on its way: the pod says how much of it was taken, and ends the stream.
                Ok(()) => {
                    let goodbye = async {
                        writer.message(&StreamInput::Eof).await?;
                        Ok::<_, LinkError>(outward.await)
                    };
                    if !matches!(timeout(CALL_DEADLINE, goodbye).await, Ok(Ok(_))) {
                        tracing::warn!(%pod, "a terminal did not say what it has taken last");
                    }
                    None
                }
                Err(error) => Some(closed(&error)),
            },
            // Whoever looked at it has gone, and has had time for what it had typed.
            () = shown.closed() => None,
        };
        if let Some(last) = last
            && shown.send(last).await.is_err()
        {
            tracing::debug!("a terminal's viewer left first");
        }
    });
    Ok(TerminalConnection { input, output })
}

fn closed(error: &LinkError) -> TerminalOutput {
    TerminalOutput::Closed { reason: error.to_string() }
}

/// The connection to the host is read without ever waiting for this viewer: others have terminals on it, too.
async fn outward(reader: StreamReader, shown: &mpsc::Sender<TerminalOutput>, taken: mpsc::Sender<u32>) -> Option<TerminalOutput> {
    let (pieces, waiting) = mpsc::channel(OUTPUT_WAITS);
    let (tell_typed, typed) = watch::channel(None);
    let mut forwarding = pin!(forward(waiting, typed, shown, taken));
    tokio::select! {
        last = read(reader, pieces, tell_typed) => {
            forwarding.await;
            last
        }
        () = &mut forwarding => None,
    }
}

async fn read(mut reader: StreamReader, pieces: mpsc::Sender<Bytes>, tell_typed: watch::Sender<Option<TerminalOutput>>) -> Option<TerminalOutput> {
    loop {
        match reader.next().await {
            Ok(Received::Stdout(bytes) | Received::Stderr(bytes)) => {
                if pieces.try_send(bytes).is_err() {
                    return Some(TerminalOutput::Closed { reason: "The pod sent more than it may.".to_owned() });
                }
            }
            // Of several the last one counts.
            Ok(Received::Message(StreamOutput::Typed { bytes })) => drop(tell_typed.send_replace(Some(TerminalOutput::Typed(bytes)))),
            Ok(Received::Message(StreamOutput::Exit { code, .. })) => return Some(TerminalOutput::Exit { code }),
            Ok(Received::Message(_)) => {}
            Err(error) => return Some(closed(&error)),
        }
    }
}

/// Hands on what was read until there is no more, or the viewer has gone; what it has taken the pod may send anew.
async fn forward(
    mut waiting: mpsc::Receiver<Bytes>,
    mut typed: watch::Receiver<Option<TerminalOutput>>,
    shown: &mpsc::Sender<TerminalOutput>,
    taken: mpsc::Sender<u32>,
) {
    let mut told = None;
    loop {
        tokio::select! {
            biased;
            Ok(()) = typed.changed() => {}
            piece = waiting.recv() => match piece {
                Some(bytes) => {
                    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                    if shown.send(TerminalOutput::Data(bytes)).await.is_err() {
                        return;
                    }
                    // Nobody says it any more where the viewer is leaving.
                    let _leaving = taken.send(length).await;
                    continue;
                }
                None if *typed.borrow() == told => return,
                None => {}
            },
        }
        told.clone_from(&typed.borrow_and_update());
        if let Some(typed) = &told
            && shown.send(typed.clone()).await.is_err()
        {
            return;
        }
    }
}

/// Until the viewer has left and all of its input is sent.
async fn inward(writer: &mut StreamWriter, typed: &mut mpsc::Receiver<TerminalInput>, mut takings: mpsc::Receiver<u32>) -> Result<(), LinkError> {
    loop {
        tokio::select! {
            input = typed.recv() => match input {
                Some(TerminalInput::Data(bytes)) => writer.data(bytes).await?,
                Some(TerminalInput::Resize(size)) => {
                    let TerminalSize { cols, rows } = possible(size);
                    writer.message(&StreamInput::Resize { cols, rows }).await?;
                }
                None => return Ok(()),
            },
            Some(bytes) = takings.recv() => {
                // Where the host has closed already, what is left to read says how it ended.
                let _closed = writer.message(&StreamInput::Taken { bytes }).await;
            }
        }
    }
}

fn possible(size: TerminalSize) -> TerminalSize {
    TerminalSize { cols: size.cols.clamp(1, MAX_SIDE), rows: size.rows.clamp(1, MAX_SIDE) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_name_never_looks_like_an_option_or_a_target() {
        for good in ["main", "a-b_2"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "-t", "a:b", "a.b", "$(id)", "ä", &"x".repeat(33)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
