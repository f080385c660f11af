//! Rules for what arrives over the wire. The control plane has parsed it all before; the host trusts nothing.

use crate::protocol::{Command, ExecSpec, GitAnswer, GitOverSsh, HostError, HostErrorCode, PodConfig, ProcessSpec};

pub const DISK_BYTES: std::ops::RangeInclusive<u64> = (64 << 20)..=(1 << 40);
pub const MEMORY_BYTES: std::ops::RangeInclusive<u64> = (128 << 20)..=(1 << 40);
pub const CPU_MILLI: std::ops::RangeInclusive<u32> = 50..=1_024_000;
pub const MAX_ARGV: usize = 256;
/// Bytes of argv and environment of one exec together.
pub const MAX_ARGV_BYTES: usize = 256 << 10;
pub const MAX_ENV: usize = 512;
pub const MAX_ENV_VALUE: usize = 64 << 10;
pub const MAX_PROCESSES: usize = 32;
pub const MAX_COMMAND: usize = 16 << 10;
pub const MAX_PATH: usize = 4096;
pub const MAX_FILE: u64 = 1 << 30;
pub const EXEC_SECONDS: std::ops::RangeInclusive<u32> = 1..=604_800;
const MAX_LINE: usize = 512;
const MAX_TOKEN: usize = 4096;
const MAX_WORDS: usize = 1024;
const MAX_HOST_KEYS: usize = 16;
const MAX_HOST_KEY: usize = 4096;

type Checked = Result<(), HostError>;

/// Whether every value of the command is one that may be.
pub fn command(command: &Command) -> Checked {
    match command {
        Command::Hello | Command::Inventory | Command::Questions => Ok(()),
        Command::Stop { .. } | Command::Orphan { .. } | Command::Delete { .. } | Command::Discard { .. } => Ok(()),
        Command::Pod { .. } | Command::Watch { .. } | Command::Terminals { .. } | Command::Network { .. } => Ok(()),
        Command::Layer { disk_bytes, .. } => check(DISK_BYTES.contains(disk_bytes), "a disk of that size"),
        Command::Sandbox { hostname, cpu_milli, memory_bytes, generation, .. } => {
            check(is_hostname(hostname), "that host name")?;
            check(CPU_MILLI.contains(cpu_milli), "that share of CPU")?;
            check(MEMORY_BYTES.contains(memory_bytes), "that much memory")?;
            check(*generation >= 0, "a negative generation")
        }
        Command::Configure { config, .. } => pod_config(config),
        Command::Processes { processes: list, .. } => processes(list),
        Command::RestartProcess { name, .. } | Command::ProcessLog { name, .. } => check(is_process_name(name), "that name of a process"),
        Command::Exec { exec, .. } => exec_spec(exec),
        Command::Terminal { name, cols, rows, .. } => {
            check(is_terminal_name(name), "that name of a terminal")?;
            check((1..=1000).contains(cols) && (1..=1000).contains(rows), "a terminal of that size")
        }
        Command::EndTerminal { name, .. } => check(is_terminal_name(name), "that name of a terminal"),
        Command::ReadFile { path: name, .. } => path(name),
        Command::WriteFile { path: name, bytes, .. } => {
            path(name)?;
            check(*bytes <= MAX_FILE, "a file longer than 1 GiB")
        }
        Command::Connect { port, .. } => check(*port > 0, "port 0"),
    }
}

fn pod_config(config: &PodConfig) -> Checked {
    environment(&config.env)?;
    for line in [&config.git_name, &config.git_email] {
        check(line.len() <= MAX_LINE && !line.contains(['\0', '\n', '\r']), "a git identity of several lines")?;
    }
    if let Some(key) = &config.ssh_private_key {
        check(key.len() <= MAX_ENV_VALUE && key.starts_with("-----BEGIN ") && !key.contains('\0'), "that SSH key")?;
    }
    if let Some(credential) = &config.git_credential {
        check(is_origin(&credential.origin), "that origin of a git credential")?;
        check(is_repository(&credential.repository), "that name of a repository")?;
    }
    config.git_over_ssh.as_ref().map_or(Ok(()), git_over_ssh)
}

fn git_over_ssh(git: &GitOverSsh) -> Checked {
    check(is_authority(&git.host, "-.:") && git.host.len() <= MAX_LINE && git.port > 0, "that address of a git server")?;
    check(is_origin(&git.origin), "that origin of a repository")?;
    check(is_repository(&git.repository), "that name of a repository")?;
    check((1..=MAX_HOST_KEYS).contains(&git.host_keys.len()), "a git server without keys, or with so many")?;
    let key = |line: &String| {
        let fine = |word: &str| is_authority(word, "-.@+/=");
        line.len() <= MAX_HOST_KEY && line.split_once(' ').is_some_and(|(kind, data)| fine(kind) && fine(data))
    };
    check(git.host_keys.iter().all(key), "that key of a git server")
}

/// Whether it can be passed on to git, and shown, a line each.
pub fn git_answer(answer: &GitAnswer) -> Checked {
    match answer {
        GitAnswer::Credential { username, token } => {
            let word = |text: &str, most: usize| (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
            check(word(username, MAX_LINE) && word(token, MAX_TOKEN), "that credential for git")
        }
        GitAnswer::Refused { why } => check(why.len() <= MAX_WORDS && !why.contains(char::is_control), "those words for git"),
    }
}

/// The answer, or where it can't be passed on a refusal in its place.
pub fn or_refused(answer: GitAnswer) -> GitAnswer {
    git_answer(&answer).map_or_else(|error| GitAnswer::refused(error.message), |()| answer)
}

/// Scheme and authority, such as `https://github.com`.
fn is_origin(text: &str) -> bool {
    let authority = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or("");
    is_authority(authority, "-.:[]") && text.len() <= MAX_LINE
}

/// `owner/name`.
fn is_repository(text: &str) -> bool {
    let part = |text: &str| is_authority(text, "-._") && !text.starts_with('-') && text != "." && text != "..";
    text.split_once('/').is_some_and(|(owner, name)| part(owner) && part(name)) && text.len() <= MAX_LINE
}

/// Letters, digits and these, at least one.
fn is_authority(text: &str, beside: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || beside.as_bytes().contains(&b))
}

fn environment(env: &std::collections::BTreeMap<String, String>) -> Checked {
    check(env.len() <= MAX_ENV, "so many variables")?;
    for (name, value) in env {
        let mut bytes = name.bytes();
        let first = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        check(first && name.len() <= 256 && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_'), "that name of a variable")?;
        check(value.len() <= MAX_ENV_VALUE && !value.contains('\0'), "the value of a variable with NUL or above 64 KiB")?;
    }
    Ok(())
}

fn processes(list: &[ProcessSpec]) -> Checked {
    check(list.len() <= MAX_PROCESSES, "more than 32 processes")?;
    for (index, process) in list.iter().enumerate() {
        check(is_process_name(&process.name), "that name of a process")?;
        check(list[..index].iter().all(|other| other.name != process.name), "two processes of one name")?;
        check(!process.command.is_empty() && process.command.len() <= MAX_COMMAND && !process.command.contains('\0'), "that command of a process")?;
        check(process.cwd.starts_with('/'), "a relative working folder")?;
        path(&process.cwd)?;
        check(process.port != Some(0), "port 0")?;
        if let Some(health) = &process.health_check {
            let plain = health.starts_with('/') && health.len() <= MAX_LINE && health.bytes().all(|b| b.is_ascii_graphic());
            check(plain && process.port.is_some(), "that health check")?;
        }
    }
    Ok(())
}

fn exec_spec(exec: &ExecSpec) -> Checked {
    check((1..=MAX_ARGV).contains(&exec.argv.len()) && !exec.argv[0].is_empty(), "no program, or more than 256 arguments")?;
    environment(&exec.env)?;
    let bytes: usize = exec.argv.iter().chain(exec.env.keys()).chain(exec.env.values()).map(|s| s.len() + 1).sum();
    check(bytes <= MAX_ARGV_BYTES, "arguments above 256 KiB")?;
    check(exec.argv.iter().all(|a| !a.contains('\0')), "an argument with NUL")?;
    check(EXEC_SECONDS.contains(&exec.timeout_seconds), "a time-out outside of 1 s to a week")?;
    if let Some(pty) = &exec.pty {
        check((1..=1000).contains(&pty.cols) && (1..=1000).contains(&pty.rows), "a terminal of that size")?;
        check(pty.term.len() <= 64 && is_authority(&pty.term, "-._+"), "that kind of terminal")?;
    }
    if let Some(cwd) = &exec.cwd {
        check(cwd.starts_with('/'), "a relative working folder")?;
        path(cwd)?;
    }
    Ok(())
}

fn path(path: &str) -> Checked {
    check(!path.is_empty() && path.len() <= MAX_PATH && !path.contains('\0'), "that path")
}

pub fn is_process_name(name: &str) -> bool {
    (1..=20).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// `[A-Za-z0-9_-]{1,32}`: tmux gives `:` and `.` a meaning.
pub fn is_terminal_name(name: &str) -> bool {
    (1..=32).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// One DNS label (RFC 1123).
pub fn is_hostname(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

fn check(holds: bool, what: &str) -> Checked {
    if holds { Ok(()) } else { Err(HostError::new(HostErrorCode::Invalid, format!("the host does not take {what}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_mean_something_to_another_program_are_refused() {
        assert!(is_terminal_name("main-2"));
        for name in ["", "a:b", "a.b", "=a b", &"x".repeat(33)] {
            assert!(!is_terminal_name(name), "{name}");
        }
        assert!(is_hostname("web-1"));
        for name in ["", "-a", "a-", "a.b", "A", "a\nb"] {
            assert!(!is_hostname(name), "{name}");
        }
        for name in ["", "a-b", "../x", "A"] {
            assert!(!is_process_name(name), "{name}");
        }
    }

    #[test]
    fn a_git_credential_cannot_leave_its_section_of_the_configuration() {
        let mut config = PodConfig::default();
        for (origin, repository, fine) in [
            ("https://github.com", "owner/site.js", true),
            ("http://github.pinacle.test:80", "owner/site", true),
            ("https://a\"]\n[core]", "owner/site", false),
            ("https://", "owner/site", false),
            ("https://github.com", "owner/site\"]\n[core]", false),
            ("https://github.com", "owner", false),
            ("https://github.com", "owner/../other", false),
        ] {
            config.git_credential = Some(crate::protocol::GitCredential { origin: origin.into(), repository: repository.into() });
            assert_eq!(pod_config(&config).is_ok(), fine, "{origin} {repository}");
        }
    }

    #[test]
    fn what_git_is_answered_stays_on_its_line() {
        let credential = |username: &str, token: &str| GitAnswer::Credential { username: username.into(), token: token.into() };
        assert!(git_answer(&credential("x-access-token", "ghs_0")).is_ok());
        for broken in
            [credential("", "t"), credential("u", ""), credential("u", "t\nquit=1"), credential("u\0", "t"), credential("u", &"t".repeat(5000))]
        {
            assert!(git_answer(&broken).is_err(), "{broken:?}");
        }
        assert!(git_answer(&GitAnswer::refused("Somebody’s words.")).is_ok());
        for broken in ["a\nb".to_owned(), "\u{1b}[2J".into(), "x".repeat(1025)] {
            assert!(git_answer(&GitAnswer::refused(broken)).is_err());
        }
    }

    #[test]
    fn a_repository_over_ssh_cannot_leave_its_line_of_a_configuration() {
        let good = GitOverSsh {
            host: "github.com".into(),
            port: 22,
            repository: "owner/site.js".into(),
            origin: "https://github.com".into(),
            host_keys: vec!["ssh-ed25519 AAAA+/=".into()],
        };
        assert!(git_over_ssh(&good).is_ok());
        for broken in [
            GitOverSsh { host: "a\n  ProxyCommand x".into(), ..good.clone() },
            GitOverSsh { host: "a b".into(), ..good.clone() },
            GitOverSsh { port: 0, ..good.clone() },
            GitOverSsh { repository: "../x".into(), ..good.clone() },
            GitOverSsh { repository: "-o/x".into(), ..good.clone() },
            GitOverSsh { repository: "o/x\"]".into(), ..good.clone() },
            GitOverSsh { origin: "https://a\"]\n[core]".into(), ..good.clone() },
            GitOverSsh { host_keys: vec![], ..good.clone() },
            GitOverSsh { host_keys: vec!["ssh-ed25519 AAAA\n* ssh-rsa".into()], ..good.clone() },
        ] {
            assert!(git_over_ssh(&broken).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn the_environment_takes_names_a_shell_takes() {
        for (name, fine) in [("A_1", true), ("1A", false), ("A-B", false), ("A=B", false), ("", false)] {
            assert_eq!(environment(&[(name.to_owned(), String::new())].into()).is_ok(), fine, "{name}");
        }
    }
}
