//! Boots a pod's sandbox and ends it.

use super::{Place, bundle::Bundle, cgroup::Cgroups, failed, gone, network, rootfs, runsc::Runsc};
use crate::{
    inside::Boot,
    protocol::{HostError, HostErrorCode},
};
use serde::{Deserialize, Serialize};
use std::{
    ffi::OsString,
    fs::{self, DirBuilder},
    io::{self, Read},
    os::unix::{ffi::OsStringExt, fs::DirBuilderExt, process::CommandExt},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

const BOOT_DEADLINE: Duration = Duration::from_secs(40);
const MAX_COMPLAINT: usize = 8 << 10;

/// What the host itself gives to every sandbox.
#[derive(Clone, Debug)]
pub struct Ground {
    pub image: PathBuf,
    pub init: PathBuf,
    pub runsc: Runsc,
    pub cgroups: Cgroups,
    /// This program, which starts itself as `pinacle-host sandbox`.
    pub program: PathBuf,
}

/// A sandbox that runs, as written into its folder: a daemon that starts anew finds it there.
#[derive(Clone, Serialize, Deserialize)]
pub struct Running {
    pub boot: Boot,
    pub generation: i64,
    /// The sandbox's own process.
    pub pid: i32,
    /// When that started, in ticks since boot: another process may get the number later.
    pub started: u64,
    /// All processes of it on this host.
    pub processes: Vec<i32>,
}

/// What `pinacle-host sandbox` reads from standard input.
#[derive(Serialize, Deserialize)]
struct Entry {
    cgroup_files: Vec<PathBuf>,
    image: PathBuf,
    layer: PathBuf,
    layer_mount: PathBuf,
    rootfs: PathBuf,
    netns: PathBuf,
    hide_sysctl: bool,
    program: PathBuf,
    arguments: Vec<Vec<u8>>,
}

/// Boots it in the network namespace that is there. Whatever fails, the caller calls `end`.
pub async fn boot(ground: &Ground, place: &Place, boot: Boot, generation: i64, memory_bytes: u64) -> Result<(Running, Complaints), HostError> {
    let run = &place.run;
    let (rootfs, layer_mount) = (run.join("rootfs"), run.join("layer"));
    let boot_folder = run.join("boot");
    for folder in [&rootfs, &layer_mount, &boot_folder] {
        DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(failed("the sandbox's folder"))?;
    }
    let netns = network::namespace_file(place);
    write_secret(&boot_folder.join("boot.json"), &serde_json::to_vec(&boot).map_err(io::Error::from).map_err(failed("the boot file"))?)?;
    let bundle = Bundle {
        hostname: &boot.hostname,
        rootfs: &rootfs,
        boot: &boot_folder,
        init: &ground.init,
        tmp: &layer_mount.join("tmp"),
        netns: &netns,
        cgroup: &ground.cgroups.path(&place.container()),
        memory_bytes,
    };
    write_secret(&run.join("config.json"), &serde_json::to_vec(&bundle.config()).map_err(io::Error::from).map_err(failed("the bundle"))?)?;
    let cgroup_files = ground.cgroups.create(&place.container(), memory_bytes).map_err(failed("the pod's control group"))?;
    let (pid_file, log) = (run.join("pid"), run.join("runsc.log"));
    let arguments = ground.runsc.boot_arguments(&place.container(), run, &pid_file, &log);
    let entry = Entry {
        cgroup_files,
        image: ground.image.clone(),
        layer: place.layer(),
        layer_mount,
        rootfs,
        netns,
        hide_sysctl: ground.runsc.mistakes_every_network_for_the_hosts(),
        program: ground.runsc.program.clone(),
        arguments: arguments.into_iter().map(OsString::into_vec).collect(),
    };
    let complaints = start(ground, &entry, &log).await?;
    let pid: i32 = fs::read_to_string(&pid_file).map_err(failed("the sandbox's process"))?.trim().parse().unwrap_or(0);
    let started = started_at(pid).ok_or_else(|| complaints.in_error("the sandbox ended while it was booting"))?;
    let processes = ground.cgroups.members(&place.container()).map_err(failed("the pod's control group"))?.into_iter().collect();
    Ok((Running { boot, generation, pid, started, processes }, complaints))
}

fn write_secret(path: &Path, content: &[u8]) -> Result<(), HostError> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    let written = gone(fs::remove_file(path))
        .and_then(|()| fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(path))
        .and_then(|mut file| file.write_all(content));
    written.map_err(failed("a file of the sandbox"))
}

/// What a sandbox says on standard error, on its way up and later: read for as long as this daemon lives, so that it never
/// waits; the last of it is kept.
#[derive(Clone, Default)]
pub struct Complaints(Arc<Mutex<Vec<u8>>>);

impl Complaints {
    fn listen(mut pipe: tokio::process::ChildStderr) -> Self {
        let complaints = Self::default();
        let kept = complaints.0.clone();
        tokio::spawn(async move {
            let mut piece = [0; MAX_COMPLAINT];
            while let Ok(read @ 1..) = pipe.read(&mut piece).await {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(&piece[..read]);
                let surplus = kept.len().saturating_sub(MAX_COMPLAINT);
                kept.drain(..surplus);
            }
        });
        complaints
    }

    pub fn in_error(&self, message: &str) -> HostError {
        let output = super::run::tail(&self.0.lock().unwrap_or_else(PoisonError::into_inner));
        HostError { code: HostErrorCode::Failed, message: message.to_owned(), output }
    }
}

/// Runs the entry to the point where the sandbox runs by itself.
async fn start(ground: &Ground, entry: &Entry, log: &Path) -> Result<Complaints, HostError> {
    let mut command = tokio::process::Command::new(&ground.program);
    command.arg("sandbox").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    super::run::ends_with_daemon(&mut command);
    let mut child = command.spawn().map_err(failed("the sandbox"))?;
    let stdin = child.stdin.take();
    let complaints = child.stderr.take().map(Complaints::listen).unwrap_or_default();
    let input = serde_json::to_vec(entry).map_err(io::Error::from).map_err(failed("the sandbox"))?;
    let work = async {
        if let Some(mut stdin) = stdin {
            stdin.write_all(&input).await?;
        }
        child.wait().await
    };
    match timeout(BOOT_DEADLINE, work).await {
        Err(_) => Err(HostError::new(HostErrorCode::Timeout, format!("the sandbox did not boot within {} s", BOOT_DEADLINE.as_secs()))),
        Ok(Err(error)) => Err(failed("the sandbox")(error)),
        Ok(Ok(status)) if status.success() => Ok(complaints),
        Ok(Ok(status)) => {
            // gVisor's log may not be there, when it was not reached.
            let logged = fs::read(log).unwrap_or_default();
            let mut error = complaints.in_error(&format!("the sandbox did not boot ({status})"));
            error.output = super::run::tail(&[error.output.as_bytes(), b"\n", &logged].concat());
            Err(error)
        }
    }
}

/// Ends whatever is there of the sandbox: processes, gVisor's state, control group, network, bundle. The layer stays.
pub async fn end(ground: &Ground, network: &network::Network, place: &Place, known: &[i32]) -> Result<(), HostError> {
    ground.cgroups.destroy(&place.container(), known).await.map_err(failed("the end of the sandbox"))?;
    ground.runsc.forget(&place.container()).await?;
    network.remove(place).await?;
    gone(fs::remove_dir_all(&place.run)).map_err(failed("the sandbox's folder"))?;
    rootfs::released(place).await
}

/// When a process started, in ticks since boot; None for one that is gone or a zombie.
pub fn started_at(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut words = stat.rsplit_once(')')?.1.split_whitespace();
    if words.next()? == "Z" {
        return None;
    }
    words.nth(18)?.parse().ok()
}

impl Running {
    pub fn is_alive(&self) -> bool {
        started_at(self.pid) == Some(self.started)
    }

    /// Written when it has booted in full: one that is half way when its daemon is killed is not adopted, but swept.
    pub fn keep(&self, place: &Place) -> Result<(), HostError> {
        let kept = serde_json::to_vec(self).map_err(io::Error::from).and_then(|json| super::write_durably(&place.run.join("sandbox.json"), &json));
        kept.map_err(failed("the sandbox's record"))
    }

    /// What a sandbox's folder says of it; None where there is none, or a half-written one.
    pub fn read(place: &Place) -> Option<Self> {
        serde_json::from_slice(&fs::read(place.run.join("sandbox.json")).ok()?).ok()
    }
}

/// `pinacle-host sandbox`: enters the pod's control group and a mount namespace of its own, mounts its disk there, and
/// becomes runsc. Comes back only with an error.
pub fn enter() -> io::Error {
    match prepare() {
        Ok(mut command) => command.exec(),
        Err(error) => error,
    }
}

fn prepare() -> io::Result<std::process::Command> {
    use nix::mount::{MsFlags, mount};
    let mut input = Vec::new();
    io::stdin().lock().read_to_end(&mut input)?;
    let entry: Entry = serde_json::from_slice(&input)?;
    let own = std::process::id().to_string();
    for file in &entry.cgroup_files {
        fs::write(file, &own).map_err(at("the control group"))?;
    }
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)?;
    // What the host mounts and unmounts later still arrives here; nothing goes the other way.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>)?;
    mount_disk(&entry)?;
    if entry.hide_sysctl {
        hide_network_settings(&entry.netns).map_err(at("the network's settings"))?;
    }
    let arguments = entry.arguments.into_iter().map(OsString::from_vec);
    let mut command = std::process::Command::new(&entry.program);
    // The sandbox inherits these; what it says on standard error the daemon listens to.
    command.args(arguments).env_clear().stdin(Stdio::null()).stdout(Stdio::null());
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    Ok(command)
}

fn at(what: &str) -> impl Fn(io::Error) -> io::Error + '_ {
    move |error| io::Error::new(error.kind(), format!("{what}: {error}"))
}

fn mount_disk(entry: &Entry) -> io::Result<()> {
    use nix::mount::{MsFlags, mount};
    let done = std::process::Command::new("mount")
        .args(["-t", "ext4", "-o", "loop,noatime,nosuid,nodev", "--"])
        .args([&entry.layer, &entry.layer_mount])
        .stdin(Stdio::null())
        .output()
        .map_err(at("mount"))?;
    if !done.status.success() {
        return Err(io::Error::other(format!("the layer could not be mounted: {}", super::run::tail(&done.stderr))));
    }
    let (upper, work) = (entry.layer_mount.join("upper"), entry.layer_mount.join("work"));
    // A folder has its mode from the first moment on, or one that is killed here would leave a /tmp that is root's alone.
    let umask = nix::sys::stat::umask(nix::sys::stat::Mode::empty());
    for (folder, mode) in [(&upper, 0o755), (&work, 0o755), (&entry.layer_mount.join("tmp"), 0o1777)] {
        match DirBuilder::new().mode(mode).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(at("the layer")(error)),
            _ => {}
        }
    }
    nix::sys::stat::umask(umask);
    let options = format!("lowerdir={},upperdir={},workdir={}", entry.image.display(), upper.display(), work.display());
    mount(Some("overlay"), &entry.rootfs, Some("overlay"), MsFlags::MS_NOATIME, Some(options.as_str()))
        .map_err(io::Error::from)
        .map_err(at("the overlay"))
}

/// gvisor #10704: where the kernel shows this folder in every network namespace, older releases take each for the host's own.
fn hide_network_settings(netns: &Path) -> io::Result<()> {
    use nix::{
        mount::{MsFlags, mount},
        sched::{CloneFlags, setns},
    };
    const SETTINGS: &str = "/proc/sys/net/core";
    let (own, pods) = (fs::File::open("/proc/self/ns/net")?, fs::File::open(netns)?);
    setns(&pods, CloneFlags::CLONE_NEWNET)?;
    if Path::new(SETTINGS).join("rmem_default").exists() {
        mount(Some("tmpfs"), SETTINGS, Some("tmpfs"), MsFlags::MS_RDONLY, None::<&str>)?;
    }
    setns(&own, CloneFlags::CLONE_NEWNET)?;
    Ok(())
}
