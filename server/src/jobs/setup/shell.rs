//! Commands of the set-up in the pod, as `dev`: quiet ones whose output is read, logged ones whose output is the step's.

use crate::{
    hosts::{
        HostTarget,
        link::{self, LinkError, Received},
    },
    jobs::run::{Halt, Run, Step, failure, halt},
    ssh::Class,
};
use pinacle_app::pods::{EventStream, timeline::JobStep};
use pinacle_host::protocol::{Command, ExecSpec, Reply, SandboxState, StreamInput, StreamOutput};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout, timeout_at};

const QUIET_DEADLINE: Duration = Duration::from_secs(30);
/// Most that a quiet command may say, in bytes.
const QUIET_OUTPUT: usize = 256 << 10;
/// How much longer than the command's own time limit its end may take to arrive.
const GRACE: Duration = Duration::from_secs(30);
/// Code of what a command may have done to its machine, or the machine to it.
pub const MACHINE_ENDED: &str = "machine_ended";
/// A machine that has ended is not buried yet when its streams break: so often is it looked at, this far apart.
const LOOKS: u32 = 10;
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Output is written to the log after so many bytes, or so long after its first.
const BATCH: usize = 16 << 10;
const BATCH_DELAY: Duration = Duration::from_millis(80);

pub struct Shell<'a> {
    pub run: &'a Run<'a>,
    pub host: &'a HostTarget,
    /// Of the repository, absolute.
    pub folder: String,
}

/// How a command ended. `code` is None when it was ended by a signal.
pub struct Ended {
    pub code: Option<i32>,
    pub timed_out: bool,
    /// It said nothing for longer than it may, and was ended for that.
    pub silent: bool,
}

/// How long a command may take, and how long it may say nothing.
#[derive(Clone, Copy)]
pub struct Limits {
    pub whole: Duration,
    pub silence: Option<Duration>,
}

pub struct Quiet {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
}

impl Quiet {
    pub fn ok(&self) -> bool {
        self.code == Some(0)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

impl Shell<'_> {
    fn command(&self, argv: &[&str], env: &[(&str, &str)], cwd: Option<&str>, limit: Duration) -> Command {
        let exec = ExecSpec {
            argv: argv.iter().map(|a| (*a).to_owned()).collect(),
            env: env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            cwd: cwd.map(str::to_owned),
            timeout_seconds: u32::try_from(limit.as_secs()).unwrap_or(u32::MAX),
            kill_group_on_exit: true,
            pty: None,
            window: false,
        };
        Command::Exec { pod: self.run.pod.0, exec }
    }

    /// Runs a command for what it prints on its standard output; one that prints more than `QUIET_OUTPUT` has failed.
    pub async fn quiet(&self, step: JobStep, argv: &[&str]) -> Result<Quiet, Halt> {
        let broken = |error| halt(step.key(), error);
        let work = async {
            let command = self.command(argv, &[], None, QUIET_DEADLINE);
            let (mut reader, mut writer) = link::stream(self.run.control, self.host, Class::Bulk, command).await?;
            writer.message(&StreamInput::Eof).await?;
            let (mut stdout, mut too_much) = (Vec::new(), false);
            loop {
                match reader.next().await? {
                    Received::Stdout(bytes) => match stdout.len() + bytes.len() {
                        0..=QUIET_OUTPUT => stdout.extend_from_slice(&bytes),
                        _ => too_much = true,
                    },
                    Received::Message(StreamOutput::Exit { code, .. }) => return Ok(Quiet { code: code.filter(|_| !too_much), stdout }),
                    Received::Stderr(_) | Received::Message(_) => {}
                }
            }
        };
        let limit = QUIET_DEADLINE + GRACE;
        timeout(limit, work).await.unwrap_or(Err(LinkError::Timeout(limit))).map_err(broken)
    }

    /// Runs a command whose output goes to the log as it comes.
    pub async fn logged(&self, step: &mut Step<'_>, argv: &[&str], env: &[(&str, &str)], cwd: Option<&str>, limits: Limits) -> Result<Ended, Halt> {
        let limit = limits.whole;
        let name = step.name();
        let broken = |error| halt(name, error);
        let command = self.command(argv, env, cwd, limit);
        let (mut reader, mut writer) = link::stream(self.run.control, self.host, Class::Bulk, command).await.map_err(broken)?;
        writer.message(&StreamInput::Eof).await.map_err(broken)?;
        let deadline = Instant::now() + limit + GRACE;
        let patience = |since: Instant| limits.silence.map_or(deadline, |silence| since + silence);
        let mut silent_at = patience(Instant::now());
        let mut waiting: Option<(EventStream, Vec<u8>, Instant)> = None;
        loop {
            let until = waiting.as_ref().map_or(deadline, |(.., since)| *since + BATCH_DELAY).min(deadline).min(silent_at);
            let received = timeout_at(until, reader.next()).await;
            if received.is_ok() {
                silent_at = patience(Instant::now());
            }
            let (stream, bytes) = match received {
                Err(_) if Instant::now() >= deadline => return Err(broken(LinkError::Timeout(limit + GRACE))),
                Err(_) if Instant::now() >= silent_at => {
                    flush(step, &mut waiting).await?;
                    // It ends with its stream.
                    return Ok(Ended { code: None, timed_out: false, silent: true });
                }
                Err(_) => {
                    flush(step, &mut waiting).await?;
                    continue;
                }
                Ok(Ok(Received::Stdout(bytes))) => (EventStream::Stdout, bytes),
                Ok(Ok(Received::Stderr(bytes))) => (EventStream::Stderr, bytes),
                Ok(Ok(Received::Message(StreamOutput::Exit { code, timed_out, .. }))) => {
                    flush(step, &mut waiting).await?;
                    return Ok(Ended { code, timed_out, silent: false });
                }
                Ok(Ok(Received::Message(_))) => continue,
                Ok(Err(error)) => {
                    flush(step, &mut waiting).await?;
                    return Err(self.broke(name, error).await);
                }
            };
            if waiting.as_ref().is_some_and(|(other, held, _)| *other != stream || held.len() >= BATCH) {
                flush(step, &mut waiting).await?;
            }
            waiting.get_or_insert_with(|| (stream, Vec::new(), Instant::now())).1.extend_from_slice(&bytes);
        }
    }
}

impl Shell<'_> {
    /// What it means that a command's stream broke: its host knows whether the pod's machine has ended. Where its memory was full,
    /// trying again would end the same way.
    async fn broke(&self, step: &'static str, error: LinkError) -> Halt {
        for _ in 0..LOOKS {
            match link::call(self.run.control, self.host, Command::Pod { pod: self.run.pod.0 }, QUIET_DEADLINE).await {
                Ok(Reply::Pod(report)) if report.sandbox == SandboxState::Running => sleep(LOOK_AGAIN).await,
                Ok(Reply::Pod(report)) if report.ended.as_deref() == Some("out_of_memory") => {
                    return Halt::Final(failure(
                        step,
                        "out_of_memory",
                        "The pod's memory was full, and its machine ended.",
                        "Choose a larger tier, restart the pod, then retry the set-up.",
                    ));
                }
                Ok(Reply::Pod(report)) if report.ended.is_some() => {
                    return Halt::Again(failure(
                        step,
                        MACHINE_ENDED,
                        "The pod's machine ended while this ran.",
                        "See whether it starts processes without end, or choose a larger tier; then retry the set-up.",
                    ));
                }
                _ => break,
            }
        }
        halt(step, error)
    }
}

async fn flush(step: &mut Step<'_>, waiting: &mut Option<(EventStream, Vec<u8>, Instant)>) -> Result<(), Halt> {
    match waiting.take() {
        Some((stream, bytes, _)) => step.output(stream, &bytes).await,
        None => Ok(()),
    }
}
