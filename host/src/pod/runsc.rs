//! Which gVisor this host has, and how it wants to be called.

use super::{
    failed, gone,
    run::{run, run_for_both},
};
use crate::protocol::HostError;
use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

const DEADLINE: Duration = Duration::from_secs(20);
/// Releases from this day on start in a network namespace whatever `/proc/sys/net/core` shows there (gvisor #10704).
const NETWORK_MENDED: u32 = 20_240_901;
/// Where gVisor puts a sandbox's control socket: the first of them that has none of that name yet.
const SOCKET_FOLDERS: [&str; 3] = ["/var/run", "/run", "/tmp"];

/// How gVisor intercepts system calls. An idle sandbox costs nothing under ptrace and a few percent of a core under systrap,
/// whose single system calls are faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Platform {
    /// systrap where the release has it, else ptrace
    Auto,
    Systrap,
    Ptrace,
    Kvm,
}

/// One release of gVisor.
#[derive(Clone, Debug)]
pub struct Runsc {
    pub program: PathBuf,
    /// Where it keeps its own state of running sandboxes.
    root: PathBuf,
    /// As it says itself, such as `0.0~20221219.0`.
    pub version: String,
    /// Its way of intercepting system calls.
    pub platform: String,
    knows_overlay2: bool,
    knows_directfs: bool,
    knows_allow_suid: bool,
}

impl Runsc {
    pub async fn detect(program: &Path, platform: Platform, run_dir: &Path) -> Result<Self, HostError> {
        let said = run(program, &["--version"], &[], DEADLINE).await?;
        let (flags, more_flags) = run_for_both(program, &["flags"], &[], DEADLINE).await?;
        let flags = flags + &more_flags;
        let version = said.lines().find_map(|line| line.strip_prefix("runsc version ")).unwrap_or("unknown").trim().to_owned();
        // Releases that have systrap name it in the help of --platform, or are younger than it.
        let has_systrap = flags.contains("systrap") || built_on(&version).is_some_and(|day| day >= 20_230_601);
        let platform = match platform {
            Platform::Auto if has_systrap => "systrap".to_owned(),
            Platform::Auto => "ptrace".to_owned(),
            named => format!("{named:?}").to_lowercase(),
        };
        let knows = |flag: &str| flags.lines().any(|line| line.trim_start().trim_start_matches('-').split([' ', '\t', '=']).next() == Some(flag));
        Ok(Self {
            program: program.to_owned(),
            root: run_dir.join("runsc"),
            version,
            platform,
            knows_overlay2: knows("overlay2"),
            knows_directfs: knows("directfs"),
            knows_allow_suid: knows("allow-suid"),
        })
    }

    /// Whether a folder of the host's must be hidden from it, where the kernel shows it in every network namespace.
    pub fn mistakes_every_network_for_the_hosts(&self) -> bool {
        built_on(&self.version).is_none_or(|day| day < NETWORK_MENDED)
    }

    fn options(&self) -> Vec<OsString> {
        let mut options: Vec<OsString> = vec!["--root".into(), self.root.clone().into()];
        options.extend([format!("--platform={}", self.platform), "--network=sandbox".into()].map(OsString::from));
        if self.knows_overlay2 {
            options.push("--overlay2=none".into());
        }
        if self.knows_directfs {
            options.push("--directfs=false".into());
        }
        if self.knows_allow_suid {
            options.push("--allow-suid=true".into());
        }
        options
    }

    /// Arguments that boot a sandbox and leave it running; what goes wrong stands in `log`.
    pub fn boot_arguments(&self, container: &str, bundle: &Path, pid_file: &Path, log: &Path) -> Vec<OsString> {
        let mut arguments = self.options();
        arguments.extend(["--log".into(), log.into(), "--log-format=json".into(), "run".into(), "--detach".into()]);
        arguments.extend(["--bundle".into(), bundle.into(), "--pid-file".into(), pid_file.into(), container.into()]);
        arguments
    }

    /// Makes it forget a sandbox, whose processes have been ended.
    pub async fn forget(&self, container: &str) -> Result<(), HostError> {
        if self.left_of(container).map_err(failed("gVisor's state"))?.is_empty() {
            return Ok(());
        }
        let mut arguments = self.options();
        arguments.extend(["delete", "--force", container].map(OsString::from));
        // Of a run that was killed it finds nothing, or a state that is half written: what it leaves then goes all the same.
        if let Err(error) = run(&self.program, &arguments, &[], DEADLINE).await {
            tracing::warn!(container, %error, output = error.output, "gVisor could not delete a sandbox's state: removing it");
        }
        let left = self.left_of(container).map_err(failed("gVisor's state"))?;
        left.into_iter().try_for_each(|file| gone(fs::remove_file(file))).map_err(failed("gVisor's state"))
    }

    /// Files of a sandbox: state and lock in gVisor's own folder, and its control socket, which a run that was killed leaves
    /// behind without any state that tells of it. A few of those, and gVisor finds no place for another.
    fn left_of(&self, container: &str) -> io::Result<Vec<PathBuf>> {
        let mut left = Vec::new();
        match fs::read_dir(&self.root) {
            // It has never run anything.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            entries => {
                for entry in entries? {
                    let entry = entry?;
                    if entry.file_name().to_string_lossy().contains(container) {
                        left.push(entry.path());
                    }
                }
            }
        }
        let sockets = SOCKET_FOLDERS.map(|folder| Path::new(folder).join(format!("runsc-{container}.sock")));
        left.extend(sockets.into_iter().filter(|socket| fs::symlink_metadata(socket).is_ok()));
        Ok(left)
    }
}

/// The day in a version such as `0.0~20221219.0` or `release-20240729.0`, as the number 20221219.
fn built_on(version: &str) -> Option<u32> {
    version.split(|c: char| !c.is_ascii_digit()).find(|digits| digits.len() == 8)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_of_a_release_is_read_from_its_version() {
        assert_eq!(built_on("0.0~20221219.0"), Some(20_221_219));
        assert_eq!(built_on("release-20240729.0-12-gabc"), Some(20_240_729));
        assert_eq!(built_on("unknown"), None);
    }
}
