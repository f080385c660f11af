//! Hands the plan's processes to the pod's PID 1 and waits until each is up, or has shown that it will not be.

use super::shell::Shell;
use crate::{
    hosts::link::{self, Received},
    jobs::run::{FAILURE_OUTPUT, Halt, failure, halt},
    ssh::Class,
};
use pinacle_app::pods::{EventStream, Failure, Plan, timeline::JobStep};
use pinacle_host::protocol::{Command, ProcessReport, ProcessSpec, ProcessState, StreamInput, StreamOutput};
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

const DEADLINE: Duration = Duration::from_secs(20);
/// Within which every process has to be up.
const HEALTH_DEADLINE: Duration = Duration::from_secs(90);
const LOG_DEADLINE: Duration = Duration::from_secs(2);

/// `anew`: what they run on was installed just now, so that those that run are started again, too.
pub async fn start(shell: &Shell<'_>, plan: &Plan, anew: bool) -> Result<(), Halt> {
    let run = shell.run;
    let processes: Vec<ProcessSpec> = plan
        .processes
        .iter()
        .map(|p| ProcessSpec {
            name: p.name.clone(),
            command: p.start_command.clone(),
            cwd: shell.folder.clone(),
            port: p.port,
            health_check: p.health_check.clone(),
        })
        .collect();
    let names: Vec<&str> = plan.processes.iter().map(|p| p.name.as_str()).collect();
    let words = if names.is_empty() { "nothing to run".to_owned() } else { names.join(", ") };
    let command = Command::Processes { pod: run.pod.0, fence: run.lease(), processes, restart: anew };
    let hand_over =
        async { link::call(run.control, shell.host, command, DEADLINE).await.map(|_| ((), words.clone())).map_err(|error| halt("processes", error)) };
    run.step(JobStep::Processes, &words, hand_over).await?;
    let mut step = run.begin(JobStep::Health, &words).await?;
    if names.is_empty() {
        return step.end("ok", &words).await;
    }
    match wait(shell).await {
        Ok(text) => step.end("ok", &text).await,
        Err(Unhealthy::Broken(error)) => Err(halt("health", error)),
        Err(Unhealthy::Process { name, message }) => {
            let output = log_of(shell, &name).await;
            step.output(EventStream::Stderr, output.as_bytes()).await?;
            step.end("failed", &message).await?;
            let remedy = "It is started again with growing pauses. See its log, mend it in the terminal, then retry the set-up.";
            Err(Halt::Final(Failure { output, ..failure("health", "process_unhealthy", message, remedy) }))
        }
    }
}

enum Unhealthy {
    Broken(link::LinkError),
    Process { name: String, message: String },
}

/// Waits for reports until every process is up; a process that ended, or one that is not up in time, is the reason.
async fn wait(shell: &Shell<'_>) -> Result<String, Unhealthy> {
    let watch = Command::Watch { pod: shell.run.pod.0 };
    let (mut reader, _writer) = link::stream(shell.run.control, shell.host, Class::Control, watch).await.map_err(Unhealthy::Broken)?;
    let deadline = Instant::now() + HEALTH_DEADLINE;
    let mut last: Vec<ProcessReport> = Vec::new();
    loop {
        match timeout_at(deadline, reader.next()).await {
            Err(_) => {
                let late = last.into_iter().find(|p| p.state != ProcessState::Running);
                let (name, said) = late.map_or_else(|| ("a process".to_owned(), None), |p| (p.name, p.health));
                let said = said.map(|s| format!(" (last: {s})")).unwrap_or_default();
                let message = format!("{name} did not answer within {} s{said}.", HEALTH_DEADLINE.as_secs());
                return Err(Unhealthy::Process { name, message });
            }
            Ok(Err(error)) => return Err(Unhealthy::Broken(error)),
            Ok(Ok(Received::Message(StreamOutput::Report(report)))) => last = report.processes,
            Ok(Ok(_)) => continue,
        }
        if let Some(ended) = last.iter().find(|p| matches!(p.state, ProcessState::BackingOff { .. })) {
            let how = ended.exit_code.map_or("was killed".to_owned(), |code| format!("ended with exit code {code}"));
            return Err(Unhealthy::Process { name: ended.name.clone(), message: format!("{} {how}.", ended.name) });
        }
        if !last.is_empty() && last.iter().all(|p| p.state == ProcessState::Running) {
            let ports: Vec<String> = last.iter().map(|p| p.port.map_or(p.name.clone(), |port| format!("{} on {port}", p.name))).collect();
            return Ok(ports.join(", "));
        }
    }
}

/// The end of a process's log; empty when it can't be had.
async fn log_of(shell: &Shell<'_>, name: &str) -> String {
    let command = Command::ProcessLog { pod: shell.run.pod.0, name: name.to_owned() };
    let mut log = Vec::new();
    let reading = async {
        let (mut reader, mut writer) = link::stream(shell.run.control, shell.host, Class::Control, command).await?;
        loop {
            match reader.next().await? {
                Received::Stdout(bytes) | Received::Stderr(bytes) => {
                    log.extend_from_slice(&bytes);
                    if writer.message(&StreamInput::Taken { bytes: u32::try_from(bytes.len()).unwrap_or(u32::MAX) }).await.is_err() {
                        return Ok(());
                    }
                }
                Received::Message(_) => return Ok::<(), link::LinkError>(()),
            }
        }
    };
    // It follows the log for ever: what came in time is what is shown.
    if let Ok(Err(error)) = timeout(LOG_DEADLINE, reading).await {
        tracing::debug!(%error, "a process's log can't be read");
    }
    let from = log.len().saturating_sub(FAILURE_OUTPUT);
    String::from_utf8_lossy(&log[from..]).into_owned()
}
