//! What the daemon keeps across restarts, in files that are replaced at once: from joining, the highest fence of each pod,
//! and what is known of each pod.

use crate::{
    pod::{gone, write_durably},
    protocol::{HostError, HostErrorCode, Installation, JoinReply},
};
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::HashMap,
    fs, io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};
use uuid::Uuid;

/// How long the fence of a deleted pod is remembered.
const KEEP_FENCES: Duration = Duration::from_secs(30 * 24 * 3600);

/// What the host keeps from joining.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Joined {
    pub host_id: Uuid,
    pub installation: Installation,
    pub pod_cidr: Ipv4Net,
}

impl Joined {
    pub fn parse(reply: &JoinReply) -> Result<Self, HostError> {
        let invalid = |what: &str| HostError::new(HostErrorCode::Invalid, format!("the host does not take {what}"));
        let range: Ipv4Net = reply.pod_cidr.parse().map_err(|_| invalid("that range of addresses"))?;
        let private: [Ipv4Net; 3] = [
            Ipv4Net::new_assert([10, 0, 0, 0].into(), 8),
            Ipv4Net::new_assert([172, 16, 0, 0].into(), 12),
            Ipv4Net::new_assert([192, 168, 0, 0].into(), 16),
        ];
        let fits = private.iter().any(|net| net.contains(&range)) && (16..=29).contains(&range.prefix_len());
        if fits {
            Ok(Self { host_id: reply.host_id, installation: reply.installation, pod_cidr: range.trunc() })
        } else {
            Err(invalid("that range of addresses"))
        }
    }
}

/// What is known of a pod, whether or not it runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PodRecord {
    /// Given by `Network`, taken by `Stop`.
    pub address: Option<Ipv4Addr>,
    /// Of the last boot; 0 when there was none.
    pub generation: i64,
    /// Why it ended by itself, as in `PodReport::ended`.
    pub ended: Option<String>,
    /// What `Layer` asked for last: a pod that runs gets it with its next boot. 0 when it is not known.
    pub disk_bytes: u64,
}

pub struct Store {
    folder: PathBuf,
    fences: Mutex<HashMap<Uuid, i64>>,
}

impl Store {
    pub fn open(folder: &Path) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        for part in ["pods", "fences"] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder.join(part))?;
        }
        let store = Self { folder: folder.to_owned(), fences: Mutex::default() };
        store.load_fences()?;
        Ok(store)
    }

    fn load_fences(&self) -> io::Result<()> {
        let mut fences = self.fences.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in fs::read_dir(self.folder.join("fences"))? {
            let entry = entry?;
            let Some(pod) = entry.file_name().to_str().and_then(|name| name.parse::<Uuid>().ok()) else { continue };
            // Of a damaged file nothing is known: refusing every command would keep the pod from ever being mended or deleted.
            match fs::read_to_string(entry.path()).map(|text| text.trim().parse()) {
                Ok(Ok(fence)) => drop(fences.insert(pod, fence)),
                _ => tracing::error!(%pod, file = %entry.path().display(), "holds no fence: the next command's is taken"),
            }
        }
        Ok(())
    }

    /// Forgets the fences of pods that were deleted long ago.
    pub fn forget_fences(&self) -> io::Result<()> {
        let known: Vec<Uuid> = self.fences.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect();
        for pod in known.into_iter().filter(|pod| !self.pod_folder(*pod).exists()) {
            let file = self.folder.join("fences").join(pod.to_string());
            let age = SystemTime::now().duration_since(fs::metadata(&file)?.modified()?).unwrap_or_default();
            if age > KEEP_FENCES {
                self.fences.lock().unwrap_or_else(PoisonError::into_inner).remove(&pod);
                gone(fs::remove_file(file))?;
            }
        }
        Ok(())
    }

    pub fn joined(&self) -> io::Result<Option<Joined>> {
        read(&self.folder.join("joined.json"))
    }

    pub fn join(&self, joined: &Joined) -> io::Result<()> {
        write_durably(&self.folder.join("joined.json"), &serde_json::to_vec(joined)?)
    }

    /// The highest fence seen for a pod; 0 before the first.
    pub fn fence(&self, pod: Uuid) -> i64 {
        self.fences.lock().unwrap_or_else(PoisonError::into_inner).get(&pod).copied().unwrap_or(0)
    }

    /// Admits a command with this fence, and refuses every lower one from now on. Called by one command a pod at a time.
    pub fn raise_fence(&self, pod: Uuid, fence: i64) -> Result<(), HostError> {
        let seen = self.fence(pod);
        if fence < seen {
            return Err(HostError::new(HostErrorCode::StaleFence, format!("the host has seen fence {seen}, this is {fence}")));
        }
        if fence > seen {
            write_durably(&self.folder.join("fences").join(pod.to_string()), fence.to_string().as_bytes())
                .map_err(crate::pod::failed("the pod's fence"))?;
            self.fences.lock().unwrap_or_else(PoisonError::into_inner).insert(pod, fence);
        }
        Ok(())
    }

    /// As `raise_fence`, for what makes room: on a full disk the fence is held in memory until `keep_fence`.
    pub fn raise_fence_to_make_room(&self, pod: Uuid, fence: i64) -> Result<(), HostError> {
        match self.raise_fence(pod, fence) {
            Err(error) if error.code == HostErrorCode::NoSpace => {
                tracing::warn!(%pod, fence, "the disk is full: a fence is written after what it admits was removed");
                self.fences.lock().unwrap_or_else(PoisonError::into_inner).insert(pod, fence);
                Ok(())
            }
            other => other,
        }
    }

    /// Writes a deleted pod's fence down; begins the 30 days after which it may be forgotten.
    pub fn keep_fence(&self, pod: Uuid) -> io::Result<()> {
        write_durably(&self.folder.join("fences").join(pod.to_string()), self.fence(pod).to_string().as_bytes())
    }

    pub fn pod_folder(&self, pod: Uuid) -> PathBuf {
        self.folder.join("pods").join(pod.to_string())
    }

    /// Every pod that has a folder here.
    pub fn pods(&self) -> io::Result<Vec<Uuid>> {
        let names: io::Result<Vec<_>> = fs::read_dir(self.folder.join("pods"))?.map(|entry| Ok(entry?.file_name())).collect();
        Ok(names?.into_iter().filter_map(|name| name.to_str()?.parse().ok()).collect())
    }

    pub fn record(&self, pod: Uuid) -> io::Result<PodRecord> {
        Ok(read(&self.pod_folder(pod).join("pod.json"))?.unwrap_or_default())
    }

    /// Keeps why a pod's sandbox ended by itself.
    pub fn note_end(&self, pod: Uuid, why: &str) -> io::Result<()> {
        let mut record = self.record(pod)?;
        record.ended = Some(why.to_owned());
        self.keep_record(pod, &record)
    }

    pub fn keep_record(&self, pod: Uuid, record: &PodRecord) -> io::Result<()> {
        fs::create_dir_all(self.pod_folder(pod))?;
        write_durably(&self.pod_folder(pod).join("pod.json"), &serde_json::to_vec(record)?)
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(content) => Ok(Some(serde_json::from_slice(&content)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("pinacle-store-{name}-{}", std::process::id()));
        gone(fs::remove_dir_all(&folder)).unwrap();
        folder
    }

    #[test]
    fn a_lower_fence_is_refused_also_after_a_restart_until_a_pod_is_long_gone() {
        let folder = folder("fence");
        let pod = Uuid::from_u128(7);
        let store = Store::open(&folder).unwrap();
        store.raise_fence(pod, 5).unwrap();
        store.raise_fence(pod, 5).unwrap();
        let again = Store::open(&folder).unwrap();
        assert_eq!(again.raise_fence(pod, 4).unwrap_err().code, HostErrorCode::StaleFence);
        again.raise_fence(pod, 6).unwrap();

        let file = fs::File::options().write(true).open(folder.join("fences").join(pod.to_string())).unwrap();
        file.set_modified(SystemTime::now() - KEEP_FENCES + Duration::from_secs(60)).unwrap();
        again.forget_fences().unwrap();
        assert_eq!(again.fence(pod), 6);
        file.set_modified(SystemTime::now() - KEEP_FENCES - Duration::from_secs(60)).unwrap();
        again.forget_fences().unwrap();
        assert_eq!((again.fence(pod), Store::open(&folder).unwrap().fence(pod)), (0, 0));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_host_takes_a_private_range_alone() {
        let reply = |range: &str| JoinReply {
            host_id: Uuid::nil(),
            installation: Installation { id: Uuid::nil(), epoch: 1 },
            pod_cidr: range.into(),
            control_key: String::new(),
        };
        for (range, fine) in [("10.88.3.0/24", true), ("8.8.8.0/24", false), ("10.0.0.0/8", false), ("10.88.3.0/31", false), ("x", false)] {
            assert_eq!(Joined::parse(&reply(range)).is_ok(), fine, "{range}");
        }
    }
}
