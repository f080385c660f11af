//! Git over ssh: a real sshd signs in whom `authorized_keys` names, and runs `git` here in place of what the client asks for.

use crate::{
    config::Ssh,
    repositories::{self, Git},
    world::{Kept, Shared},
};
use std::{env, fs, io, os::unix::process::CommandExt, path::Path, process::Command};

const FILE: &str = "authorized_keys";

/// One line a deploy key, bound to its number and to nothing but git.
pub fn write_keys(data_dir: &Path, kept: &Kept) -> io::Result<()> {
    let program = env::current_exe()?;
    let lines: String = kept
        .keys
        .iter()
        .map(|key| format!("restrict,command=\"{} git --data-dir {} --key {}\" {}\n", program.display(), data_dir.display(), key.id, key.key))
        .collect();
    let beside = data_dir.join("authorized_keys.new");
    fs::write(&beside, lines)?;
    fs::rename(&beside, data_dir.join(FILE))
}

/// Becomes git, if the key may do what the client asked for. Says what GitHub says otherwise.
pub fn run(asked: &Ssh) -> io::Error {
    let wanted = env::var("SSH_ORIGINAL_COMMAND").unwrap_or_default();
    match allowed(asked, &wanted) {
        Ok((program, repository)) => Command::new("git").arg(program).arg(repository).exec(),
        Err(words) => io::Error::other(words),
    }
}

/// Program of git, and the repository's path.
fn allowed(asked: &Ssh, wanted: &str) -> Result<(&'static str, std::path::PathBuf), String> {
    let kept = Shared::kept(&asked.data_dir).map_err(|error| error.to_string())?;
    let key = kept.keys.iter().find(|key| key.id == asked.key).ok_or("ERROR: The key is not known.")?;
    let (program, path) = wanted.split_once(' ').ok_or("Hi! You've successfully authenticated, but GitHub does not provide shell access.")?;
    let full_name = path.trim_matches('\'').trim_start_matches('/').trim_end_matches(".git");
    let missing = || "ERROR: Repository not found.".to_owned();
    let (owner, name) = full_name.split_once('/').ok_or_else(missing)?;
    let owner = kept.accounts.iter().find(|account| account.login.eq_ignore_ascii_case(owner)).ok_or_else(missing)?;
    let repository = repositories::all()
        .find(|repository| repository.id == key.repository && repository.owner == owner.id && repository.name.eq_ignore_ascii_case(name))
        .ok_or_else(missing)?;
    // Without end is over HTTP alone.
    if repository.git != Git::Answers {
        // Until the client gives up, or its sshd ends: either closes what it might say.
        io::copy(&mut io::stdin().lock(), &mut io::sink()).map_err(|error| error.to_string())?;
        return Err("Nobody waits any more.".into());
    }
    match program {
        "git-upload-pack" => Ok(("upload-pack", repository.path(&asked.data_dir))),
        "git-receive-pack" if key.read_only => Err("ERROR: The key you are authenticating with has been marked as read only.".into()),
        "git-receive-pack" => Ok(("receive-pack", repository.path(&asked.data_dir))),
        _ => Err("ERROR: That is not a command of git's.".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::DeployKey;

    #[test]
    fn a_key_opens_its_repository_and_no_other() {
        let folder = env::temp_dir().join(crate::world::secret("pinacle-github-ssh-"));
        fs::create_dir(&folder).expect("a folder");
        let mut kept = Kept::initial();
        let key = |id, read_only| DeployKey { id, repository: 2006, title: "pod".into(), key: "ssh-ed25519 AAAA".into(), read_only };
        kept.keys = vec![key(1, false), key(2, true)];
        fs::write(folder.join("state.json"), serde_json::to_vec(&kept).expect("JSON")).expect("written");
        let may = |key, wanted: &str| allowed(&Ssh { data_dir: folder.clone(), key }, wanted);
        assert_eq!(may(1, "git-upload-pack '/owner/private.git'").expect("its own").0, "upload-pack");
        assert_eq!(may(1, "git-receive-pack 'owner/private.git'").expect("its own").0, "receive-pack");
        assert_eq!(may(2, "git-upload-pack 'owner/private'").expect("its own").0, "upload-pack");
        for (key, wanted) in [
            (1, "git-upload-pack 'owner/node-site.git'"),
            (1, "git-upload-pack 'outsider/private.git'"),
            (2, "git-receive-pack 'owner/private.git'"),
            (3, "git-upload-pack 'owner/private.git'"),
            (1, "sh 'owner/private.git'"),
            (1, ""),
        ] {
            assert!(may(key, wanted).is_err(), "{key}: {wanted}");
        }
        write_keys(&folder, &kept).expect("written");
        let lines = fs::read_to_string(folder.join(FILE)).expect("read");
        assert!(lines.lines().count() == 2 && lines.starts_with("restrict,command=\""), "{lines}");
        fs::remove_dir_all(&folder).expect("removed");
    }
}
