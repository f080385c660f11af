//! Named terminals: a tmux session on a pty of the pod's own, so that it outlives its viewers and keeps its scroll-back.

use super::{
    Pod, boot, children,
    exec::exit_output,
    outbox::{Gone, Typed},
    pty::{self, Pty},
    serve::{Connection, unary},
    typist::{Client, Over, Typist},
    window::Window,
};
use crate::{
    frame::Frame,
    protocol::{HostError, HostErrorCode, Reply, StreamInput, StreamOutput, TerminalInfo},
};
use bytes::Bytes;
use nix::sys::signal::Signal;
use std::{
    io,
    os::fd::OwnedFd,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::AsyncReadExt,
    net::unix::pipe::Receiver,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};
use uuid::Uuid;

/// A server of our own beside one that the pod's owner may run.
const SOCKET: &str = "pinacle";
const CONFIG: &str = "/run/pinacle/tmux.conf";
/// The pod's owner adds to it in the usual place.
const CONFIG_TEXT: &str = r#"set -g default-terminal "tmux-256color"
set -ga terminal-features ",xterm-256color:RGB:clipboard:title"
set -g history-limit 50000
set -g status off
set -g mouse on
set -g set-clipboard on
set -g escape-time 10
set -g focus-events on
set -g window-size latest
set -g destroy-unattached off
set-environment -gu EVENT_NOPOLL
set-environment -gu TMUX_TMPDIR
source-file -q ~/.tmux.conf
"#;
const TMUX_DEADLINE: Duration = Duration::from_secs(10);
const MAX_TMUX_OUTPUT: u64 = 64 << 10;
/// What tmux takes to follow a new size.
const RESIZE_TIME: Duration = Duration::from_millis(30);
/// Pieces of typing that wait for the terminal to take them.
const INPUT_QUEUE: usize = 16;
/// For a terminal that is full to take more; whoever is stopped there has a key to go on.
const INPUT_DEADLINE: Duration = Duration::from_secs(30);
/// For the terminal to take what was typed before its viewer left.
const LAST_INPUT: Duration = Duration::from_secs(3);

fn tmux(pod: &Pod, arguments: &[&str]) -> Command {
    let mut env = pod.environment();
    // gVisor's poll(2) writes POLLERR and POLLHUP into the caller's `events`. libevent, which tmux waits with, then never forgets a
    // descriptor that was closed, and spins on POLLNVAL. With this it takes select(2); the configuration hides it from the panes.
    env.insert("EVENT_NOPOLL".into(), "1".into());
    // Not on the pod's disk, which may be full when a terminal is wanted most.
    env.insert("TMUX_TMPDIR".into(), boot::RUNTIME.into());
    env.insert("TERM".into(), "xterm-256color".into());
    let mut command = children::as_dev("/usr/bin/tmux", &env);
    command.args(["-u", "-L", SOCKET, "-f", CONFIG]).args(arguments);
    command
}

pub async fn attach(pod: &Pod, mut connection: Connection, name: &str, cols: u16, rows: u16, client: Option<Uuid>) -> Result<(), Gone> {
    let (pty, leader, mut exit) = match open(pod, name, cols, rows) {
        Ok((pty, leader, exit)) => (Arc::new(pty), leader, exit),
        Err(error) => {
            let fault = HostError::new(HostErrorCode::Failed, format!("the terminal could not be opened: {error}"));
            return unary(connection, Err(fault)).await;
        }
    };
    // Whatever way this ends: the client goes, the session stays.
    let hang_up = HangUp(leader);
    connection.output.json(&Reply::Streaming).await?;
    let typist = match client {
        Some(id) => {
            let (typist, old, before) = pod.clients.connect(Client { terminal: name.to_owned(), id }, &pty);
            // What is counted and not read yet comes before what is typed here.
            if let Some(old) = old {
                old.settled().await;
            }
            connection.output.json(&StreamOutput::Typed { bytes: before }).await?;
            typist
        }
        None => Typist::nameless(),
    };
    let window = Window::default();
    // The sender goes with this connection, and then nothing is shown any more.
    let (ended, end) = watch::channel(false);
    let mut shown = tokio::spawn(pty::show(pty.clone(), connection.output.sender(), window.clone(), end));
    let (keys, typed) = mpsc::channel(INPUT_QUEUE);
    let told = client.map(|_| connection.output.typed());
    let mut typing = tokio::spawn(type_in(typist, pty.clone(), typed, told));

    let status = loop {
        tokio::select! {
            status = &mut exit => break status.ok(),
            () = connection.output.closed() => return leave(&pty, typing).await,
            over = &mut typing => match over {
                Ok(Over::Elsewhere) => {
                    pty.settled().await;
                    drop(hang_up);
                    cut(shown).await;
                    let fault = HostError::new(HostErrorCode::Failed, "This terminal goes on in another connection.");
                    return connection.finish(Err(fault)).await;
                }
                // The shell's exit follows, or it is the viewer that has gone.
                Ok(Over::Ended) | Err(_) => break timeout(TMUX_DEADLINE, &mut exit).await.ok().and_then(Result::ok),
            },
            frame = connection.input.next() => match frame {
                Ok(Some(Frame::Data(data))) => match timeout(INPUT_DEADLINE, keys.send(data)).await {
                    // Refused once typing is over, which says so by itself.
                    Ok(Ok(()) | Err(_)) => {}
                    // What was not counted is sent again by who comes back.
                    Err(_) => return leave(&pty, typing).await,
                },
                Ok(Some(frame)) => match frame.parse() {
                    Ok(StreamInput::Resize { cols, rows }) => {
                        pty.resize(cols, rows);
                        resized(pod, leader, name).await;
                    }
                    Ok(StreamInput::Taken { bytes }) => window.taken(bytes),
                    Ok(StreamInput::Eof) => {
                        // The viewer leaves as soon as it knows what was taken of what it has typed.
                        drop(keys);
                        if timeout(LAST_INPUT, &mut typing).await.is_err() {
                            typing.abort();
                        }
                        pty.settled().await;
                        drop(hang_up);
                        cut(shown).await;
                        return connection.finish(Ok(exit_output(None, false))).await;
                    }
                    // What runs in it has a key for that.
                    Ok(StreamInput::Signal { .. } | StreamInput::Answer { .. }) | Err(_) => {}
                },
                Ok(None) | Err(_) => return leave(&pty, typing).await,
            }
        }
    };
    typing.abort();
    // The last of the screen goes out as it is taken. Nobody listens when nothing can be shown any more.
    let _ended = ended.send(true);
    tokio::select! {
        _ = &mut shown => {}
        gone = window.listen(&mut connection.input) => return Err(gone),
    }
    connection.finish(Ok(exit_output(status, false))).await
}

/// What else would be shown is nobody's any more: the last frame is the next.
async fn cut(shown: JoinHandle<()>) {
    shown.abort();
    let _cut = shown.await;
}

/// What was counted as typed is read before the client is hung up on.
async fn leave(pty: &Pty, typing: JoinHandle<Over>) -> Result<(), Gone> {
    typing.abort();
    let _over = typing.await;
    pty.settled().await;
    Err(Gone)
}

struct HangUp(u32);
impl Drop for HangUp {
    fn drop(&mut self) {
        children::kill_group(self.0, Signal::SIGHUP);
    }
}

fn open(pod: &Pod, name: &str, cols: u16, rows: u16) -> io::Result<(Pty, u32, children::Exit)> {
    boot::write(Path::new(CONFIG), CONFIG_TEXT.as_bytes(), 0o644, 0)?;
    pty::spawn(pod, tmux(pod, &["new-session", "-A", "-s", name]), cols, rows)
}

/// gVisor tells nobody that a terminal has another size: first tmux's client is told here, then what runs in the panes.
async fn resized(pod: &Pod, client: u32, name: &str) {
    children::kill_group(client, Signal::SIGWINCH);
    // By then tmux has resized the panes.
    tokio::time::sleep(RESIZE_TIME).await;
    let Ok((true, panes)) = ask(pod, &["list-panes", "-s", "-t", &format!("={name}"), "-F", "#{pane_pid}"]).await else { return };
    for session in panes.lines().filter_map(|line| line.parse().ok()) {
        super::sessions::signal(session, Signal::SIGWINCH);
    }
}

/// Until the viewer leaves or typing is over. `told` hears how much was taken.
async fn type_in(typist: Typist, pty: Arc<Pty>, mut typed: mpsc::Receiver<Bytes>, told: Option<watch::Sender<Typed>>) -> Over {
    // tmux takes keys as they are, once it has begun to.
    pty.raw().await;
    while let Some(data) = typed.recv().await {
        let total = match typist.write(&pty, &data).await {
            Ok(total) => total,
            Err(over) => return over,
        };
        if let Some(told) = &told {
            told.send_modify(|typed| *typed = Typed { total, here: typed.here + data.len() as u64 });
        }
    }
    Over::Ended
}

pub async fn list(pod: &Pod) -> Result<Vec<TerminalInfo>, HostError> {
    let (worked, text) = ask(pod, &["list-sessions", "-F", "#{session_name} #{session_attached} #{session_created}"]).await?;
    // Without a session there is no server to ask.
    Ok(if worked { text.lines().filter_map(info).collect() } else { Vec::new() })
}

fn info(line: &str) -> Option<TerminalInfo> {
    let mut words = line.split(' ');
    Some(TerminalInfo { name: words.next()?.to_owned(), viewers: words.next()?.parse().ok()?, created: words.next()?.parse().ok()? })
}

/// Ends the session, and what runs in it.
pub async fn end(pod: &Pod, name: &str) -> Result<(), HostError> {
    match ask(pod, &["kill-session", "-t", &format!("={name}")]).await? {
        (true, _) => Ok(()),
        (false, _) => Err(HostError::new(HostErrorCode::NotFound, format!("the pod has no terminal '{name}'"))),
    }
}

/// Whether tmux did it, and what it said.
async fn ask(pod: &Pod, arguments: &[&str]) -> Result<(bool, String), HostError> {
    let failed = |error: io::Error| HostError::new(HostErrorCode::Failed, format!("tmux could not be asked: {error}"));
    let mut command = tmux(pod, arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let (mut child, exit) = pod.children.spawn(&mut command).map_err(failed)?;
    let _client = HangUp(child.id());
    let mut text = String::new();
    let asked = async {
        if let Some(pipe) = child.stdout.take() {
            Receiver::from_owned_fd(OwnedFd::from(pipe))?.take(MAX_TMUX_OUTPUT).read_to_string(&mut text).await?;
        }
        exit.await.map_err(io::Error::other)
    };
    match timeout(TMUX_DEADLINE, asked).await {
        Ok(status) => Ok((status.map_err(failed)?.success(), text)),
        Err(_) => Err(HostError::new(HostErrorCode::Timeout, "tmux did not answer")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_of_tmux_is_a_terminal() {
        let shown = info("main 2 1764000000").unwrap();
        assert_eq!((shown.name.as_str(), shown.viewers, shown.created), ("main", 2, 1_764_000_000));
        assert!(info("").is_none());
    }
}
