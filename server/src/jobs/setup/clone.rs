//! Clones the repository into `/home/dev/<repo>`; what is cloned already is left as its user has it.

use super::shell::{Limits, Shell};
use crate::jobs::run::{Halt, failure, words};
use pinacle_app::pods::{Failure, RepositoryAddress, timeline::JobStep};
use std::time::Duration;

const STEP: JobStep = JobStep::Clone;
/// Half a clone lies here until it is whole: dying in between leaves nothing that looks finished.
const PARTIAL: &str = "/home/dev/.cache/pinacle/clone";
/// A server that sends less than this many bytes a second has gone silent.
const SILENCE_BYTES: &str = "200";
/// Over ssh nothing is said before both ends know each other.
const SSH_BEGINS: Duration = Duration::from_secs(10);

pub struct Clone<'a> {
    pub address: &'a RepositoryAddress,
    pub branch: Option<&'a str>,
    /// The pod has a key for it: git takes the address over ssh (`host/src/init/configure.rs`).
    pub over_ssh: bool,
}

/// Answers with the commit that is checked out.
pub async fn run(shell: &Shell<'_>, clone: Clone<'_>) -> Result<String, Halt> {
    let what = match clone.branch {
        Some(branch) => format!("{} @ {branch}", clone.address),
        None => clone.address.to_string(),
    };
    let limits = shell.run.control.config.setup;
    let deadline = Duration::from_secs(limits.clone_seconds.into());
    let silence = limits.git_silence_seconds.to_string();
    // Over https git sees to that itself.
    let said_within = clone.over_ssh.then(|| Duration::from_secs(limits.git_silence_seconds.into()) + SSH_BEGINS);
    let limits = Limits { whole: deadline, silence: said_within };
    let env = [("GIT_TERMINAL_PROMPT", "0"), ("GIT_HTTP_LOW_SPEED_LIMIT", SILENCE_BYTES), ("GIT_HTTP_LOW_SPEED_TIME", silence.as_str())];
    let mut step = shell.run.begin(STEP, &what).await?;
    let git_folder = format!("{}/.git", shell.folder);
    let is_there = shell.quiet(STEP, &["test", "-d", &git_folder]).await?.ok();
    let url = url(shell, clone.address);
    let ended = if is_there {
        match head(shell).await? {
            Some(commit) => {
                step.end("ok", &format!("already there, at {}", short(&commit))).await?;
                return Ok(commit);
            }
            // It was empty when it was cloned.
            None => shell.logged(&mut step, &["git", "-C", &shell.folder, "pull", "--ff-only"], &env, None, limits).await?,
        }
    } else {
        shell.quiet(STEP, &["rm", "-rf", "--", PARTIAL]).await?;
        let mut argv = vec!["git", "-c", "protocol.allow=never", "-c", "protocol.https.allow=always"];
        // Only where the installation's own GitHub is not behind TLS, as the local stack's.
        if url.starts_with("http://") {
            argv.extend(["-c", "protocol.http.allow=always"]);
        }
        if clone.over_ssh {
            argv.extend(["-c", "protocol.ssh.allow=always"]);
        }
        argv.extend(["clone", "--progress"]);
        argv.extend(clone.branch.into_iter().flat_map(|branch| ["--branch", branch]));
        argv.extend(["--", &url, PARTIAL]);
        let ended = shell.logged(&mut step, &argv, &env, None, limits).await?;
        if ended.code == Some(0) && !shell.quiet(STEP, &["mv", "-T", "--", PARTIAL, &shell.folder]).await?.ok() {
            let message = format!("{} is in the way of the clone.", shell.folder);
            step.end("failed", &message).await?;
            return Err(Halt::Final(failure(STEP.key(), "folder_in_the_way", message, "Move it away in the terminal, then retry the set-up.")));
        }
        ended
    };
    let output = step.last_output().to_owned();
    if ended.code == Some(0)
        && let Some(commit) = head(shell).await?
    {
        step.end("ok", &format!("at {}", short(&commit))).await?;
        return Ok(commit);
    }
    let (code, message, remedy) = if ended.code == Some(0) || is_there {
        (
            "repository_empty",
            "The repository has no commit yet.".to_owned(),
            "Push a first commit from the terminal or from elsewhere, then retry the set-up.",
        )
    } else {
        let words = if ended.silent { "timed out" } else { &output };
        why(words, ended.timed_out.then_some(deadline), clone.branch)
    };
    step.end("failed", &message).await?;
    Err(Halt::Final(Failure { output, ..failure(STEP.key(), code, message, remedy) }))
}

fn url(shell: &Shell<'_>, address: &RepositoryAddress) -> String {
    match address {
        RepositoryAddress::GitHub { owner, name } => {
            format!("{}/{owner}/{name}.git", shell.run.control.config.github_git_url.as_str().trim_end_matches('/'))
        }
        RepositoryAddress::Https { url } => url.clone(),
    }
}

async fn head(shell: &Shell<'_>) -> Result<Option<String>, Halt> {
    let asked = shell.quiet(STEP, &["git", "-C", &shell.folder, "rev-parse", "--verify", "--quiet", "HEAD^{commit}"]).await?;
    Ok(Some(asked.text().trim().to_owned()).filter(|commit| asked.ok() && commit.len() >= 40))
}

pub fn short(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}

/// What git's last words mean: code, sentence, remedy.
fn why(output: &str, timed_out: Option<Duration>, branch: Option<&str>) -> (&'static str, String, &'static str) {
    // Progress has figures of its own, which say nothing of what went wrong.
    let said: String = output.split(['\n', '\r']).filter(|line| !line.contains('%')).collect::<Vec<_>>().join("\n");
    let says = |words: &[&str]| words.iter().any(|w| said.contains(w));
    if let Some(limit) = timed_out {
        return (
            "repository_too_slow",
            format!("The clone did not end within {}.", words(limit)),
            "Retry; a very large repository can be cloned in the terminal.",
        );
    }
    if let Some(branch) = branch
        && says(&["Remote branch"])
    {
        return ("branch_not_found", format!("The repository has no branch {branch}."), "Delete the pod and create it from a branch that is there.");
    }
    if says(&["No space left on device"]) {
        return (
            "disk_full",
            "The repository does not fit on the pod's disk.".to_owned(),
            "Choose a larger tier, restart the pod, then retry the set-up.",
        );
    }
    if says(&["Host key verification failed"]) {
        return (
            "git_host_key_changed",
            "The git server shows another key than those that this installation knows it by.".to_owned(),
            "An operator has to find out why, and configure the new key if it is right.",
        );
    }
    if says(&["Permission denied (publickey"]) {
        return (
            "deploy_key_refused",
            "The git server refuses the pod's key: it was removed there, it seems.".to_owned(),
            "Retry the set-up: it registers the key once more.",
        );
    }
    // The helper has said why (`pods/git_token.rs`).
    if says(&["told us to quit"]) {
        return (
            "git_sign_in_refused",
            "git got nothing to sign in with; its last words say why.".to_owned(),
            "Do what they say, then retry the set-up.",
        );
    }
    if says(&["not found", "could not read Username", "Authentication failed", "returned error: 403", "returned error: 401"]) {
        return (
            "repository_not_found",
            "The repository doesn't exist, or your account may not read it.".to_owned(),
            "Check its name and your access at GitHub, then retry the set-up.",
        );
    }
    if says(&[
        "Could not resolve host",
        "Failed to connect",
        "Connection refused",
        "timed out",
        "too slow",
        "Connection reset",
        "SSL",
        "certificate",
        "Empty reply",
    ]) {
        return ("repository_unreachable", "The repository's server does not answer.".to_owned(), "Check the address; then retry the set-up.");
    }
    ("clone_failed", "git could not clone the repository; its last words are below.".to_owned(), "Retry the set-up, or clone it in the terminal.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_s_words_become_a_reason() {
        for (output, branch, code) in [
            (
                "warning: Could not find remote branch gone to clone.\nfatal: Remote branch gone not found in upstream origin",
                Some("gone"),
                "branch_not_found",
            ),
            ("remote: Repository not found.\nfatal: repository 'https://x/y/' not found", None, "repository_not_found"),
            ("fatal: could not read Username for 'https://x': terminal prompts disabled", None, "repository_not_found"),
            ("fatal: unable to access 'https://x/': Could not resolve host: x", None, "repository_unreachable"),
            ("fatal: write error: No space left on device", None, "disk_full"),
            ("Host key verification failed.\nfatal: Could not read from remote repository.", None, "git_host_key_changed"),
            ("git@github.com: Permission denied (publickey).\nfatal: Could not read from remote repository.", None, "deploy_key_refused"),
            ("ERROR: Repository not found.\nfatal: Could not read from remote repository.", None, "repository_not_found"),
            (
                "pinacle: GitHub does not answer. Try again in a moment.\nfatal: credential helper '/.pinacle/init git-credential' told us to quit",
                None,
                "git_sign_in_refused",
            ),
            ("fatal: something new", None, "clone_failed"),
            ("Receiving objects:  45% (401/891)\rerror: RPC failed; curl 56 Recv failure: Connection reset by peer", None, "repository_unreachable"),
            ("fatal: unable to access 'https://x/y/': The requested URL returned error: 403", None, "repository_not_found"),
        ] {
            assert_eq!(why(output, None, branch).0, code, "{output}");
        }
        assert_eq!(why("", Some(Duration::from_secs(600)), None).0, "repository_too_slow");
    }
}
