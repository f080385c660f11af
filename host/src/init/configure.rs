//! Puts keys, secrets and git identity in place.

use super::{Pod, boot, credential};
use crate::{
    inside::{DEV_UID, INIT_PROGRAM},
    protocol::{GitCredential, GitOverSsh, HostError, HostErrorCode, PodConfig},
};
use std::{fmt::Write, io, path::Path, sync::PoisonError};

/// What ssh calls the server of the pod's repository: nothing else goes by this name, so that the pod's key is shown to it alone.
const REPOSITORY_HOST: &str = "pinacle-repository";
const PROFILE: &str = "[ ! -r /run/pinacle/env ] || . /run/pinacle/env\n";

pub fn configure(pod: &Pod, config: PodConfig) -> Result<(), HostError> {
    write_all(&config).map_err(|error| HostError::new(HostErrorCode::Failed, format!("the pod's configuration could not be written: {error}")))?;
    *pod.config.lock().unwrap_or_else(PoisonError::into_inner) = config;
    Ok(())
}

fn write_all(config: &PodConfig) -> io::Result<()> {
    let secrets = Path::new(boot::SECRETS);
    boot::write(&secrets.join("env"), shell_exports(config).as_bytes(), 0o400, DEV_UID)?;
    boot::write(Path::new("/etc/profile.d/pinacle.sh"), PROFILE.as_bytes(), 0o644, 0)?;
    secret(&secrets.join("ssh_key"), config.ssh_private_key.as_ref().map(|key| format!("{}\n", key.trim_end())))?;
    public(&secrets.join("known_hosts"), config.git_over_ssh.as_ref().map(known_hosts))?;
    boot::write(Path::new("/etc/gitconfig"), git_config(config).as_bytes(), 0o644, 0)?;
    std::fs::create_dir_all("/etc/ssh/ssh_config.d")?;
    boot::write(Path::new("/etc/ssh/ssh_config.d/pinacle.conf"), ssh_config(config).as_bytes(), 0o644, 0)
}

/// The file holds the secret, or is not there.
fn secret(path: &Path, content: Option<String>) -> io::Result<()> {
    maybe(path, content, 0o400, DEV_UID)
}

/// As `secret`, for what everybody may read and root alone may change.
fn public(path: &Path, content: Option<String>) -> io::Result<()> {
    maybe(path, content, 0o444, 0)
}

fn maybe(path: &Path, content: Option<String>, mode: u32, owner: u32) -> io::Result<()> {
    match content {
        Some(content) => boot::write(path, content.as_bytes(), mode, owner),
        None => match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
    }
}

/// For login shells. In single quotes a shell takes everything as it stands, but the quote itself.
fn shell_exports(config: &PodConfig) -> String {
    config.env.iter().fold(String::new(), |mut text, (name, value)| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "export {name}='{}'", value.replace('\'', r"'\''"));
        text
    })
}

/// The system's configuration, so that `~/.gitconfig` stays its owner's and wins.
fn git_config(config: &PodConfig) -> String {
    let mut text = String::from("[init]\n\tdefaultBranch = main\n");
    if !config.git_name.is_empty() {
        let _ = writeln!(text, "[user]\n\tname = {}\n\temail = {}", git_quote(&config.git_name), git_quote(&config.git_email));
    }
    if let Some(GitCredential { origin, repository }) = &config.git_credential {
        // The one repository, so that what its owner has configured for others is asked about them as ever. Its path is passed on.
        for end in ["", ".git"] {
            let _ = writeln!(
                text,
                "[credential \"{origin}/{repository}{end}\"]\n\thelper = {INIT_PROGRAM} {helper}\n\tuseHttpPath = true",
                helper = credential::HELPER
            );
        }
    }
    if let Some(git) = &config.git_over_ssh {
        // With `.git`, which ends the name: git compares beginnings.
        let GitOverSsh { host, repository, origin, .. } = git;
        let _ = writeln!(
            text,
            "[url \"ssh://{REPOSITORY_HOST}/{repository}.git\"]\n\tinsteadOf = {origin}/{repository}.git\n\tinsteadOf = git@{host}:{repository}.git\n\tinsteadOf = ssh://git@{host}/{repository}.git"
        );
    }
    text
}

fn git_quote(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', r"\\").replace('"', "\\\""))
}

fn known_hosts(git: &GitOverSsh) -> String {
    git.host_keys.iter().map(|key| format!("{REPOSITORY_HOST} {key}\n")).collect()
}

/// The pod's key for its repository's server, whose own keys are pinned; elsewhere the keys that its owner may add, and a new
/// host's key is kept when it is first seen.
fn ssh_config(config: &PodConfig) -> String {
    let own = config.git_over_ssh.as_ref().map_or(String::new(), |GitOverSsh { host, port, .. }| {
        format!(
            "Host {REPOSITORY_HOST}\n  HostName {host}\n  Port {port}\n  User git\n  IdentityFile /run/pinacle/ssh_key\n  IdentitiesOnly yes\n  \
             HostKeyAlias {REPOSITORY_HOST}\n  UserKnownHostsFile /run/pinacle/known_hosts\n  GlobalKnownHostsFile /dev/null\n  \
             StrictHostKeyChecking yes\n  UpdateHostKeys no\n  BatchMode yes\n  ConnectTimeout 15\n  ServerAliveInterval 10\n  ServerAliveCountMax 3\n"
        )
    });
    format!("{own}Host * !{REPOSITORY_HOST}\n  IdentityFile ~/.ssh/id_ed25519\n  IdentityFile ~/.ssh/id_rsa\n  StrictHostKeyChecking accept-new\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_reaches_the_shell_as_it_is() {
        let value = "a'b\"c$d`e\\f\ng";
        let config = PodConfig { env: [("V".to_owned(), value.to_owned())].into(), ..PodConfig::default() };
        let script = format!("{}printf %s \"$V\"", shell_exports(&config));
        let shown = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8(shown.stdout).unwrap(), value);
    }

    #[test]
    fn the_pods_key_is_for_its_repository_alone() {
        let git = GitOverSsh {
            host: "github.com".into(),
            port: 22,
            repository: "owner/site".into(),
            origin: "https://github.com".into(),
            host_keys: vec!["ssh-ed25519 AAAA".into()],
        };
        let config = PodConfig { ssh_private_key: Some("k".into()), git_over_ssh: Some(git), ..PodConfig::default() };
        let shown = ssh_config(&config);
        let (own, others) = shown.split_once("Host * !pinacle-repository\n").unwrap();
        assert!(own.contains("StrictHostKeyChecking yes") && own.contains("/run/pinacle/ssh_key"));
        assert!(!others.contains("/run/pinacle/ssh_key"), "no other server is shown the key");
        assert_eq!(known_hosts(config.git_over_ssh.as_ref().unwrap()), "pinacle-repository ssh-ed25519 AAAA\n");
        let folder = std::env::temp_dir().join(format!("pinacle-git-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("config"), git_config(&config)).unwrap();
        let rewritten = |address: &str| {
            let mut git = std::process::Command::new("git");
            git.env("GIT_CONFIG_GLOBAL", folder.join("config")).env("GIT_CONFIG_NOSYSTEM", "1").args(["ls-remote", "--get-url", address]);
            String::from_utf8(git.output().unwrap().stdout).unwrap().trim().to_owned()
        };
        for own in ["https://github.com/owner/site.git", "git@github.com:owner/site.git", "ssh://git@github.com/owner/site.git"] {
            assert_eq!(rewritten(own), "ssh://pinacle-repository/owner/site.git");
        }
        for other in ["https://github.com/owner/site-two.git", "https://github.com/owner/other.git"] {
            assert_eq!(rewritten(other), other);
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn git_asks_for_a_token_at_its_repository_alone() {
        let credential = GitCredential { origin: "https://github.com".into(), repository: "owner/site".into() };
        let config = PodConfig { git_credential: Some(credential), ..PodConfig::default() };
        let file = std::env::temp_dir().join(format!("pinacle-git-credential-{}", std::process::id()));
        std::fs::write(&file, git_config(&config)).unwrap();
        let configured = |key: &str, address: &str| {
            let mut git = std::process::Command::new("git");
            git.args(["config", "--file"]).arg(&file).args(["--get-urlmatch", key, address]);
            String::from_utf8(git.output().unwrap().stdout).unwrap().trim().to_owned()
        };
        for own in ["https://github.com/owner/site.git", "https://github.com/owner/site", "https://github.com/owner/site.git/info/lfs"] {
            assert_eq!(configured("credential.helper", own), "/.pinacle/init git-credential");
            assert_eq!(configured("credential.usehttppath", own), "true");
        }
        for other in
            ["https://github.com", "https://github.com/owner/site-two.git", "https://github.com/owner/other.git", "https://git.test/owner/site.git"]
        {
            assert_eq!(
                (configured("credential.helper", other), configured("credential.usehttppath", other)),
                (String::new(), String::new()),
                "{other}"
            );
        }
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn a_name_cannot_leave_its_line_of_gits_configuration() {
        let config = PodConfig { git_name: r#"A "B" \ C"#.into(), git_email: "a@b".into(), ..PodConfig::default() };
        assert!(git_config(&config).contains(r#"name = "A \"B\" \\ C""#));
    }
}
