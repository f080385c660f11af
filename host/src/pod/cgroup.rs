//! A pod's control group, in version 1 (one tree a controller) or 2: `<prefix>/<pod id>` in each tree.

use super::gone;
use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};
use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

const ROOT: &str = "/sys/fs/cgroup";
/// gVisor's sentry dies with fewer.
const PIDS: u64 = 8192;
/// Microseconds.
const PERIOD: u64 = 100_000;
const KILL_DEADLINE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(5);

#[derive(Clone, Debug)]
pub struct Cgroups {
    trees: Trees,
    /// Every tree of the host: gVisor puts its sandbox into those of version 1 that the limits do not need, too.
    roots: Vec<PathBuf>,
    prefix: String,
}

#[derive(Clone, Debug)]
enum Trees {
    One { memory: PathBuf, cpu: PathBuf, cpuacct: PathBuf, pids: PathBuf },
    Two { root: PathBuf },
}

/// A sandbox's use of the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meters {
    /// Since boot.
    pub cpu_nanoseconds: u64,
    pub memory_bytes: u64,
}

impl Cgroups {
    pub fn detect(prefix: &str) -> io::Result<Self> {
        let root = Path::new(ROOT);
        let trees = if root.join("cgroup.controllers").exists() {
            Trees::Two { root: root.to_owned() }
        } else {
            let tree = |name: &str| {
                root.join(name)
                    .canonicalize()
                    .map_err(|error| io::Error::new(error.kind(), format!("no control group '{name}' on this host: {error}")))
            };
            Trees::One { memory: tree("memory")?, cpu: tree("cpu")?, cpuacct: tree("cpuacct")?, pids: tree("pids")? }
        };
        let mut roots = BTreeSet::from([root.to_owned()]);
        for entry in fs::read_dir(root)? {
            // Two names may stand for one tree.
            roots.insert(entry?.path().canonicalize()?);
        }
        let roots =
            roots.into_iter().filter(|tree| tree.join("cgroup.procs").exists() && (matches!(trees, Trees::One { .. }) || tree == root)).collect();
        Ok(Self { trees, roots, prefix: prefix.to_owned() })
    }

    pub fn version(&self) -> &'static str {
        match self.trees {
            Trees::One { .. } => "v1",
            Trees::Two { .. } => "v2",
        }
    }

    /// What gVisor calls the pod's group, in every tree.
    pub fn path(&self, pod: &str) -> String {
        format!("/{}/{pod}", self.prefix)
    }

    /// The pod's folders, one a tree.
    fn folders(&self, pod: &str) -> Vec<PathBuf> {
        self.prefixes().into_iter().map(|folder| folder.join(pod)).collect()
    }

    fn prefixes(&self) -> Vec<PathBuf> {
        self.roots.iter().map(|root| root.join(&self.prefix)).collect()
    }

    /// Makes the group with its limits (no swap: a pod that needs more memory than its tier has is told so, and slows down
    /// nobody's disk), but the CPU's: a boot is short work that a quota would draw out.
    /// Gives the files into which a process writes itself to be in it.
    pub fn create(&self, pod: &str, memory_bytes: u64) -> io::Result<Vec<PathBuf>> {
        let limited: BTreeSet<&PathBuf> = match &self.trees {
            Trees::One { memory, cpu, cpuacct, pids } => [memory, cpu, cpuacct, pids].into(),
            Trees::Two { root } => [root].into(),
        };
        let folders: Vec<PathBuf> = limited.into_iter().map(|tree| self.at(tree, pod)).collect();
        if let Trees::Two { root } = &self.trees {
            fs::create_dir_all(root.join(&self.prefix))?;
            for folder in [root.clone(), root.join(&self.prefix)] {
                fs::write(folder.join("cgroup.subtree_control"), "+cpu +memory +pids")?;
            }
        }
        for folder in &folders {
            fs::create_dir_all(folder)?;
        }
        match &self.trees {
            Trees::One { memory, pids, .. } => {
                fs::write(self.at(memory, pod).join("memory.limit_in_bytes"), memory_bytes.to_string())?;
                write_if_there(&self.at(memory, pod).join("memory.memsw.limit_in_bytes"), &memory_bytes.to_string())?;
                fs::write(self.at(pids, pod).join("pids.max"), PIDS.to_string())?;
            }
            Trees::Two { root } => {
                fs::write(self.at(root, pod).join("memory.max"), memory_bytes.to_string())?;
                write_if_there(&self.at(root, pod).join("memory.swap.max"), "0")?;
                fs::write(self.at(root, pod).join("pids.max"), PIDS.to_string())?;
            }
        }
        Ok(folders.into_iter().map(|folder| folder.join("cgroup.procs")).collect())
    }

    fn at(&self, tree: &Path, pod: &str) -> PathBuf {
        tree.join(&self.prefix).join(pod)
    }

    pub fn limit_cpu(&self, pod: &str, cpu_milli: u32) -> io::Result<()> {
        let quota = u64::from(cpu_milli) * PERIOD / 1000;
        match &self.trees {
            Trees::One { cpu, .. } => {
                fs::write(self.at(cpu, pod).join("cpu.cfs_period_us"), PERIOD.to_string())?;
                fs::write(self.at(cpu, pod).join("cpu.cfs_quota_us"), quota.to_string())
            }
            Trees::Two { root } => fs::write(self.at(root, pod).join("cpu.max"), format!("{quota} {PERIOD}")),
        }
    }

    pub fn meters(&self, pod: &str) -> io::Result<Meters> {
        let (cpu_nanoseconds, used, stat, idle) = match &self.trees {
            Trees::One { memory, cpuacct, .. } => {
                let memory = self.at(memory, pod);
                let cpu = number(&self.at(cpuacct, pod).join("cpuacct.usage"))?;
                (cpu, number(&memory.join("memory.usage_in_bytes"))?, memory.join("memory.stat"), "total_inactive_file")
            }
            Trees::Two { root } => {
                let folder = self.at(root, pod);
                let cpu = field(&folder.join("cpu.stat"), "usage_usec")? * 1000;
                (cpu, number(&folder.join("memory.current"))?, folder.join("memory.stat"), "inactive_file")
            }
        };
        // Cache that the kernel would give back at once is not use.
        Ok(Meters { cpu_nanoseconds, memory_bytes: used.saturating_sub(field(&stat, idle)?) })
    }

    /// Whether the kernel has killed something in it for want of memory.
    pub fn ran_out_of_memory(&self, pod: &str) -> io::Result<bool> {
        let file = match &self.trees {
            Trees::One { memory, .. } => self.at(memory, pod).join("memory.oom_control"),
            Trees::Two { root } => self.at(root, pod).join("memory.events"),
        };
        Ok(field(&file, "oom_kill")? > 0)
    }

    pub fn members(&self, pod: &str) -> io::Result<BTreeSet<i32>> {
        let mut members = BTreeSet::new();
        for folder in self.folders(pod) {
            match fs::read_to_string(folder.join("cgroup.procs")) {
                Ok(text) => members.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(members)
    }

    /// Ends everything in the group, reaps what is ours of it (`known` too), and removes the group.
    pub async fn destroy(&self, pod: &str, known: &[i32]) -> io::Result<()> {
        let mut ended: BTreeSet<i32> = known.iter().copied().filter(|pid| *pid > 0).collect();
        let deadline = Instant::now() + KILL_DEADLINE;
        loop {
            let members = self.members(pod)?;
            for pid in &members {
                // ESRCH: it has just ended.
                let _gone = kill(Pid::from_raw(*pid), Signal::SIGKILL);
            }
            ended.extend(&members);
            // ECHILD: not ours, or reaped. What has not ended yet stays in the set.
            ended.retain(|pid| matches!(waitpid(Pid::from_raw(*pid), Some(WaitPidFlag::WNOHANG)), Ok(nix::sys::wait::WaitStatus::StillAlive)));
            if members.is_empty() && ended.is_empty() && self.remove(pod).is_ok() {
                return Ok(());
            }
            if Instant::now() > deadline {
                self.remove(pod)?;
                return Err(io::Error::new(io::ErrorKind::TimedOut, format!("processes {ended:?} of the sandbox do not end")));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn remove(&self, pod: &str) -> io::Result<()> {
        self.folders(pod).iter().try_for_each(|folder| gone(fs::remove_dir(folder)))
    }

    /// Pods that have a group here.
    pub fn pods(&self) -> io::Result<BTreeSet<String>> {
        let mut pods = BTreeSet::new();
        for prefix in self.prefixes() {
            let Ok(entries) = fs::read_dir(&prefix) else { continue };
            for entry in entries {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    pods.extend(entry.file_name().into_string().ok());
                }
            }
        }
        Ok(pods)
    }
}

/// A kernel that keeps no account of swap has no such file.
fn write_if_there(file: &Path, content: &str) -> io::Result<()> {
    // Opened without being made: the kernel answers a wish for a new file there in other words.
    gone(fs::File::options().write(true).open(file).and_then(|mut file| file.write_all(content.as_bytes())))
}

fn number(file: &Path) -> io::Result<u64> {
    let text = fs::read_to_string(file)?;
    text.trim().parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("{}: not a number", file.display())))
}

/// The value of a `key value` line.
fn field(file: &Path, key: &str) -> io::Result<u64> {
    let text = fs::read_to_string(file)?;
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok());
    value.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("{}: no {key}", file.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_of_either_version_has_no_swap_and_one_without_its_account_is_made_all_the_same() {
        let root = std::env::temp_dir().join(format!("pinacle-cgroup-{}", std::process::id()));
        gone(fs::remove_dir_all(&root)).unwrap();
        let one = |root: &Path| Trees::One { memory: root.into(), cpu: root.into(), cpuacct: root.into(), pids: root.into() };
        let two = |root: &Path| Trees::Two { root: root.into() };
        for (trees, file, limit) in [(one(&root), "memory.memsw.limit_in_bytes", "4096"), (two(&root), "memory.swap.max", "0")] {
            let group = root.join("pods/pod");
            for accounted in [true, false] {
                gone(fs::remove_dir_all(&root)).unwrap();
                fs::create_dir_all(&group).unwrap();
                if accounted {
                    fs::write(group.join(file), "").unwrap();
                }
                let cgroups = Cgroups { trees: trees.clone(), roots: Vec::new(), prefix: "pods".into() };
                cgroups.create("pod", 4096).unwrap();
                assert_eq!(fs::read_to_string(group.join(file)).ok().as_deref(), accounted.then_some(limit), "{file}");
            }
        }
        fs::remove_dir_all(root).unwrap();
    }
}
