//! Runs one command as `dev`: output streams out, input streams in, its session ends with the connection.

use super::{
    Pod, children,
    outbox::{Gone, tell_taken},
    pump::{Left, Sink, pump},
    serve::Connection,
    serve::unary,
    sessions,
    window::Window,
};
use crate::{
    frame::{DATA_CHUNK, Frame, FrameReader, WINDOW_PIECES},
    protocol::{ExecSpec, HostError, HostErrorCode, Reply, StreamInput, StreamOutput},
};
use bytes::Bytes;
use nix::sys::signal::Signal;
use std::{
    io,
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    process::{ExitStatus, Stdio},
    sync::{Arc, LazyLock},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        tcp::OwnedReadHalf,
        unix::pipe::{Receiver, Sender},
    },
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::sleep_until,
};

/// After a command's end: what it had written is in the pipe already, so silence this long means that it was all.
const SILENCE: Duration = Duration::from_millis(30);
/// Background jobs whose output is thrown away for them; those beyond get a closed pipe.
const MAX_LEFT_BEHIND: usize = 256;
/// Frames of input that wait for the command to read them, where nobody counts them: more than a request to the API may have, so that
/// its end is heard.
const INPUT_QUEUE: usize = 16;

static LEFT_BEHIND: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(MAX_LEFT_BEHIND)));

pub async fn exec(pod: &Pod, mut connection: Connection, spec: ExecSpec) -> Result<(), Gone> {
    let window = spec.window.then(Window::default);
    let mut env = pod.environment();
    env.extend(spec.env);
    let mut command = children::as_dev(&spec.argv[0], &env);
    command.args(&spec.argv[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(cwd) = &spec.cwd {
        command.current_dir(cwd);
    }
    let started = pod.children.spawn(&mut command).and_then(|(mut child, exit)| {
        let input = child.stdin.take().map(OwnedFd::from).map(Sender::from_owned_fd).transpose()?;
        let output = child.stdout.take().map(OwnedFd::from).map(Receiver::from_owned_fd).transpose()?;
        let errors = child.stderr.take().map(OwnedFd::from).map(Receiver::from_owned_fd).transpose()?;
        Ok((child.id(), exit, input, output, errors))
    });
    let (leader, mut exit, input, output, errors) = match started {
        Ok(started) => started,
        Err(error) => return unary(connection, Err(not_started(&spec.argv[0], &error))).await,
    };
    if connection.output.json(&Reply::Streaming).await.is_err() {
        children::kill_group(leader, Signal::SIGKILL);
        return Err(Gone);
    }

    let (ended, end) = watch::channel(false);
    let pumps: Vec<_> = [(output, Frame::Data as fn(Bytes) -> Frame), (errors, Frame::Stderr as fn(Bytes) -> Frame)]
        .into_iter()
        .filter_map(|(pipe, frame)| {
            pipe.map(|pipe| tokio::spawn(carry(pipe, Sink { queue: connection.output.sender(), frame, window: window.clone() }, end.clone())))
        })
        .collect();
    // With a window there is room for all that may be on its way: what the other end says beside it is always heard.
    let (feed, hungry) = mpsc::channel(if window.is_some() { WINDOW_PIECES } else { INPUT_QUEUE });
    let tell = window.is_some().then(|| connection.output.sender());
    let feeder = input.map(|input| tokio::spawn(feed_input(input, hungry, tell)));
    let mut feed = Some(feed);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(spec.timeout_seconds.into());
    // Who works here over a connection of their own expects what sshd does: what was told to stay, stays.
    let at_hang_up = if window.is_some() { Signal::SIGHUP } else { Signal::SIGKILL };
    let mut timed_out = false;

    let status = loop {
        tokio::select! {
            status = &mut exit => break status.ok(),
            () = sleep_until(deadline), if !timed_out => {
                timed_out = true;
                children::kill_group(leader, Signal::SIGKILL);
            }
            () = connection.output.closed() => {
                children::kill_group(leader, at_hang_up);
                return Err(Gone);
            }
            more = next_input(&mut connection.input, &mut feed, &window, leader) => if more.is_err() {
                children::kill_group(leader, at_hang_up);
                return Err(Gone);
            }
        }
    };
    if spec.kill_group_on_exit {
        children::kill_group(leader, Signal::SIGKILL);
    }
    if let Some(feeder) = feeder {
        feeder.abort();
    }
    // Nobody listens when both pipes have ended.
    let _ended = ended.send(true);
    let last_words = async {
        for pump in pumps {
            pump.await.map_err(|_| Gone)?;
        }
        Ok(())
    };
    match &window {
        // What is left goes out as it is taken.
        Some(window) => tokio::select! {
            said = last_words => said?,
            gone = window.listen(&mut connection.input) => return Err(gone),
        },
        None => last_words.await?,
    }
    connection.finish(Ok(exit_output(status, timed_out))).await
}

/// Those that a person sends to a program.
pub fn signal_of(number: i32) -> Option<Signal> {
    use Signal::{SIGABRT, SIGALRM, SIGFPE, SIGHUP, SIGILL, SIGINT, SIGKILL, SIGPIPE, SIGQUIT, SIGSEGV, SIGTERM, SIGUSR1, SIGUSR2};
    let known = [SIGABRT, SIGALRM, SIGFPE, SIGHUP, SIGILL, SIGINT, SIGKILL, SIGPIPE, SIGQUIT, SIGSEGV, SIGTERM, SIGUSR1, SIGUSR2];
    known.into_iter().find(|signal| *signal as i32 == number)
}

pub fn exit_output(status: Option<ExitStatus>, timed_out: bool) -> StreamOutput {
    let code = if timed_out { None } else { status.and_then(|s| s.code()) };
    StreamOutput::Exit { code, signal: status.and_then(|s| s.signal()), timed_out }
}

pub fn not_started(program: &str, error: &io::Error) -> HostError {
    let code = match error.kind() {
        io::ErrorKind::NotFound => HostErrorCode::NotFound,
        io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput => HostErrorCode::Invalid,
        _ => HostErrorCode::Failed,
    };
    HostError::new(code, format!("'{program}' could not be started: {error}"))
}

/// Takes one frame when there is room for it; an error when the connection has ended.
async fn next_input(
    input: &mut FrameReader<OwnedReadHalf>,
    feed: &mut Option<mpsc::Sender<Bytes>>,
    window: &Option<Window>,
    leader: u32,
) -> Result<(), Gone> {
    let beside = |frame: &Frame| match (frame.parse(), window) {
        (Ok(StreamInput::Taken { bytes }), Some(window)) => window.taken(bytes),
        (Ok(StreamInput::Signal { signal }), _) => {
            if let Some(signal) = signal_of(signal) {
                sessions::signal(leader as i32, signal);
            }
        }
        _ => {}
    };
    let Some(sender) = feed.clone() else {
        return match input.next().await {
            Ok(Some(frame)) => {
                beside(&frame);
                Ok(())
            }
            Ok(None) | Err(_) => Err(Gone),
        };
    };
    let Ok(permit) = sender.reserve().await else {
        // The command has closed its input: the rest goes nowhere.
        *feed = None;
        return Ok(());
    };
    match input.next().await {
        Ok(Some(Frame::Data(data))) => permit.send(data),
        Ok(Some(frame)) if matches!(frame.parse(), Ok(StreamInput::Eof)) => *feed = None,
        Ok(Some(frame)) => beside(&frame),
        Ok(None) | Err(_) => return Err(Gone),
    }
    Ok(())
}

async fn feed_input(input: Sender, mut hungry: mpsc::Receiver<Bytes>, tell: Option<mpsc::Sender<Frame>>) {
    let mut input = Some(input);
    while let Some(data) = hungry.recv().await {
        // A command that does not read to the end is its own affair: what it does not take is taken all the same.
        if let Some(pipe) = &mut input
            && pipe.write_all(&data).await.is_err()
        {
            input = None;
        }
        if let Some(tell) = &tell
            && tell_taken(tell, data.len()).await.is_err()
        {
            return;
        }
    }
}

/// Sends what comes out of a pipe; what comes later, of a job left in the background, is thrown away for it.
async fn carry(mut pipe: Receiver, sink: Sink, end: watch::Receiver<bool>) {
    if pump(&mut pipe, sink, SILENCE, end).await == Left::More
        && let Ok(slot) = LEFT_BEHIND.clone().try_acquire_owned()
    {
        tokio::spawn(throw_away(pipe, slot));
    }
}

/// Keeps a background job's output flowing, so that it does not die of a closed pipe.
async fn throw_away(mut pipe: Receiver, slot: OwnedSemaphorePermit) {
    let mut buffer = vec![0; DATA_CHUNK];
    while matches!(pipe.read(&mut buffer).await, Ok(read) if read > 0) {}
    drop(slot);
}
