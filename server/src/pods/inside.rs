//! What runs in a pod: commands, files, processes. All of it goes to the pod's host, as JSON and data frames.

use super::answer;
use crate::{
    control::ControlPlane,
    hosts::{
        HostTarget,
        link::{self, Received, StreamReader, StreamWriter},
    },
    ssh::Class,
};
use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use pinacle_app::{
    AppError, AppResult, ErrorCode, FieldErrors,
    backend::FileContent,
    ids::PodId,
    pods::{ExecRequest, ExecResult},
};
use pinacle_host::protocol::{Command, ExecSpec, StreamInput, StreamOutput};
use std::time::Duration;
use tokio::time::timeout;

const MAX_ARGUMENTS: usize = 256;
const MAX_ARGUMENT_BYTES: usize = 128 << 10;
const MAX_ENV: usize = 256;
const MAX_ENV_NAME: usize = 256;
const MAX_ENV_VALUE: usize = 64 << 10;
/// Names and values together, in bytes: with the arguments less than what hosts take.
const MAX_ENV_BYTES: usize = 96 << 10;
const MAX_PROCESS_NAME: usize = 20;
/// Of standard output and standard error each, in bytes; the rest is read and dropped.
const MAX_OUTPUT: usize = 1 << 20;
const DEFAULT_TIMEOUT: u32 = 60;
const MAX_TIMEOUT: u32 = 3600;
/// How much longer than its own time limit a command's answer may take.
const GRACE: Duration = Duration::from_secs(20);
const MAX_PATH: usize = 4096;
/// Largest file that goes up, in bytes.
const MAX_FILE: u64 = 1 << 30;
/// Within which a file's next piece has to come or be taken.
const PIECE_DEADLINE: Duration = Duration::from_secs(60);
const CALL_DEADLINE: Duration = Duration::from_secs(10);

fn check(request: &ExecRequest) -> AppResult<()> {
    let mut errors = FieldErrors::default();
    let bytes: usize = request.argv.iter().map(String::len).sum();
    if !(1..=MAX_ARGUMENTS).contains(&request.argv.len()) {
        errors.add("argv", format!("1–{MAX_ARGUMENTS} strings."));
    } else if request.argv[0].is_empty() {
        errors.add("argv", "The first string names the program.");
    } else if bytes > MAX_ARGUMENT_BYTES {
        errors.add("argv", format!("At most {} KiB together.", MAX_ARGUMENT_BYTES >> 10));
    } else if request.argv.iter().any(|a| a.contains('\0')) {
        errors.add("argv", "No NUL.");
    }
    let env_bytes: usize = request.env.iter().map(|(k, v)| k.len() + v.len()).sum();
    if request.env.len() > MAX_ENV || env_bytes > MAX_ENV_BYTES || request.env.values().any(|v| v.len() > MAX_ENV_VALUE || v.contains('\0')) {
        let (all, one) = (MAX_ENV_BYTES >> 10, MAX_ENV_VALUE >> 10);
        errors.add("env", format!("At most {MAX_ENV} variables of {all} KiB together and {one} KiB each, without NUL."));
    } else if !request.env.keys().all(|name| is_variable(name)) {
        errors.add("env", format!("A variable's name is 1–{MAX_ENV_NAME} letters, digits and underscores, and begins with no digit."));
    }
    if request.timeout_seconds.is_some_and(|s| !(1..=MAX_TIMEOUT).contains(&s)) {
        errors.add("timeout_seconds", format!("1–{MAX_TIMEOUT}."));
    }
    errors.check()
}

/// What a shell takes for the name of a variable.
fn is_variable(name: &str) -> bool {
    let fits = (1..=MAX_ENV_NAME).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    fits && !name.starts_with(|c: char| c.is_ascii_digit())
}

fn check_process_name(name: &str) -> AppResult<()> {
    let fits = (1..=MAX_PROCESS_NAME).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if fits { Ok(()) } else { Err(AppError::field("name", format!("1–{MAX_PROCESS_NAME} lower-case letters and digits."))) }
}

/// Keeps the head of an output and says whether there was more.
fn keep(output: &mut Vec<u8>, bytes: &[u8], truncated: &mut bool) {
    let room = MAX_OUTPUT - output.len();
    output.extend_from_slice(&bytes[..bytes.len().min(room)]);
    *truncated |= bytes.len() > room;
}

/// Runs a command as `dev`. A time-out is an answer, not an error.
pub async fn exec(control: &ControlPlane, host: &HostTarget, pod: PodId, request: ExecRequest) -> AppResult<ExecResult> {
    check(&request)?;
    let timeout_seconds = request.timeout_seconds.unwrap_or(DEFAULT_TIMEOUT);
    let spec = ExecSpec { argv: request.argv, env: request.env, cwd: None, timeout_seconds, kill_group_on_exit: false, pty: None, window: false };
    let (mut reader, mut writer) = link::stream(control, host, Class::Bulk, Command::Exec { pod: pod.0, exec: spec }).await.map_err(answer)?;
    let input = Bytes::from(request.stdin.unwrap_or_default().into_bytes());
    let feed = async {
        // A command that does not read its input has ended its own way; its answer says how.
        if writer.data(input).await.is_ok() && writer.message(&StreamInput::Eof).await.is_err() {
            tracing::debug!("a command ended before its input did");
        }
        std::future::pending::<AppResult<ExecResult>>().await
    };
    let drain = async {
        let (mut stdout, mut stderr, mut truncated) = (Vec::new(), Vec::new(), false);
        loop {
            match reader.next().await? {
                Received::Stdout(bytes) => keep(&mut stdout, &bytes, &mut truncated),
                Received::Stderr(bytes) => keep(&mut stderr, &bytes, &mut truncated),
                Received::Message(StreamOutput::Exit { code, timed_out, .. }) => {
                    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
                    return Ok(ExecResult { exit_code: code, stdout: text(stdout), stderr: text(stderr), truncated, timed_out });
                }
                Received::Message(_) => {}
            }
        }
    };
    let deadline = Duration::from_secs(timeout_seconds.into()) + GRACE;
    let both = async {
        tokio::select! {
            never = feed => never,
            result = drain => result.map_err(answer),
        }
    };
    timeout(deadline, both).await.unwrap_or_else(|_| Err(AppError::new(ErrorCode::Unavailable, "The pod did not answer in time.")))
}

fn check_path(path: &str) -> AppResult<()> {
    if path.is_empty() || path.len() > MAX_PATH || path.contains('\0') {
        return Err(AppError::field("path", format!("A path of 1–{MAX_PATH} bytes without NUL.")));
    }
    Ok(())
}

pub async fn read_file(control: &ControlPlane, host: &HostTarget, pod: PodId, path: &str) -> AppResult<FileContent> {
    check_path(path)?;
    let command = Command::ReadFile { pod: pod.0, path: path.to_owned() };
    let (mut reader, writer) = link::stream(control, host, Class::Bulk, command).await.map_err(answer)?;
    let bytes = match timeout(PIECE_DEADLINE, reader.next()).await {
        Ok(Ok(Received::Message(StreamOutput::FileInfo { bytes }))) => bytes,
        Ok(Err(error)) => return Err(answer(error)),
        Ok(Ok(_)) | Err(_) => return Err(AppError::new(ErrorCode::Unavailable, "The pod did not say how long the file is.")),
    };
    Ok(FileContent { bytes, stream: data(reader, writer, Some(PIECE_DEADLINE)) })
}

/// The data of a stream until its end. What was handed on is said to be taken when the next piece is asked for.
fn data(reader: StreamReader, writer: StreamWriter, piece_deadline: Option<Duration>) -> BoxStream<'static, AppResult<Bytes>> {
    let next = move |state: Option<(StreamReader, StreamWriter, u32)>| async move {
        let (mut reader, mut writer, taken) = state?;
        if taken > 0
            && let Err(error) = writer.message(&StreamInput::Taken { bytes: taken }).await
        {
            // The host may have sent all of it and closed: what is left to read says how it ended.
            tracing::debug!(%error, "a host does not hear any more what was taken");
        }
        loop {
            let received = match piece_deadline {
                Some(deadline) => timeout(deadline, reader.next()).await.unwrap_or(Err(link::LinkError::Timeout(deadline))),
                None => reader.next().await,
            };
            match received {
                Ok(Received::Stdout(bytes)) => {
                    let taken = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                    return Some((Ok(bytes), Some((reader, writer, taken))));
                }
                Ok(Received::Message(StreamOutput::Exit { .. })) => return None,
                Ok(Received::Stderr(_) | Received::Message(_)) => {}
                Err(error) => return Some((Err(answer(error)), None)),
            }
        }
    };
    futures::stream::unfold(Some((reader, writer, 0)), next).boxed()
}

/// Replaces the file once all of it has arrived.
pub async fn write_file(control: &ControlPlane, host: &HostTarget, pod: PodId, path: &str, mut content: FileContent) -> AppResult<()> {
    check_path(path)?;
    if content.bytes > MAX_FILE {
        return Err(AppError::new(ErrorCode::TooLarge, "At most 1 GiB a file."));
    }
    let command = Command::WriteFile { pod: pod.0, path: path.to_owned(), bytes: content.bytes };
    let (mut reader, mut writer) = link::stream(control, host, Class::Bulk, command).await.map_err(answer)?;
    // What its sender does wrong is the whole answer: the pod, which waits for more, has none.
    let send = async {
        while let Some(piece) = timeout(PIECE_DEADLINE, content.stream.next()).await.map_err(|_| too_slow())? {
            if let Err(error) = timeout(PIECE_DEADLINE, writer.data(piece?)).await.map_err(|_| too_slow())? {
                return Ok(Err(answer(error)));
            }
        }
        Ok::<_, AppError>(writer.message(&StreamInput::Eof).await.map_err(answer))
    };
    // The pod may refuse in the middle, with its reason: that is worth more than "the connection broke".
    let done = async {
        loop {
            match reader.next().await.map_err(answer)? {
                Received::Message(StreamOutput::Exit { .. }) => return Ok(()),
                Received::Stdout(_) | Received::Stderr(_) | Received::Message(_) => {}
            }
        }
    };
    tokio::pin!(done);
    let sent = tokio::select! {
        biased;
        ended = &mut done => return ended,
        sent = send => sent?,
    };
    let ended = timeout(PIECE_DEADLINE, done).await.unwrap_or_else(|_| Err(too_slow()));
    sent.and(ended)
}

fn too_slow() -> AppError {
    AppError::new(ErrorCode::Unavailable, "The file stopped moving. Nothing was changed; try again.")
}

pub async fn process_log(control: &ControlPlane, host: &HostTarget, pod: PodId, name: &str) -> AppResult<BoxStream<'static, AppResult<Bytes>>> {
    check_process_name(name)?;
    let command = Command::ProcessLog { pod: pod.0, name: name.to_owned() };
    let (reader, writer) = link::stream(control, host, Class::Interactive, command).await.map_err(answer)?;
    Ok(data(reader, writer, None))
}

pub async fn restart_process(control: &ControlPlane, host: &HostTarget, pod: PodId, name: &str) -> AppResult<()> {
    check_process_name(name)?;
    let command = Command::RestartProcess { pod: pod.0, name: name.to_owned() };
    link::call_on(control, host, Class::Interactive, command, CALL_DEADLINE).await.map_err(answer)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(argv: &[&str]) -> ExecRequest {
        ExecRequest { argv: argv.iter().map(|a| (*a).to_owned()).collect(), stdin: None, env: Default::default(), timeout_seconds: None }
    }

    #[test]
    fn a_command_has_its_limits() {
        assert!(check(&request(&["echo", ""])).is_ok());
        for bad in [&[][..], &[""], &["a\0b"], &["a"; 257]] {
            assert!(check(&request(bad)).unwrap_err().of("argv").is_some());
        }
        assert!(check(&request(&["a", &"x".repeat(MAX_ARGUMENT_BYTES)])).is_err());
        assert!(check(&ExecRequest { timeout_seconds: Some(0), ..request(&["a"]) }).unwrap_err().of("timeout_seconds").is_some());
        let with = |name: &str, value: String| check(&ExecRequest { env: [(name.to_owned(), value)].into(), ..request(&["a"]) });
        assert!(with("_A1", "$(id)\n".to_owned()).is_ok());
        for name in ["", "A=B", "A-B", "1A", "A B", "A\0", "A\n", "Ä", "A\u{202e}", &"A".repeat(257)] {
            assert!(with(name, String::new()).unwrap_err().of("env").is_some(), "{name:?}");
        }
        for value in ["\0".to_owned(), "x".repeat(MAX_ENV_VALUE + 1)] {
            assert!(with("A", value).unwrap_err().of("env").is_some());
        }
    }

    #[test]
    fn output_over_the_limit_is_dropped_and_said() {
        let (mut kept, mut truncated) = (Vec::new(), false);
        keep(&mut kept, &vec![1; MAX_OUTPUT - 1], &mut truncated);
        keep(&mut kept, &[2], &mut truncated);
        assert!(!truncated);
        keep(&mut kept, &[3], &mut truncated);
        assert!(truncated && kept.len() == MAX_OUTPUT);
    }
}
