//! Finds out what will run: from the commit that is checked out, not from files that changed since.

use super::shell::Shell;
use crate::{
    jobs::run::{Halt, failure},
    pods::plan::{self, FILE, GUESSED_FROM},
};
use pinacle_app::pods::{EventStream, Plan, timeline::JobStep};
use std::collections::BTreeMap;

const STEP: JobStep = JobStep::Install;

pub async fn find(shell: &Shell<'_>, commit: &str) -> Result<Plan, Halt> {
    let listed = shell.quiet(STEP, &["git", "-C", &shell.folder, "ls-tree", "--name-only", "-z", commit]).await?;
    let names: Vec<String> = listed.text().split('\0').filter(|n| !n.is_empty()).map(str::to_owned).collect();
    let has = |name: &str| names.iter().any(|n| n == name);
    if has(FILE) {
        let text = show(shell, commit, FILE).await?;
        return match plan::read(commit, &text) {
            Ok(plan) => Ok(plan),
            Err(why) => {
                let step = shell.run.begin(STEP, FILE).await?;
                step.end("failed", &why).await?;
                Err(Halt::Final(failure(STEP.key(), "invalid_config", why, "Mend pinacle.yaml, commit it in the pod, then retry the set-up.")))
            }
        };
    }
    let mut contents = BTreeMap::new();
    for name in GUESSED_FROM.into_iter().filter(|name| has(name)) {
        contents.insert(name.to_owned(), show(shell, commit, name).await?);
    }
    let plan = plan::guess(commit, &names, &contents);
    say(shell, &plan).await?;
    Ok(plan)
}

async fn show(shell: &Shell<'_>, commit: &str, name: &str) -> Result<String, Halt> {
    let shown = shell.quiet(STEP, &["git", "-C", &shell.folder, "show", &format!("{commit}:{name}")]).await?;
    if !shown.ok() {
        let message = format!("{name} could not be read: it has more than 256 KiB, or git could not show it.");
        return Err(Halt::Final(failure(STEP.key(), "unreadable_file", message, "Look at it in the terminal; then retry the set-up.")));
    }
    Ok(shown.text())
}

/// A guess is said, in a form that can be committed.
async fn say(shell: &Shell<'_>, plan: &Plan) -> Result<(), Halt> {
    let mut step = shell.run.begin(STEP, "plan").await?;
    let text = format!("No {FILE} here; guessed from {}. Commit this as {FILE} to keep or change it:\n\n{}\n", plan.source, plan.yaml);
    step.output(EventStream::Stdout, text.as_bytes()).await?;
    step.end("later", &format!("guessed from {}", plan.source)).await
}
