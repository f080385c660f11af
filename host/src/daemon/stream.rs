//! Streams between the control plane and a pod: passed on as they are, but reports, to which the host has something to add.
//! A stream lives as long as both ends: when either goes, the other is closed. A sandbox that is killed says no goodbye, so
//! its streams end with the sandbox, not with their connections.

use super::{Daemon, Pod, client};
use crate::{
    frame::{Frame, FrameError, FrameReader, write_frame},
    inside::What,
    pod::sandbox::Running,
    protocol::{Command, HostError, HostErrorCode, Reply, StreamOutput},
};
use serde::Serialize;
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, sink},
    sync::watch,
    time::timeout,
};
use uuid::Uuid;

/// From the question to the first answer of the pod.
const FIRST_DEADLINE: Duration = Duration::from_secs(20);
/// For the end of a sandbox to be written down, after its streams have ended.
const END_DEADLINE: Duration = Duration::from_secs(15);
/// For one frame towards who takes nothing.
const WRITE_DEADLINE: Duration = Duration::from_secs(120);
/// For the control plane to close after the last frame.
const CLOSE_DEADLINE: Duration = Duration::from_secs(10);

/// Serves the stream to its end, and closes the connection.
pub async fn serve<R, W>(daemon: &Arc<Daemon>, command: Command, input: FrameReader<R>, mut output: W) -> Result<(), FrameError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let (mut from_plane, ahead) = input.into_parts();
    talk(daemon, command, &mut from_plane, &ahead, &mut output).await?;
    close(&mut from_plane, &mut output).await
}

async fn talk<R, W>(daemon: &Arc<Daemon>, command: Command, from_plane: &mut R, ahead: &[u8], output: &mut W) -> Result<(), FrameError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let id = pod_of(&command);
    let watch = matches!(command, Command::Watch { .. });
    let opened = match daemon.running(id) {
        Ok(running) => client::open(&running.boot, What::Command(Box::new(command))).await,
        Err(error) => Err(error),
    };
    let (inside, pod) = match (opened, daemon.known(id)) {
        (Ok(inside), Some(pod)) => (inside, pod),
        (opened, _) => {
            let error = opened.err().unwrap_or_else(|| HostError::new(HostErrorCode::NoSuchPod, "this host has no such pod"));
            return write(output, &Reply::Error(error)).await;
        }
    };
    if watch { watch_pod(daemon, &pod, inside, from_plane, output).await } else { join(&pod, inside, from_plane, ahead, output).await }
}

/// Ends the output, which TLS calls an end only if it is said, and reads what the control plane still says until it has
/// closed: a socket that is closed with input unread resets its connection, and takes with it what was not delivered yet.
async fn close<R, W>(from_plane: &mut R, output: &mut W) -> Result<(), FrameError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let closing = async {
        output.shutdown().await?;
        copy(from_plane, &mut sink()).await
    };
    match timeout(CLOSE_DEADLINE, closing).await {
        Ok(closed) => Ok(closed.map(drop)?),
        // Who keeps its end open longer has had the last frame by then.
        Err(_) => Ok(()),
    }
}

fn pod_of(command: &Command) -> Uuid {
    match command {
        Command::Watch { pod }
        | Command::Exec { pod, .. }
        | Command::Terminal { pod, .. }
        | Command::ReadFile { pod, .. }
        | Command::WriteFile { pod, .. }
        | Command::ProcessLog { pod, .. }
        | Command::Connect { pod, .. } => *pod,
        // `session::understand` passes no other.
        _ => Uuid::nil(),
    }
}

/// Passes frames out and bytes in: both mean the same on both sides.
async fn join<R, W>(pod: &Pod, mut inside: client::Asked, from_plane: &mut R, ahead: &[u8], output: &mut W) -> Result<(), FrameError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut ended = pod.running.subscribe();
    let first = timeout(FIRST_DEADLINE, inside.input.next()).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let first = first.ok_or(FrameError::Truncated)?;
    let (mut from_pod, mut to_pod) = (inside.input, inside.output);
    pass(output, &first).await?;
    if !matches!(first.parse(), Ok(Reply::Streaming)) {
        return Ok(());
    }
    let inward = async {
        to_pod.write_all(ahead).await?;
        copy(from_plane, &mut to_pod).await
    };
    let outward = async {
        loop {
            let frame = tokio::select! {
                biased;
                frame = from_pod.next() => frame?,
                // Taken by the one who ends it; gone with the pod.
                () = sandbox_ended(&mut ended) => {
                    let error = HostError::new(HostErrorCode::NotRunning, "the pod's sandbox has ended");
                    write(output, &StreamOutput::Error(error)).await?;
                    break;
                }
            };
            let Some(frame) = frame else { break };
            pass(output, &frame).await?;
        }
        Ok::<(), FrameError>(())
    };
    tokio::pin!(inward, outward);
    tokio::select! {
        ended = &mut outward => ended?,
        // The control plane has gone, or the pod has stopped listening, and may have a last word.
        inward = &mut inward => if inward.is_err() { timeout(END_DEADLINE, outward).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?? },
    }
    Ok(())
}

/// Resolves when the pod has no sandbox, or none that this host knows of.
async fn sandbox_ended(running: &mut watch::Receiver<Option<Arc<Running>>>) {
    let _gone = running.wait_for(Option::is_none).await.map(drop);
}

async fn watch_pod<R, W>(daemon: &Daemon, pod: &Pod, mut inside: client::Asked, from_plane: &mut R, output: &mut W) -> Result<(), FrameError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let first = timeout(FIRST_DEADLINE, inside.input.next()).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let first: Reply = first.ok_or(FrameError::Truncated)?.parse()?;
    write(output, &first).await?;
    let mut running = pod.running.subscribe();
    // It has nothing to say within a watch but its end.
    let mut nothing = sink();
    let gone = copy(from_plane, &mut nothing);
    tokio::pin!(gone);
    loop {
        tokio::select! {
            frame = inside.input.next() => match frame {
                Ok(Some(frame)) => {
                    if let StreamOutput::Report(report) = frame.parse()? {
                        write(output, &StreamOutput::Report(Box::new(daemon.complete(pod, *report)))).await?;
                    }
                }
                // The sandbox has ended, in order or not.
                Ok(None) | Err(_) => break,
            },
            gone = &mut gone => return Ok(gone.map(drop)?),
            () = sandbox_ended(&mut running) => break,
        }
    }
    // It is told as it is then, whether or not the end has been written down.
    let _late = timeout(END_DEADLINE, sandbox_ended(&mut running)).await;
    match daemon.report_of_stopped(pod) {
        Ok(report) => {
            write(output, &StreamOutput::Report(Box::new(report))).await?;
            write(output, &StreamOutput::Exit { code: Some(0), signal: None, timed_out: false }).await
        }
        Err(error) => write(output, &StreamOutput::Error(error)).await,
    }
}

pub(super) async fn write<W: AsyncWrite + Unpin>(output: &mut W, value: &impl Serialize) -> Result<(), FrameError> {
    pass(output, &Frame::json(value)?).await
}

/// One frame, within its deadline: a control plane that takes nothing must not hold the stream, and what runs for it, for ever.
async fn pass<W: AsyncWrite + Unpin>(output: &mut W, frame: &Frame) -> Result<(), FrameError> {
    timeout(WRITE_DEADLINE, write_frame(output, frame)).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}
