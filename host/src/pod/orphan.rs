//! Layers of pods that the control plane does not know: set aside, listed, and taken back when it knows the pod after all.
//! A layer lies here as `<pod id>.img`; when it was set aside is the file's own time, which moves with it. Either way the
//! renaming is what commits: a layer is in one of the two places and whole, whenever the daemon is killed.

use super::{Place, gone};
use crate::protocol::OrphanSeen;
use std::{
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use uuid::Uuid;

/// How long a layer is kept after it was set aside.
pub const KEEP: Duration = Duration::from_secs(7 * 24 * 3600);
/// How many are listed, the oldest first.
pub const MAX_LISTED: usize = 1000;

pub struct Orphans {
    folder: PathBuf,
}

impl Orphans {
    pub fn open(state_dir: &Path) -> io::Result<Self> {
        let folder = state_dir.join("orphaned");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        Ok(Self { folder })
    }

    fn file(&self, pod: Uuid) -> PathBuf {
        self.folder.join(format!("{pod}.img"))
    }

    pub fn has(&self, pod: Uuid) -> bool {
        self.file(pod).exists()
    }

    /// Bytes that the layer takes on the host's disk.
    pub fn allocated(&self, pod: Uuid) -> u64 {
        fs::metadata(self.file(pod)).map_or(0, |about| about.blocks() * 512)
    }

    /// Sets the pod's layer aside, where there is one. Nothing uses it any more.
    pub fn set_aside(&self, place: &Place) -> io::Result<()> {
        let layer = match File::options().write(true).open(place.layer()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        if self.has(place.id) {
            let message = format!("{}: another layer of the pod was set aside before", self.file(place.id).display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
        }
        layer.set_modified(SystemTime::now())?;
        layer.sync_all()?;
        fs::rename(place.layer(), self.file(place.id))?;
        self.sync_with(place)
    }

    /// Gives the pod its layer back. False: there is none here.
    pub fn take_back(&self, place: &Place) -> io::Result<bool> {
        if !self.has(place.id) {
            return Ok(false);
        }
        fs::create_dir_all(&place.state)?;
        fs::rename(self.file(place.id), place.layer())?;
        self.sync_with(place)?;
        Ok(true)
    }

    fn sync_with(&self, place: &Place) -> io::Result<()> {
        [&self.folder, &place.state].into_iter().try_for_each(|folder| File::open(folder)?.sync_all())
    }

    pub fn remove(&self, pod: Uuid) -> io::Result<()> {
        gone(fs::remove_file(self.file(pod)))
    }

    /// The layers that are here, the oldest first.
    pub fn list(&self) -> io::Result<Vec<OrphanSeen>> {
        let mut orphans = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let Some(pod) = entry.file_name().to_str().and_then(|name| name.strip_suffix(".img")?.parse().ok()) else { continue };
            match entry.metadata() {
                Ok(about) => {
                    let age = about.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
                    let set_aside = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
                    orphans.push(OrphanSeen { pod, set_aside, disk_bytes: about.blocks() * 512 });
                }
                // Taken back or removed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        orphans.sort_unstable_by_key(|orphan| (orphan.set_aside, orphan.pod));
        Ok(orphans)
    }

    /// Whether the layer has been here for longer than [`KEEP`]. A clock that was set back keeps it.
    pub fn has_expired(&self, pod: Uuid) -> io::Result<bool> {
        match fs::metadata(self.file(pod)) {
            Ok(about) => Ok(SystemTime::now().duration_since(about.modified()?).unwrap_or_default() > KEEP),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(state: &Path, id: Uuid) -> Place {
        let folder = state.join("pods").join(id.to_string());
        Place { id, state: folder, run: state.join("run"), netns: String::new(), link: String::new() }
    }

    #[test]
    fn a_layer_is_kept_for_a_week_and_given_back_as_it_was() {
        let state = std::env::temp_dir().join(format!("pinacle-orphans-{}", std::process::id()));
        gone(fs::remove_dir_all(&state)).unwrap();
        let (orphans, pod) = (Orphans::open(&state).unwrap(), Uuid::from_u128(7));
        let place = place(&state, pod);
        orphans.set_aside(&place).unwrap();
        assert!(!orphans.take_back(&place).unwrap() && orphans.list().unwrap().is_empty());

        fs::create_dir_all(&place.state).unwrap();
        fs::write(place.layer(), "work").unwrap();
        File::options().write(true).open(place.layer()).unwrap().set_modified(SystemTime::now() - 2 * KEEP).unwrap();
        orphans.set_aside(&place).unwrap();
        orphans.set_aside(&place).unwrap();
        let listed = orphans.list().unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
        assert!(listed.len() == 1 && listed[0].pod == pod && (now - listed[0].set_aside).abs() < 60, "{listed:?}");
        assert!(!orphans.has_expired(pod).unwrap(), "it is as old as its being set aside");

        fs::remove_dir_all(&place.state).unwrap();
        assert!(orphans.take_back(&place).unwrap());
        assert_eq!(fs::read_to_string(place.layer()).unwrap(), "work");
        orphans.set_aside(&place).unwrap();
        File::options().write(true).open(orphans.file(pod)).unwrap().set_modified(SystemTime::now() - KEEP - Duration::from_secs(60)).unwrap();
        assert!(orphans.has_expired(pod).unwrap());
        fs::write(place.layer(), "newer").unwrap();
        assert_eq!(orphans.set_aside(&place).unwrap_err().kind(), io::ErrorKind::AlreadyExists, "nothing is overwritten");
        fs::remove_dir_all(state).unwrap();
    }
}
