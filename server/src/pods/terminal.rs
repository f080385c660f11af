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
use pinacle_app::{
    AppError, AppResult,
    backend::{TerminalConnection, TerminalInput, TerminalOutput, TerminalSize},
    ids::PodId,
    pods::Terminal,
};
use pinacle_host::{
    frame::{WINDOW, WINDOW_PIECES},
    protocol::{Command, Reply, StreamInput, StreamOutput},
};
use std::{collections::VecDeque, pin::pin, time::Duration};
use time::OffsetDateTime;
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use uuid::Uuid;

/// Pieces of at most 32 KiB on their way in each direction; a full way holds up its sender.
const ON_THE_WAY: usize = 16;
/// The pod hears of what was taken when it is so many bytes, or so many pieces: a quarter of what may be on its way, so that it need not
/// wait for that.
const TELL_BYTES: usize = WINDOW / 4;
const TELL_PIECES: usize = WINDOW_PIECES / 4;
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
    let (tell_taken, taken) = watch::channel(0);
    tokio::spawn(async move {
        let mut outward = pin!(outward(reader, &shown, tell_taken));
        let last = tokio::select! {
            last = &mut outward => last,
            left = inward(&mut writer, &mut typed, taken) => match left {
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

/// The connection to the host is read without ever waiting for this viewer: others have terminals on it, too. Ends with the stream, once
/// all of it is handed on, or when the viewer has gone. What it has taken the pod may send anew.
async fn outward(mut reader: StreamReader, shown: &mpsc::Sender<TerminalOutput>, tell_taken: watch::Sender<u64>) -> Option<TerminalOutput> {
    let mut waiting = VecDeque::new();
    let mut last = None;
    let (mut bytes, mut pieces) = (0, 0);
    loop {
        tokio::select! {
            biased;
            received = reader.next(), if last.is_none() => match received {
                Ok(Received::Stdout(piece) | Received::Stderr(piece)) if waiting.len() < OUTPUT_WAITS => {
                    waiting.push_back(TerminalOutput::Data(piece));
                }
                Ok(Received::Stdout(_) | Received::Stderr(_)) => {
                    last = Some(TerminalOutput::Closed { reason: "The pod sent more than it may.".to_owned() });
                }
                Ok(Received::Message(StreamOutput::Typed { bytes })) => was_typed(&mut waiting, bytes),
                Ok(Received::Message(StreamOutput::Exit { code, .. })) => last = Some(TerminalOutput::Exit { code }),
                Ok(Received::Message(_)) => {}
                Err(error) => last = Some(closed(&error)),
            },
            room = shown.reserve(), if !waiting.is_empty() => {
                let Ok(room) = room else { return None };
                let Some(output) = waiting.pop_front() else { continue };
                if let TerminalOutput::Data(piece) = &output {
                    bytes += piece.len();
                    pieces += 1;
                }
                room.send(output);
                if bytes >= TELL_BYTES || pieces >= TELL_PIECES {
                    tell_taken.send_modify(|taken| *taken += bytes as u64);
                    (bytes, pieces) = (0, 0);
                }
            }
            else => return last,
        }
    }
}

/// Behind the piece that is next, for that may be the echo, and not behind all that waits. Of several the last one counts.
fn was_typed(waiting: &mut VecDeque<TerminalOutput>, bytes: Option<u64>) {
    let typed = TerminalOutput::Typed(bytes);
    let there = waiting.iter().take(2).position(|output| matches!(output, TerminalOutput::Typed(_)));
    match there {
        Some(at) => waiting[at] = typed,
        None => waiting.insert(waiting.len().min(1), typed),
    }
}

/// Until the viewer has left and all of its input is sent.
async fn inward(writer: &mut StreamWriter, typed: &mut mpsc::Receiver<TerminalInput>, mut taken: watch::Receiver<u64>) -> Result<(), LinkError> {
    let mut told = 0;
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
            Ok(()) = taken.changed() => {
                let total = *taken.borrow_and_update();
                let bytes = u32::try_from(total - told).unwrap_or(u32::MAX);
                told = total;
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
    fn how_much_was_typed_comes_behind_one_piece_and_the_last_word_counts() {
        let (piece, typed) = (TerminalOutput::Data("a".into()), TerminalOutput::Typed);
        let mut waiting = VecDeque::from(vec![piece.clone(); 3]);
        was_typed(&mut waiting, Some(1));
        was_typed(&mut waiting, Some(2));
        assert_eq!(waiting, [piece.clone(), typed(Some(2)), piece.clone(), piece.clone()]);
        waiting.pop_front();
        was_typed(&mut waiting, Some(3));
        assert_eq!(waiting, [typed(Some(3)), piece.clone(), piece]);
        let mut waiting = VecDeque::new();
        was_typed(&mut waiting, None);
        assert_eq!(waiting, [typed(None)]);
    }

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
