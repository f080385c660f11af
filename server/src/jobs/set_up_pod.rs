//! Set-up: clone, plan, install, processes, health. It never changes the pod's status: the machine runs, its terminal
//! is open. Nothing of a repository runs before its plan was approved, but for repositories of the user's own account.

use super::{
    provision_pod,
    run::{FAILURE_OUTPUT, Halt, Run, failure, words},
};
use crate::{
    account,
    hosts::HostTarget,
    jobs::setup::{
        clone::{self, Clone},
        plan, processes,
        shell::{Limits, MACHINE_ENDED, Shell},
    },
    pods::{
        plan::digest,
        store::{self, PodRow},
    },
};
use pinacle_app::{
    ids::UserId,
    pods::{Desired, Failure, GitWay, Plan, PodStatus, RepositoryAddress, Setup, SetupState, timeline::JobStep},
};
use std::time::Duration;

/// How soon a set-up that found too many others under way looks again.
const LONG_AGAIN: Duration = Duration::from_secs(2);

/// Whether the machine is up and its set-up has not ended for what was wished last.
pub fn is_due(row: &PodRow) -> bool {
    let unfinished = matches!(row.setup(), SetupState::None | SetupState::Running) || row.is_to_be_set_up_again();
    row.repository.is_some() && row.status() == PodStatus::Running && row.desired() == Desired::Running && unfinished
}

pub async fn run(run: &Run<'_>, host: &HostTarget) -> Result<(), Halt> {
    let Some(row) = store::get(&run.control.db, run.pod).await? else { return Ok(()) };
    let Some(address) = row.repository.as_deref().map(RepositoryAddress::parse) else { return Ok(()) };
    let address = address
        .map_err(|e| Halt::Final(failure("clone", "invalid_repository", e.to_string(), "Delete the pod and create it from another address.")))?;
    // Long from here on: others get this job's place.
    let Some(_long) = run.context.enter_long() else { return Err(Halt::Later { after: LONG_AGAIN, why: None }) };
    let shell = Shell { run, host, folder: format!("/home/dev/{}", address.folder()) };
    let again = row.is_to_be_set_up_again();
    let work = async {
        // Approved and installed before: only its processes are left.
        if !again && let Some(plan) = ran(&row) {
            processes::start(&shell, plan, false).await?;
            return done(run, plan.clone()).await;
        }
        if again || matches!(row.setup(), SetupState::None | SetupState::Running) {
            if again {
                // What was changed at GitHub meanwhile counts.
                provision_pod::configure(run, &row, host, JobStep::Clone).await?;
            }
            return whole(&shell, &row, &address).await;
        }
        Ok(())
    };
    // A newer wish does not wait for an install to end.
    tokio::select! {
        result = work => result,
        halt = run.newer_wish() => Err(halt),
    }
}

/// The plan of a set-up that came as far as its processes.
fn ran(row: &PodRow) -> Option<&Plan> {
    let setup = &row.setup_detail.0;
    let came = row.setup() == SetupState::Done || matches!(setup.step.as_deref(), Some("processes" | "health"));
    setup.plan.as_ref().filter(|_| came)
}

/// Written with a machine that was booted anew and before it counts as running: its processes are due again, whoever dies now.
pub async fn machine_is_new(run: &Run<'_>, row: &PodRow) -> Result<(), Halt> {
    // One that was wished anew stays due as a whole.
    match ran(row).filter(|_| !row.is_to_be_set_up_again()) {
        Some(plan) => under_way(run, "processes", Some(plan), None).await,
        None => Ok(()),
    }
}

async fn whole(shell: &Shell<'_>, row: &PodRow, address: &RepositoryAddress) -> Result<(), Halt> {
    let run = shell.run;
    under_way(run, "clone", None, None).await?;
    let commit = clone::run(shell, Clone { address, branch: row.branch.as_deref(), over_ssh: over_ssh(run).await? }).await?;
    under_way(run, "install", None, Some(&commit)).await?;
    let plan = plan::find(shell, &commit).await?;
    let approved = row.approved_digest.as_deref() == Some(digest(&plan).as_str());
    if !approved && !is_own(run, row, address).await {
        return wait_for_approval(run, plan).await;
    }
    under_way(run, "install", Some(&plan), None).await?;
    // Of this set-up: one that is wished anew begins to count anew.
    let ended_before = row.setup() == SetupState::Running && row.setup_detail.0.code.as_deref() == Some(MACHINE_ENDED);
    install(shell, &plan, ended_before).await?;
    under_way(run, "processes", Some(&plan), None).await?;
    processes::start(shell, &plan, true).await?;
    done(run, plan).await
}

/// As it is by now: it may have been settled a moment ago.
async fn over_ssh(run: &Run<'_>) -> Result<bool, Halt> {
    let row = store::get(&run.control.db, run.pod).await?;
    Ok(row.and_then(|row| row.git_access).is_some_and(|access| access.0.way == GitWay::DeployKey))
}

/// Whether the repository belongs to the user's own GitHub account. What can't be found out is not.
async fn is_own(run: &Run<'_>, row: &PodRow, address: &RepositoryAddress) -> bool {
    let RepositoryAddress::GitHub { owner, name } = address else { return false };
    let user = UserId(row.owner_id);
    let asked = async {
        let identity = account::git_identity(run.control, user).await?;
        let token = account::github_token(run.control, user).await?;
        let repository = run.control.github.repository(token.as_ref(), owner, name).await?;
        Ok::<_, pinacle_app::AppError>(repository.owner_id == identity.github_id)
    };
    asked.await.unwrap_or_else(|error| {
        tracing::info!(%error, pod = %run.pod, "whose repository it is could not be found out; its plan waits for approval");
        false
    })
}

/// `ended_before`: the machine has ended during it. Once may be chance, twice is its own doing.
async fn install(shell: &Shell<'_>, plan: &Plan, ended_before: bool) -> Result<(), Halt> {
    let Some(command) = plan.install.as_deref() else {
        return shell.run.step(JobStep::Install, "nothing to install", async { Ok(((), "nothing to install".to_owned())) }).await;
    };
    let mut step = shell.run.begin(JobStep::Install, command.lines().next().unwrap_or_default()).await?;
    let argv = ["bash", "-lc", command];
    let limit = Duration::from_secs(shell.run.control.config.setup.install_seconds.into());
    let ended = shell.logged(&mut step, &argv, &[], Some(&shell.folder), Limits { whole: limit, silence: None }).await;
    let output = step.last_output().to_owned();
    let ended = match ended {
        Err(Halt::Final(failure)) => {
            step.end("failed", &failure.message).await?;
            return Err(Halt::Final(Failure { output, ..failure }));
        }
        Err(Halt::Again(failure)) if failure.code == MACHINE_ENDED => {
            step.end("failed", &failure.message).await?;
            if ended_before {
                return Err(Halt::Final(Failure { output, ..failure }));
            }
            write(shell.run, &Setup { code: Some(MACHINE_ENDED.to_owned()), ..running("install", Some(plan)) }, None).await?;
            return Err(Halt::Again(failure));
        }
        ended => ended?,
    };
    let (code, message, remedy) = match (ended.code, ended.timed_out) {
        (Some(0), false) => return step.end("ok", "").await,
        (_, true) => (
            "install_timeout",
            format!("Install did not end within {}.", words(limit)),
            "See in the terminal what it waits for, then retry the set-up.",
        ),
        _ if output.contains("No space left on device") => {
            ("disk_full", "The pod's disk is full.".to_owned(), "Delete something in the terminal, or choose a larger tier; then retry the set-up.")
        }
        (None | Some(137), _) => (
            "out_of_memory",
            "Install was killed, most likely because the pod's memory was full.".to_owned(),
            "Choose a larger tier, restart the pod, then retry the set-up.",
        ),
        (Some(code), _) => (
            "install_failed",
            format!("Install ended with exit code {code}."),
            "The pod runs: open its terminal, find out why, then retry the set-up.",
        ),
    };
    step.end("failed", &message).await?;
    Err(Halt::Final(Failure { output, ..failure("install", code, message, remedy) }))
}

async fn wait_for_approval(run: &Run<'_>, plan: Plan) -> Result<(), Halt> {
    let step = run.begin(JobStep::Install, "waits for approval").await?;
    step.end("wait", "Nothing of this repository runs before you approve its plan.").await?;
    let plan_digest = Some(digest(&plan));
    let setup = Setup { state: SetupState::AwaitingApproval, step: Some("install".to_owned()), plan: Some(plan), plan_digest, ..Setup::default() };
    write(run, &setup, None).await
}

fn running(step: &str, plan: Option<&Plan>) -> Setup {
    Setup { state: SetupState::Running, step: Some(step.to_owned()), plan: plan.cloned(), plan_digest: plan.map(digest), ..Setup::default() }
}

async fn under_way(run: &Run<'_>, step: &str, plan: Option<&Plan>, commit: Option<&str>) -> Result<(), Halt> {
    write(run, &running(step, plan), commit).await
}

async fn done(run: &Run<'_>, plan: Plan) -> Result<(), Halt> {
    let plan_digest = Some(digest(&plan));
    write(run, &Setup { state: SetupState::Done, plan: Some(plan), plan_digest, ..Setup::default() }, None).await
}

/// The set-up failed: the pod runs, says which step and why, and has its terminal.
pub async fn fail(run: &Run<'_>, failure: Failure) -> Result<(), Halt> {
    let known = store::get(&run.control.db, run.pod).await?.map(|row| row.setup_detail.0).unwrap_or_default();
    let output = failure.output[failure.output.ceil_char_boundary(failure.output.len().saturating_sub(FAILURE_OUTPUT))..].to_owned();
    let setup = Setup {
        state: SetupState::Failed,
        step: Some(failure.step),
        code: Some(failure.code),
        message: Some(failure.message),
        output: Some(output),
        remedy: Some(failure.remedy),
        plan: known.plan,
        plan_digest: known.plan_digest,
    };
    write(run, &setup, None).await
}

async fn write(run: &Run<'_>, setup: &Setup, commit: Option<&str>) -> Result<(), Halt> {
    let mut tx = run.control.db.begin().await?;
    if !store::observe_setup(&mut tx, run.pod, run.lease(), setup, run.generation, commit).await? {
        return Err(Halt::Lost);
    }
    crate::pods::tell(&mut tx, run.pod).await?;
    tx.commit().await?;
    Ok(())
}
