//! Terminals: named tmux sessions in a pod, over the host's interactive connection.

use super::answer;
use crate::{
    control::ControlPlane,
    hosts::{
        HostTarget,
        link::{self, LinkError, Received, StreamReader, StreamWriter},
    },
    ssh::Class,
};
use pinacle_app::{
    AppError, AppResult,
    backend::{TerminalConnection, TerminalInput, TerminalOutput},
    ids::PodId,
    pods::Terminal,
};
use pinacle_host::protocol::{Command, Reply, StreamInput, StreamOutput};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::{sync::mpsc, time::timeout};

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
pub async fn open(control: &ControlPlane, host: &HostTarget, pod: PodId, name: &str, cols: u16, rows: u16) -> AppResult<TerminalConnection> {
    check_name(name)?;
    let (cols, rows) = (cols.clamp(1, MAX_SIDE), rows.clamp(1, MAX_SIDE));
    let command = Command::Terminal { pod: pod.0, name: name.to_owned(), cols, rows };
    let (reader, mut writer) = link::stream(control, host, Class::Interactive, command).await.map_err(answer)?;
    let (input, mut typed) = mpsc::channel(ON_THE_WAY);
    let (shown, output) = mpsc::channel(ON_THE_WAY);
    let (taken, takings) = mpsc::channel(ON_THE_WAY);
    tokio::spawn(async move {
        // Whichever way ends first takes the other with it.
        let last = tokio::select! {
            last = outward(reader, &shown, taken) => last,
            last = inward(&mut writer, &mut typed, takings) => last,
        };
        // What was handed on counts as typed: it goes to the pod also when its viewer has just left.
        while let Ok(TerminalInput::Data(bytes)) = typed.try_recv() {
            if !matches!(timeout(CALL_DEADLINE, writer.data(bytes)).await, Ok(Ok(()))) {
                break;
            }
        }
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

async fn outward(mut reader: StreamReader, shown: &mpsc::Sender<TerminalOutput>, taken: mpsc::Sender<u32>) -> Option<TerminalOutput> {
    loop {
        match reader.next().await {
            Ok(Received::Stdout(bytes) | Received::Stderr(bytes)) => {
                let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                shown.send(TerminalOutput::Data(bytes)).await.ok()?;
                taken.send(length).await.ok()?;
            }
            Ok(Received::Message(StreamOutput::Exit { code, .. })) => return Some(TerminalOutput::Exit { code }),
            Ok(Received::Message(_)) => {}
            Err(error) => return Some(closed(&error)),
        }
    }
}

async fn inward(writer: &mut StreamWriter, typed: &mut mpsc::Receiver<TerminalInput>, mut takings: mpsc::Receiver<u32>) -> Option<TerminalOutput> {
    loop {
        let sent = tokio::select! {
            // None: the viewer left.
            input = typed.recv() => match input? {
                TerminalInput::Data(bytes) => writer.data(bytes).await,
                TerminalInput::Resize { cols, rows } => {
                    writer.message(&StreamInput::Resize { cols: cols.clamp(1, MAX_SIDE), rows: rows.clamp(1, MAX_SIDE) }).await
                }
            },
            // Where the host has closed already, what is left to read says how it ended.
            bytes = takings.recv() => writer.message(&StreamInput::Taken { bytes: bytes? }).await.or(Ok(())),
        };
        if let Err(error) = sent {
            return Some(closed(&error));
        }
    }
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
