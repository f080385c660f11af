//! Which TCP ports something in the pod listens on, from /proc/net.

use super::sessions::session;
use crate::{inside::INIT_PORT, protocol::Port};
use std::{
    collections::{BTreeMap, HashMap},
    fs,
};

/// Ports that are reported; a pod that opens more keeps them to itself.
const MAX_PORTS: usize = 128;
/// State of a listening socket in /proc/net/tcp.
const LISTEN: &str = "0A";

/// Listening ports in order, each with the inode of one of its sockets.
pub fn listening() -> BTreeMap<u16, u64> {
    let mut ports = BTreeMap::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        // A pod without IPv6 has no tcp6.
        let Ok(text) = fs::read_to_string(table) else { continue };
        for (port, inode) in text.lines().skip(1).filter_map(entry) {
            if port != INIT_PORT && ports.len() < MAX_PORTS {
                ports.insert(port, inode);
            }
        }
    }
    ports
}

/// `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …`
fn entry(line: &str) -> Option<(u16, u64)> {
    let mut words = line.split_whitespace();
    let local = words.nth(1)?;
    let state = words.nth(1)?;
    if state != LISTEN {
        return None;
    }
    let port = u16::from_str_radix(local.rsplit(':').next()?, 16).ok()?;
    Some((port, words.nth(5)?.parse().ok()?))
}

/// Names the process that each port belongs to: the one that was given the port, else the one whose session holds its socket.
pub fn named(ports: &BTreeMap<u16, u64>, by_port: &HashMap<u16, String>, by_session: &HashMap<i32, String>) -> Vec<Port> {
    let sessions = if ports.keys().all(|port| by_port.contains_key(port)) || by_session.is_empty() { HashMap::new() } else { sessions_of_sockets() };
    ports
        .iter()
        .map(|(port, inode)| {
            let session = sessions.get(inode).and_then(|session| by_session.get(session));
            Port { port: *port, process: by_port.get(port).or(session).cloned() }
        })
        .collect()
}

/// Inode of a socket → session of a process that holds it.
fn sessions_of_sockets() -> HashMap<u64, i32> {
    let mut sessions = HashMap::new();
    let Ok(processes) = fs::read_dir("/proc") else { return sessions };
    // A process that ends while it is looked at is skipped.
    for process in processes.flatten().filter(|p| p.file_name().to_str().is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()))) {
        let Some(session) = fs::read_to_string(process.path().join("stat")).ok().and_then(|stat| session(&stat)) else { continue };
        let Ok(files) = fs::read_dir(process.path().join("fd")) else { continue };
        for link in files.flatten().filter_map(|file| fs::read_link(file.path()).ok()) {
            if let Some(inode) = link.to_str().and_then(|l| l.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()) {
                sessions.insert(inode, session);
            }
        }
    }
    sessions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listening_socket_is_told_from_a_connected_one() {
        let listening = "   0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0 100 0 0 10 0";
        assert_eq!(entry(listening), Some((3000, 4711)));
        assert_eq!(entry(&listening.replace(" 0A ", " 01 ")), None);
        let six = "   0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 42 1";
        assert_eq!(entry(six), Some((8080, 42)));
        assert_eq!(entry("nonsense"), None);
    }
}
