//! Runs one command as `dev` on a terminal of its own. Its session ends with the connection, as with a terminal's cable.

use super::{
    Pod, children,
    exec::{exit_output, not_started, signal_of},
    outbox::{Gone, tell_taken},
    pty::{self, Pty},
    serve::{Connection, unary},
    sessions,
    window::Window,
};
use crate::{
    frame::{Frame, WINDOW_PIECES},
    protocol::{ExecSpec, PtySize, StreamInput},
};
use bytes::Bytes;
use nix::sys::signal::Signal;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::sleep_until,
};
use tokio_util::task::AbortOnDropHandle;

pub async fn run(pod: &Pod, mut connection: Connection, spec: ExecSpec, size: PtySize) -> Result<(), Gone> {
    let mut env = pod.environment();
    env.extend(spec.env);
    env.insert("TERM".into(), size.term);
    let mut command = children::as_dev(&spec.argv[0], &env);
    command.args(&spec.argv[1..]);
    if let Some(cwd) = &spec.cwd {
        command.current_dir(cwd);
    }
    let (pty, leader, mut exit) = match pty::spawn(pod, command, size.cols, size.rows) {
        Ok(started) => started,
        Err(error) => return unary(connection, Err(not_started(&spec.argv[0], &error))).await,
    };
    let _session = HangUp(leader);
    connection.output.json(&crate::protocol::Reply::Streaming).await?;
    let pty = Arc::new(pty);
    let window = Window::default();
    let (ended, end) = watch::channel(false);
    let mut shown = tokio::spawn(pty::show(pty.clone(), connection.output.sender(), window.clone(), end));
    // As much as the other end may send before it hears that it was taken: it never waits here, and what it says beside is heard.
    let (keys, typed) = mpsc::channel(WINDOW_PIECES);
    let typist = AbortOnDropHandle::new(tokio::spawn(type_in(pty.clone(), typed, connection.output.sender())));
    let deadline = tokio::time::Instant::now() + Duration::from_secs(spec.timeout_seconds.into());
    let mut timed_out = false;

    let status = loop {
        tokio::select! {
            status = &mut exit => break status.ok(),
            () = sleep_until(deadline), if !timed_out => {
                timed_out = true;
                sessions::signal(leader as i32, Signal::SIGKILL);
            }
            () = connection.output.closed() => return Err(Gone),
            frame = connection.input.next() => match frame {
                Ok(Some(Frame::Data(data))) => keys.send(data).await.map_err(|_| Gone)?,
                Ok(Some(frame)) => match frame.parse() {
                    Ok(StreamInput::Resize { cols, rows }) => {
                        pty.resize(cols, rows);
                        // gVisor tells nobody that a terminal has another size.
                        sessions::signal(leader as i32, Signal::SIGWINCH);
                    }
                    Ok(StreamInput::Taken { bytes }) => window.taken(bytes),
                    Ok(StreamInput::Signal { signal }) => {
                        if let Some(signal) = signal_of(signal) {
                            sessions::signal(leader as i32, signal);
                        }
                    }
                    // A terminal has no end of input but the one that is typed.
                    Ok(StreamInput::Eof | StreamInput::Answer { .. }) | Err(_) => {}
                },
                Ok(None) | Err(_) => return Err(Gone),
            }
        }
    };
    drop(typist);
    // Nobody listens when nothing can be shown any more. What is left goes out as it is taken.
    let _ended = ended.send(true);
    tokio::select! {
        _ = &mut shown => {}
        gone = window.listen(&mut connection.input) => return Err(gone),
    }
    connection.finish(Ok(exit_output(status, timed_out))).await
}

struct HangUp(u32);
impl Drop for HangUp {
    fn drop(&mut self) {
        sessions::signal(self.0 as i32, Signal::SIGHUP);
    }
}

async fn type_in(pty: Arc<Pty>, mut typed: mpsc::Receiver<Bytes>, tell: mpsc::Sender<Frame>) {
    while let Some(data) = typed.recv().await {
        if pty.write_all(&data).await.is_err() || tell_taken(&tell, data.len()).await.is_err() {
            return;
        }
    }
}
