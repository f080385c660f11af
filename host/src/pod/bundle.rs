//! The OCI description of a pod's sandbox (opencontainers/runtime-spec 1.0).

use crate::inside::INIT_PROGRAM;
use serde_json::{Value, json};
use std::path::Path;

/// What root in a pod may do. Everything it does, it does to gVisor's kernel; yet what no developer needs is left out.
/// sudo, package managers and servers need these.
const CAPABILITIES: [&str; 13] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];
/// File descriptors a process; `setrlimit` raises it no further.
const OPEN_FILES: u64 = 65_536;

pub struct Bundle<'a> {
    pub hostname: &'a str,
    pub rootfs: &'a Path,
    /// Folder with `boot.json`.
    pub boot: &'a Path,
    pub init: &'a Path,
    /// Folder on the layer that is the pod's /tmp: on disk, since gVisor would put it into memory.
    pub tmp: &'a Path,
    pub netns: &'a Path,
    /// Made and limited by the daemon; gVisor joins it, and shows its limit of memory in the pod as the machine's own.
    pub cgroup: &'a str,
    pub memory_bytes: u64,
}

impl Bundle<'_> {
    /// The content of `config.json`.
    pub fn config(&self) -> Value {
        let bind = |destination: &str, source: &Path, mode: &str| json!({ "destination": destination, "type": "bind", "source": source, "options": ["bind", mode] });
        let tmpfs = |destination: &str, mode: &str| json!({ "destination": destination, "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", format!("mode={mode}")] });
        json!({
            "ociVersion": "1.0.2",
            "hostname": self.hostname,
            "root": { "path": self.rootfs, "readonly": false },
            "process": {
                "terminal": false,
                "user": { "uid": 0, "gid": 0 },
                "args": [INIT_PROGRAM],
                "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
                "cwd": "/",
                "noNewPrivileges": false,
                "capabilities": { "bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES },
                "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": OPEN_FILES, "soft": OPEN_FILES }],
            },
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"] },
                { "destination": "/dev/pts", "type": "devpts", "source": "devpts" },
                tmpfs("/dev/shm", "1777"),
                tmpfs("/run", "0755"),
                bind("/tmp", self.tmp, "rw"),
                bind("/.pinacle/boot", self.boot, "ro"),
                bind(INIT_PROGRAM, self.init, "ro"),
            ],
            "linux": {
                "cgroupsPath": self.cgroup,
                "resources": { "memory": { "limit": self.memory_bytes } },
                "namespaces": [
                    { "type": "pid" },
                    { "type": "ipc" },
                    { "type": "uts" },
                    { "type": "mount" },
                    { "type": "network", "path": self.netns },
                ],
            },
        })
    }
}
