//! What a host is: its kernel, its gVisor, its size.

use crate::{
    daemon::Options,
    pod::{cgroup::Cgroups, runsc::Runsc},
    protocol::{Inventory, OrphanSeen, PodSeen},
};
use std::{fs, io, path::Path};
use uuid::Uuid;

/// What does not change while the daemon runs.
#[derive(Clone, Debug)]
pub struct Facts {
    pub boot_id: Uuid,
    /// Thousandths of a core.
    pub cpu_milli: u32,
    kernel: String,
    runsc_version: String,
    runsc_platform: String,
    cgroup: String,
    image: String,
    memory_bytes: u64,
}

impl Facts {
    pub fn gather(options: &Options, runsc: &Runsc, cgroups: &Cgroups) -> io::Result<Self> {
        if !options.image.join("usr").is_dir() || !options.init.is_file() {
            let what = format!("no base image in {}, or no program {}", options.image.display(), options.init.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, what));
        }
        let cores = std::thread::available_parallelism()?.get();
        Ok(Self {
            boot_id: boot_id(&options.run_dir)?,
            cpu_milli: u32::try_from(cores * 1000).unwrap_or(u32::MAX),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            runsc_version: runsc.version.clone(),
            runsc_platform: runsc.platform.clone(),
            cgroup: cgroups.version().to_owned(),
            image: image_name(&options.image)?,
            memory_bytes: total_memory(&fs::read_to_string("/proc/meminfo")?)?,
        })
    }

    /// The host as it is now.
    pub fn inventory(&self, state_dir: &Path, pods: Vec<PodSeen>, orphans: Vec<OrphanSeen>) -> io::Result<Inventory> {
        let disk = nix::sys::statvfs::statvfs(state_dir)?;
        Ok(Inventory {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            boot_id: self.boot_id,
            kernel: self.kernel.clone(),
            runsc_version: self.runsc_version.clone(),
            runsc_platform: self.runsc_platform.clone(),
            cgroup: self.cgroup.clone(),
            image: self.image.clone(),
            cpu_milli: self.cpu_milli,
            memory_bytes: self.memory_bytes,
            disk_bytes: disk.blocks() * disk.fragment_size(),
            disk_free_bytes: disk.blocks_available() * disk.fragment_size(),
            pods,
            orphans,
        })
    }
}

/// New with every boot of the host, because the folder is; the kernel's own is shared by hosts that are namespaces.
fn boot_id(run_dir: &Path) -> io::Result<Uuid> {
    let path = run_dir.join("boot-id");
    let known = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        other => Some(other?),
    };
    if let Some(id) = known.and_then(|text| text.trim().parse().ok()) {
        return Ok(id);
    }
    // Random with every reading.
    let fresh = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    fs::write(&path, fresh.trim())?;
    fresh.trim().parse().map_err(io::Error::other)
}

/// As the image says in /etc/pinacle-image, else its folder's name.
fn image_name(image: &Path) -> io::Result<String> {
    match fs::read_to_string(image.join("etc/pinacle-image")) {
        Ok(name) => Ok(name.trim().chars().take(64).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(image.file_name().unwrap_or_default().to_string_lossy().into_owned()),
        Err(error) => Err(error),
    }
}

/// `MemTotal:  24669348 kB`
fn total_memory(meminfo: &str) -> io::Result<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kilobytes.map(|kb| kb * 1024).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/meminfo has no MemTotal"))
}
