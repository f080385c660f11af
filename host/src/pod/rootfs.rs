//! A pod's disk: a sparse ext4 file of the tier's size, whose overlay over the base image is the pod's root.
//! It is mounted in the mount namespace of the one sandbox that uses it and nowhere else: what ends the sandbox, however
//! hard, unmounts it, and no mount is ever left to be swept.

use super::{Place, failed, gone, run::run};
use crate::protocol::{HostError, HostErrorCode};
use std::{
    fs::{self, File},
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{FileExt, MetadataExt},
    },
    path::Path,
    time::{Duration, Instant},
};

const MKFS_DEADLINE: Duration = Duration::from_secs(60);
const RESIZE_DEADLINE: Duration = Duration::from_secs(300);
/// The kernel lets go of a file soon after the last mount of it has ended.
const RELEASE_DEADLINE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Makes the layer, or grows it to the size; one that is larger stays as it is. The pod does not run.
pub async fn ensure_layer(place: &Place, disk_bytes: u64) -> Result<(), HostError> {
    fs::create_dir_all(&place.state).map_err(failed("the pod's folder"))?;
    let exists = fs::exists(place.layer()).map_err(failed("the pod's layer"))?;
    if exists { grow(place, disk_bytes).await } else { make(place, disk_bytes).await }
}

async fn make(place: &Place, disk_bytes: u64) -> Result<(), HostError> {
    let layer = place.layer();
    // Under its name only when it is whole.
    let new = layer.with_extension("new");
    gone(fs::remove_file(&new)).map_err(failed("a half-made layer"))?;
    File::create_new(&new).map_err(failed("the pod's layer"))?;
    set_length(&new, disk_bytes)?;
    let options = ["-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0", "-t", "ext4", "--"];
    let arguments: Vec<&std::ffi::OsStr> = options.iter().map(|o| (*o).as_ref()).chain([new.as_os_str()]).collect();
    run("mkfs.ext4", &arguments, &[], MKFS_DEADLINE).await?;
    File::open(&new).and_then(|file| file.sync_all()).map_err(failed("the pod's layer"))?;
    fs::rename(&new, &layer).map_err(failed("the pod's layer"))?;
    File::open(&place.state).and_then(|folder| folder.sync_all()).map_err(failed("the pod's folder"))
}

/// Grows the layer that is there to the size; one that is larger stays as it is. The pod does not run.
pub async fn grow(place: &Place, disk_bytes: u64) -> Result<(), HostError> {
    let layer = place.layer();
    let length = fs::metadata(&layer).map_err(failed("the pod's layer"))?.len();
    if length >= disk_bytes && fills(&layer, length).map_err(failed("the pod's layer"))? {
        return Ok(());
    }
    released(place).await?;
    check(&layer).await?;
    if length < disk_bytes {
        set_length(&layer, disk_bytes)?;
    }
    run("resize2fs", &[layer.as_os_str()], &[], RESIZE_DEADLINE).await.map(drop)
}

/// Whether the file system reaches to the file's end, but for a last group of blocks too small to be one. A daemon that is
/// killed between the two steps of growing leaves one that doesn't.
fn fills(layer: &Path, length: u64) -> io::Result<bool> {
    // struct ext4_super_block (kernel.org, "ext4 Data Structures"): s_blocks_count_lo, s_log_block_size, s_blocks_per_group, s_blocks_count_hi.
    let mut block = [0; 1024];
    File::open(layer)?.read_exact_at(&mut block, 1024)?;
    let field = |at: usize| u64::from(u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]));
    let block_bytes = 1024_u64.checked_shl(block[0x18].into()).unwrap_or(0);
    let blocks = field(0x04) | (field(0x150) << 32);
    let reached = blocks.saturating_add(field(0x20)).saturating_mul(block_bytes);
    Ok(reached > length)
}

fn set_length(file: &Path, bytes: u64) -> Result<(), HostError> {
    File::options().write(true).open(file).and_then(|file| file.set_len(bytes)).map_err(failed("the size of the pod's layer"))
}

/// What a growing file system must have seen first. 1 means "mended".
async fn check(layer: &Path) -> Result<(), HostError> {
    match run("e2fsck", &["-f".as_ref(), "-p".as_ref(), layer.as_os_str()], &[], RESIZE_DEADLINE).await {
        Err(error) if error.message.ends_with("(exit status: 1)") => Ok(()),
        other => other.map(drop),
    }
}

/// Bytes that the layer takes on the host's disk.
pub fn allocated(place: &Place) -> u64 {
    fs::metadata(place.layer()).map_or(0, |about| about.blocks() * 512)
}

/// Waits until no loop device holds the layer: two on one file would destroy it.
pub async fn released(place: &Place) -> Result<(), HostError> {
    let deadline = Instant::now() + RELEASE_DEADLINE;
    while is_held(place).map_err(failed("the host's loop devices"))? {
        if Instant::now() > deadline {
            return Err(HostError::new(HostErrorCode::Timeout, "the pod's disk is still in use by a sandbox that has ended"));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// The path that the kernel shows may be cut short, seen from another mount namespace: it only says which devices to ask.
fn is_held(place: &Place) -> io::Result<bool> {
    let wanted = format!("{}/layer.img", place.id);
    let layer = match fs::metadata(place.layer()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        about => about?,
    };
    for device in fs::read_dir("/sys/block")? {
        let device = device?;
        if !device.file_name().to_string_lossy().starts_with("loop") {
            continue;
        }
        // A device without a file has no such entry, also when it has just lost it.
        match fs::read_to_string(device.path().join("loop/backing_file")) {
            Ok(file) if file.contains(&wanted) && backing_inode(&device.file_name())? == Some(layer.ino()) => return Ok(true),
            _ => {}
        }
    }
    Ok(false)
}

/// Inode of the file behind a loop device; None when it has just let go of it.
fn backing_inode(device: &std::ffi::OsStr) -> io::Result<Option<u64>> {
    // linux/loop.h: LOOP_GET_STATUS64 fills a struct loop_info64 of 232 bytes; its second field is the inode.
    const LOOP_GET_STATUS64: nix::libc::Ioctl = 0x4C05;
    let gone = |error: &io::Error| matches!(error.raw_os_error(), Some(nix::libc::ENXIO | nix::libc::ENOENT));
    let device = match File::open(Path::new("/dev").join(device)) {
        Err(error) if gone(&error) => return Ok(None),
        opened => opened?,
    };
    let mut info = [0_u64; 29];
    // SAFETY: `info` has the size of the structure, and outlives the call.
    let result = unsafe { nix::libc::ioctl(device.as_raw_fd(), LOOP_GET_STATUS64, info.as_mut_ptr()) };
    if result == 0 {
        return Ok(Some(info[1]));
    }
    let error = io::Error::last_os_error();
    if gone(&error) { Ok(None) } else { Err(error) }
}

/// Removes the layer for good. The pod does not run.
pub async fn remove(place: &Place) -> Result<(), HostError> {
    released(place).await?;
    gone(fs::remove_dir_all(&place.state)).map_err(failed("the pod's folder"))
}
