//! Puts keys, secrets and git identity in place.

use super::{Pod, boot};
use crate::{
    inside::DEV_UID,
    protocol::{HostError, HostErrorCode, PodConfig},
};
use std::{fmt::Write, io, path::Path, sync::PoisonError};

/// Asks for the file that `Configure` wrote; git calls it for the one origin only.
const CREDENTIAL_HELPER: &str = "!f() { test \\\"$1\\\" != get || cat /run/pinacle/git-credential; }; f";
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
    let credential = config.git_credential.as_ref().map(|c| format!("username={}\npassword={}\n", c.username, c.token));
    secret(&secrets.join("git-credential"), credential)?;
    boot::write(Path::new("/etc/gitconfig"), git_config(config).as_bytes(), 0o644, 0)?;
    std::fs::create_dir_all("/etc/ssh/ssh_config.d")?;
    boot::write(Path::new("/etc/ssh/ssh_config.d/pinacle.conf"), ssh_config(config).as_bytes(), 0o644, 0)
}

/// The file holds the secret, or is not there.
fn secret(path: &Path, content: Option<String>) -> io::Result<()> {
    match content {
        Some(content) => boot::write(path, content.as_bytes(), 0o400, DEV_UID),
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
    if let Some(credential) = &config.git_credential {
        let _ = writeln!(text, "[credential \"{}\"]\n\thelper = \"{CREDENTIAL_HELPER}\"", credential.origin);
    }
    text
}

fn git_quote(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', r"\\").replace('"', "\\\""))
}

/// The pod's own key before the ones that its owner may add; a new host's key is kept when it is first seen.
fn ssh_config(config: &PodConfig) -> String {
    let own = if config.ssh_private_key.is_some() { "  IdentityFile /run/pinacle/ssh_key\n" } else { "" };
    format!("Host *\n{own}  IdentityFile ~/.ssh/id_ed25519\n  IdentityFile ~/.ssh/id_rsa\n  StrictHostKeyChecking accept-new\n")
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
    fn a_name_cannot_leave_its_line_of_gits_configuration() {
        let config = PodConfig { git_name: r#"A "B" \ C"#.into(), git_email: "a@b".into(), ..PodConfig::default() };
        assert!(git_config(&config).contains(r#"name = "A \"B\" \\ C""#));
    }
}
