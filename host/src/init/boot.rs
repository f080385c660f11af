//! What a machine's boot would do: its name in its files (gVisor has set the name itself), its resolver, the folders for what lives until the next boot.

use crate::inside::{BOOT_FILE, Boot, DEV_UID};
use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown},
    path::Path,
};

/// Keys, secrets and the environment; on a tmpfs, so that no disk and no snapshot ever holds them.
pub const SECRETS: &str = "/run/pinacle";
/// What `dev` has for as long as the machine runs; on a tmpfs.
pub const RUNTIME: &str = "/run/user/1000";
pub const LOGS: &str = "/var/log/pinacle";

/// Reads what the daemon left for this boot and puts it in place.
pub fn prepare() -> io::Result<Boot> {
    let boot: Boot = serde_json::from_slice(&fs::read(BOOT_FILE)?)?;
    write(Path::new("/etc/hostname"), format!("{}\n", boot.hostname).as_bytes(), 0o644, 0)?;
    write(Path::new("/etc/resolv.conf"), format!("nameserver {}\noptions timeout:2 attempts:3\n", boot.gateway).as_bytes(), 0o644, 0)?;
    name_itself(&boot.hostname)?;
    for (folder, mode, owner) in [(SECRETS, 0o755, 0), (LOGS, 0o755, 0), ("/run/lock", 0o1777, 0), (RUNTIME, 0o700, DEV_UID)] {
        fs::create_dir_all(folder)?;
        fs::set_permissions(folder, fs::Permissions::from_mode(mode))?;
        chown(folder, Some(owner), Some(owner))?;
    }
    Ok(boot)
}

/// A line of the pod's own in /etc/hosts, beside whatever its owner has put there.
fn name_itself(hostname: &str) -> io::Result<()> {
    let path = Path::new("/etc/hosts");
    let mut hosts = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        other => other?,
    };
    let mut known = hosts.lines().filter(|l| !l.starts_with('#')).flat_map(str::split_whitespace).peekable();
    let (loopback, own) = known.by_ref().fold((false, false), |(l, o), word| (l || word == "localhost", o || word == hostname));
    if !loopback {
        hosts.push_str("127.0.0.1 localhost\n::1 localhost ip6-localhost\n");
    }
    if !own {
        hosts.push_str(&format!("127.0.1.1 {hostname}\n"));
    }
    if loopback && own { Ok(()) } else { write(path, hosts.as_bytes(), 0o644, 0) }
}

/// Replaces a file at once: it is never seen half written, nor with other rights. What is as it should be is left alone, so that
/// a pod whose disk is full starts as well.
pub fn write(path: &Path, content: &[u8], mode: u32, owner: u32) -> io::Result<()> {
    if is_so(path, content, mode, owner) {
        return Ok(());
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".pinacle-new");
    let new = path.with_file_name(name);
    if let Err(error) = fs::remove_file(&new)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(content)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    chown(&new, Some(owner), Some(owner))?;
    fs::rename(&new, path)
}

fn is_so(path: &Path, content: &[u8], mode: u32, owner: u32) -> bool {
    fs::symlink_metadata(path).is_ok_and(|file| {
        file.is_file()
            && file.mode() & 0o7777 == mode
            && (file.uid(), file.gid()) == (owner, owner)
            && fs::read(path).is_ok_and(|there| there == content)
    })
}
