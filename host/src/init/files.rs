//! Reads and writes single files with the rights of `dev`: the work is done by this program again, started as `dev`.
//! The helper says how it went by its exit code and, in words, on standard error.

use super::{Pod, children, outbox::Gone, serve::Connection, serve::unary, window::Window};
use crate::{
    frame::{DATA_CHUNK, Frame},
    inside::{DEV_HOME, INIT_PROGRAM},
    protocol::{HostError, HostErrorCode, Reply, StreamInput, StreamOutput},
};
use bytes::BytesMut;
use nix::sys::signal::Signal;
use std::{
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    os::{
        fd::OwnedFd,
        unix::fs::{OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::unix::pipe::{Receiver, Sender},
    time::timeout,
};

pub const READ: &str = "read-file";
pub const WRITE: &str = "write-file";
const NOT_FOUND: u8 = 10;
const INVALID: u8 = 11;
const NO_SPACE: u8 = 12;
const FAILED: u8 = 13;
const MAX_MESSAGE: u64 = 4096;

/// A helper that has been started.
struct Helper {
    leader: u32,
    exit: children::Exit,
    input: Sender,
    output: Receiver,
    errors: Receiver,
}

impl Helper {
    fn start(pod: &Pod, arguments: &[&str]) -> Result<Self, HostError> {
        let mut command = children::as_dev(INIT_PROGRAM, &Default::default());
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = pod.children.spawn(&mut command).and_then(|(mut child, exit)| {
            let missing = || io::Error::from(io::ErrorKind::BrokenPipe);
            let input = Sender::from_owned_fd(OwnedFd::from(child.stdin.take().ok_or_else(missing)?))?;
            let output = Receiver::from_owned_fd(OwnedFd::from(child.stdout.take().ok_or_else(missing)?))?;
            let errors = Receiver::from_owned_fd(OwnedFd::from(child.stderr.take().ok_or_else(missing)?))?;
            Ok(Self { leader: child.id(), exit, input, output, errors })
        });
        started.map_err(|error| HostError::new(HostErrorCode::Failed, format!("the file could not be opened: {error}")))
    }

    /// How it ended, after what it has to say is read.
    async fn end(self) -> Result<(), HostError> {
        drop((self.input, self.output));
        let mut message = String::new();
        // What cannot be read of the message is left out; the code counts.
        let _read = self.errors.take(MAX_MESSAGE).read_to_string(&mut message).await;
        let code = match self.exit.await.ok().and_then(|status| status.code()) {
            Some(0) => return Ok(()),
            Some(code) if code == i32::from(NOT_FOUND) => HostErrorCode::NotFound,
            Some(code) if code == i32::from(INVALID) => HostErrorCode::Invalid,
            Some(code) if code == i32::from(NO_SPACE) => HostErrorCode::NoSpace,
            _ => HostErrorCode::Failed,
        };
        Err(HostError::new(code, message.trim().to_owned()))
    }
}

/// Whatever way this ends, the helper does too.
struct KillOnDrop(u32);
impl Drop for KillOnDrop {
    fn drop(&mut self) {
        children::kill_group(self.0, Signal::SIGKILL);
    }
}

/// What a helper whose sender has gone gets to clean up.
const CUT_OFF_GRACE: Duration = Duration::from_secs(5);
const DONE: StreamOutput = StreamOutput::Exit { code: Some(0), signal: None, timed_out: false };

pub async fn read(pod: &Pod, connection: Connection, path: &str) -> Result<(), Gone> {
    let mut helper = match Helper::start(pod, &[READ, path]) {
        Ok(helper) => helper,
        Err(error) => return unary(connection, Err(error)).await,
    };
    let guard = KillOnDrop(helper.leader);
    let Ok(bytes) = helper.output.read_u64().await else {
        let reply = helper.end().await.map(|()| Reply::Done);
        return unary(connection, reply).await;
    };
    let Connection { mut input, output } = connection;
    output.json(&Reply::Streaming).await?;
    output.json(&StreamOutput::FileInfo { bytes }).await?;
    let window = Window::default();
    let sending = async {
        loop {
            let mut piece = BytesMut::with_capacity(DATA_CHUNK);
            match helper.output.read_buf(&mut piece).await {
                Ok(0) | Err(_) => return Ok(()),
                Ok(read) => {
                    window.send(read).await;
                    output.send(Frame::Data(piece.freeze())).await?;
                }
            }
        }
    };
    tokio::select! {
        sent = sending => sent?,
        gone = window.listen(&mut input) => return Err(gone),
    }
    let end = helper.end().await.map(|()| DONE);
    drop(guard);
    Connection { input, output }.finish(end).await
}

pub async fn write(pod: &Pod, connection: Connection, path: &str, bytes: u64) -> Result<(), Gone> {
    let mut helper = match Helper::start(pod, &[WRITE, path, &bytes.to_string()]) {
        Ok(helper) => helper,
        Err(error) => return unary(connection, Err(error)).await,
    };
    let guard = KillOnDrop(helper.leader);
    if helper.output.read_u8().await.is_err() {
        let reply = helper.end().await.map(|()| Reply::Done);
        return unary(connection, reply).await;
    }
    let Connection { mut input, output } = connection;
    output.json(&Reply::Streaming).await?;
    loop {
        match input.next().await {
            Ok(Some(Frame::Data(data))) => {
                // It has ended before its time, and says why.
                if helper.input.write_all(&data).await.is_err() {
                    break;
                }
            }
            Ok(Some(frame)) if matches!(frame.parse(), Ok(StreamInput::Eof)) => break,
            Ok(Some(_)) => {}
            // Cut off: the helper meets an end that comes too soon, and removes what it has begun; the guard ends one that hangs.
            Ok(None) | Err(_) => {
                drop(timeout(CUT_OFF_GRACE, helper.end()).await);
                return Err(Gone);
            }
        }
    }
    let end = helper.end().await.map(|()| DONE);
    drop(guard);
    Connection { input, output }.finish(end).await
}

/// As `dev`: the file's length as 8 bytes, big-endian, then its content.
pub fn read_helper(path: &str) -> ExitCode {
    said(path, || {
        // Not blocking: a FIFO would wait for its other end.
        let mut file = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(below_home(path))?;
        let about = file.metadata()?;
        if !about.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        let mut out = io::stdout().lock();
        out.write_all(&about.len().to_be_bytes())?;
        io::copy(&mut Read::by_ref(&mut file).take(about.len()), &mut out)?;
        out.flush()
    })
}

/// As `dev`: one byte when the new file is begun, then exactly `bytes` of standard input replace `path` at once.
pub fn write_helper(path: &str, bytes: &str) -> ExitCode {
    said(path, || {
        let bytes: u64 = bytes.parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let wanted = below_home(path);
        // Through a link the file that it points to is replaced, not the link.
        let target = wanted.canonicalize().unwrap_or(wanted);
        let mode = match fs::metadata(&target) {
            Ok(about) if !about.is_file() => return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")),
            Ok(about) => Some(about.permissions().mode() & 0o7777),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let name = target.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it has no name"))?;
        let new =
            target.with_file_name(format!(".{}.{}.pinacle-new", &*name.to_string_lossy().chars().take(40).collect::<String>(), std::process::id()));
        let written = write_new(&new, bytes, mode).and_then(|()| fs::rename(&new, &target));
        if written.is_err() {
            // Best effort: the first fault is the one to tell.
            let _gone = fs::remove_file(&new);
        }
        written
    })
}

fn write_new(new: &Path, bytes: u64, mode: Option<u32>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(new)?;
    io::stdout().write_all(b"+")?;
    io::stdout().flush()?;
    let mut input = io::stdin().lock();
    if io::copy(&mut input.by_ref().take(bytes), &mut file)? != bytes || input.read(&mut [0])? != 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("not the {bytes} bytes that were announced")));
    }
    if let Some(mode) = mode {
        file.set_permissions(fs::Permissions::from_mode(mode))?;
    }
    file.sync_all()
}

fn below_home(path: &str) -> PathBuf {
    Path::new(DEV_HOME).join(path)
}

fn said(path: &str, work: impl FnOnce() -> io::Result<()>) -> ExitCode {
    let Err(error) = work() else { return ExitCode::SUCCESS };
    // Its words, without the system's number for it.
    let words = error.to_string();
    eprintln!("{path}: {}", words.split_once(" (os error").map_or(words.as_str(), |(words, _number)| words));
    ExitCode::from(match error.kind() {
        io::ErrorKind::NotFound => NOT_FOUND,
        io::ErrorKind::InvalidInput | io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => INVALID,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => NO_SPACE,
        _ => FAILED,
    })
}
