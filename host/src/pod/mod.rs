//! What a pod is on its host: a layer, a network namespace, a control group, a sandbox. Each file makes and removes one
//! of them; every function brings about a state, whatever it finds.

pub mod bundle;
pub mod cgroup;
pub mod network;
pub mod orphan;
pub mod rootfs;
pub mod run;
pub mod runsc;
pub mod sandbox;

use crate::protocol::{HostError, HostErrorCode};
use std::{
    fs, io,
    path::{Path, PathBuf},
};
use uuid::Uuid;

/// Where everything of one pod lies on this host, and what it is called.
#[derive(Clone, Debug)]
pub struct Place {
    pub id: Uuid,
    /// Outlives a reboot: the layer and what is known of the pod.
    pub state: PathBuf,
    /// Ends with a reboot: the bundle of a sandbox that runs.
    pub run: PathBuf,
    /// Network namespace: `<prefix>-<short id>`.
    pub netns: String,
    /// The host's end of the link, 15 characters.
    pub link: String,
}

impl Place {
    /// gVisor's id of the sandbox; all have one length, because it resolves prefixes.
    pub fn container(&self) -> String {
        self.id.simple().to_string()
    }

    pub fn layer(&self) -> PathBuf {
        self.state.join("layer.img")
    }
}

/// The last 11 hexadecimal digits: the random end of an id, where a time-ordered one has its time in front.
pub fn short(id: Uuid) -> String {
    id.simple().to_string()[21..].to_owned()
}

/// A fault of this host, in words.
pub fn failed(what: &str) -> impl Fn(io::Error) -> HostError + '_ {
    move |error| {
        let code = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => HostErrorCode::NoSpace,
            _ => HostErrorCode::Failed,
        };
        HostError::new(code, format!("{what}: {error}"))
    }
}

/// Whether it is gone, by whomever.
pub fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Replaces a file at once and for good: after this returns, a power cut changes nothing.
pub fn write_durably(path: &Path, content: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let folder = path.parent().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let new = path.with_extension("new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    io::Write::write_all(&mut file, content)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    fs::File::open(folder)?.sync_all()
}
