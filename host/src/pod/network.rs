//! A pod's network: a namespace with one veth, /32 routes, no bridge; and the fence around all pods of this host.
//! TCP is refused with a reset and UDP as a port where nobody listens: gVisor's network stack takes no notice of ICMP's
//! other answers, and who asks would wait.

use super::{Place, failed, gone, run::run};
use crate::{
    inside::INIT_PORT,
    protocol::{HostError, HostErrorCode},
};
use ipnet::Ipv4Net;
use std::{collections::BTreeMap, fs, io, net::Ipv4Addr, path::Path, path::PathBuf, time::Duration};

const DEADLINE: Duration = Duration::from_secs(15);
const NAMESPACES: &str = "/run/netns";
/// What no pod reaches: this network, private, shared, loopback, link-local (metadata), benchmarks, multicast, reserved.
const CLOSED: &str = "0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, 172.16.0.0/12, 192.0.0.0/24, \
192.168.0.0/16, 198.18.0.0/15, 224.0.0.0/4, 240.0.0.0/4";

#[derive(Clone, Debug)]
pub struct Network {
    prefix: String,
    /// Three hexadecimal digits that tell this daemon's links from another's on the same machine.
    tag: String,
}

/// Addresses of a host's range: the first is the host's own end, the rest are the pods'.
pub fn gateway(range: Ipv4Net) -> Ipv4Addr {
    range.hosts().next().unwrap_or_else(|| range.network())
}

/// Whether a pod may have the address.
pub fn is_pod_address(range: Ipv4Net, address: Ipv4Addr) -> bool {
    range.contains(&address) && address != gateway(range) && address != range.network() && address != range.broadcast()
}

impl Network {
    pub fn new(prefix: &str) -> Self {
        // FNV-1a, folded: two prefixes of one machine differ, that is all it has to do.
        let hash = prefix.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        Self { prefix: prefix.to_owned(), tag: format!("{:03x}", (hash ^ (hash >> 12) ^ (hash >> 24)) & 0xfff) }
    }

    pub fn netns(&self, short: &str) -> String {
        format!("{}-{short}", self.prefix)
    }

    pub fn link(&self, short: &str) -> String {
        format!("p{}{short}", self.tag)
    }

    fn table(&self) -> String {
        format!("pinacle_{}", self.tag)
    }

    /// Puts the fence up, in one step, with the pods that run.
    pub async fn raise_fence(&self, range: Ipv4Net, pods: &BTreeMap<String, Ipv4Addr>) -> Result<(), HostError> {
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").map_err(failed("forwarding of packets"))?;
        run("nft", &["-f", "-"], self.rules(range, pods).as_bytes(), DEADLINE).await.map(drop)
    }

    fn rules(&self, range: Ipv4Net, pods: &BTreeMap<String, Ipv4Addr>) -> String {
        let (table, tag, gateway) = (self.table(), &self.tag, gateway(range));
        let elements: Vec<String> = pods.iter().map(|(link, address)| format!("\"{link}\" . {address}")).collect();
        let elements = if elements.is_empty() { String::new() } else { format!("elements = {{ {} }}", elements.join(", ")) };
        format!(
            r#"table inet {table}
delete table inet {table}
table inet {table} {{
  set pods {{ type ifname . ipv4_addr; {elements} }}
  chain refuse {{
    meta l4proto tcp reject with tcp reset
    meta l4proto udp reject with icmpx port-unreachable
    reject with icmpx admin-prohibited
  }}
  chain to_host {{
    type filter hook input priority filter; policy accept;
    iifname "p{tag}*" jump from_pod_to_host
  }}
  chain from_pod_to_host {{
    iifname . ip saddr != @pods drop
    ct state established,related accept
    ip daddr {gateway} udp dport 53 accept
    ip daddr {gateway} tcp dport 53 accept
    jump refuse
  }}
  chain through {{
    type filter hook forward priority filter; policy accept;
    iifname "p{tag}*" jump from_pod
    oifname "p{tag}*" jump to_pod
  }}
  chain from_pod {{
    meta nfproto ipv6 jump refuse
    iifname . ip saddr != @pods drop
    ct state established,related accept
    oifname "p{tag}*" jump refuse
    ip daddr {{ {CLOSED} }} jump refuse
    accept
  }}
  chain to_pod {{
    ct state established,related accept
    jump refuse
  }}
  chain out_of_host {{
    type filter hook output priority filter; policy accept;
    oifname "p{tag}*" jump from_host
  }}
  chain from_host {{
    ct state established,related accept
    meta skuid 0 accept
    tcp dport {INIT_PORT} reject with tcp reset
    jump refuse
  }}
  chain leave {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {range} oifname != "p{tag}*" masquerade
  }}
}}
"#
        )
    }

    /// A fresh namespace with the pod's address; what was there under its name goes first.
    pub async fn create(&self, place: &Place, range: Ipv4Net, address: Ipv4Addr) -> Result<(), HostError> {
        self.remove(place).await?;
        let (link, netns, gateway, table) = (&place.link, &place.netns, gateway(range), self.table());
        run("ip", &["netns", "add", netns], &[], DEADLINE).await?;
        let outside = format!(
            "link add {link} type veth peer name eth0 netns {netns}\naddr add {gateway}/32 dev {link}\nlink set {link} up\nroute add {address}/32 dev {link}\n"
        );
        run("ip", &["-batch", "-"], outside.as_bytes(), DEADLINE).await?;
        // A host without IPv6 has no such file.
        gone(fs::write(format!("/proc/sys/net/ipv6/conf/{link}/disable_ipv6"), "1")).map_err(failed("IPv6 of a pod's link"))?;
        let inside = format!(
            "link set lo up\naddr add {address}/32 dev eth0\nlink set eth0 up\nroute add {gateway}/32 dev eth0\nroute add default via {gateway} dev eth0\n"
        );
        run("ip", &["-n", netns, "-batch", "-"], inside.as_bytes(), DEADLINE).await?;
        let element = format!("add element inet {table} pods {{ \"{link}\" . {address} }}\n");
        run("nft", &["-f", "-"], element.as_bytes(), DEADLINE).await.map(drop)
    }

    /// Takes the pod's link, its place in the fence and its namespace away, where they are.
    pub async fn remove(&self, place: &Place) -> Result<(), HostError> {
        self.forget(&place.link).await?;
        self.remove_link(&place.link).await?;
        self.remove_namespace(&place.netns).await
    }

    async fn forget(&self, link: &str) -> Result<(), HostError> {
        let table = self.table();
        let listed = run("nft", &["-j", "list", "set", "inet", &table, "pods"], &[], DEADLINE).await;
        // No table yet: nothing to be forgotten.
        let Ok(listed) = listed else { return Ok(()) };
        let script: String =
            addresses_of(&listed, link).iter().map(|address| format!("delete element inet {table} pods {{ \"{link}\" . {address} }}\n")).collect();
        if script.is_empty() { Ok(()) } else { run("nft", &["-f", "-"], script.as_bytes(), DEADLINE).await.map(drop) }
    }

    async fn remove_link(&self, link: &str) -> Result<(), HostError> {
        if !Path::new("/sys/class/net").join(link).exists() {
            return Ok(());
        }
        match run("ip", &["link", "delete", link], &[], DEADLINE).await {
            // With its other end it goes by itself.
            Err(_) if !Path::new("/sys/class/net").join(link).exists() => Ok(()),
            other => other.map(drop),
        }
    }

    async fn remove_namespace(&self, netns: &str) -> Result<(), HostError> {
        if !Path::new(NAMESPACES).join(netns).exists() {
            return Ok(());
        }
        run("ip", &["netns", "delete", netns], &[], DEADLINE).await.map(drop)
    }

    /// Removes every link and namespace of this daemon's that is not among `keep` (short ids). One that stays is told of: it is
    /// outside of the fence's set, so that nothing comes out of it.
    pub async fn sweep(&self, keep: &std::collections::BTreeSet<String>) {
        for name in listed("/sys/class/net") {
            if name.strip_prefix(&format!("p{}", self.tag)).is_some_and(|short| is_short(short) && !keep.contains(short))
                && let Err(error) = self.remove_link(&name).await
            {
                tracing::error!(link = name, %error, output = error.output, "a pod's link could not be removed");
            }
        }
        for name in listed(NAMESPACES) {
            if name.strip_prefix(&format!("{}-", self.prefix)).is_some_and(|short| is_short(short) && !keep.contains(short))
                && let Err(error) = self.remove_namespace(&name).await
            {
                tracing::error!(namespace = name, %error, output = error.output, "a pod's network namespace could not be removed");
            }
        }
    }

    /// Takes the fence away, when no pod is left that it could guard against.
    pub async fn lower_fence(&self) -> Result<(), HostError> {
        let table = self.table();
        run("nft", &["-f", "-"], format!("table inet {table}\ndelete table inet {table}\n").as_bytes(), DEADLINE).await.map(drop)
    }
}

pub fn namespace_file(place: &Place) -> PathBuf {
    Path::new(NAMESPACES).join(&place.netns)
}

fn is_short(text: &str) -> bool {
    text.len() == 11 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The same; empty where the folder cannot be read, which is told of.
fn listed(folder: &str) -> Vec<String> {
    names(folder).unwrap_or_else(|error| {
        tracing::error!(folder, %error, "what an earlier daemon left there cannot be listed");
        Vec::new()
    })
}

fn names(folder: &str) -> io::Result<Vec<String>> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect(),
    }
}

/// Out of nft's JSON: the addresses that stand beside a link in the set.
fn addresses_of(listed: &str, link: &str) -> Vec<Ipv4Addr> {
    let Ok(value) = serde_json::from_str::<serde_json::Value>(listed) else { return Vec::new() };
    let elements = value["nftables"].as_array().into_iter().flatten().filter_map(|part| part["set"]["elem"].as_array()).flatten();
    let pairs = elements.filter_map(|element| element["concat"].as_array());
    pairs.filter(|pair| pair.first().is_some_and(|name| name == link)).filter_map(|pair| pair.get(1)?.as_str()?.parse().ok()).collect()
}

/// Refuses an address that this host may not give.
pub fn check_address(range: Ipv4Net, address: Ipv4Addr) -> Result<(), HostError> {
    if is_pod_address(range, address) {
        return Ok(());
    }
    Err(HostError::new(HostErrorCode::Invalid, format!("{address} is not an address for pods of this host ({range})")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_get_addresses_of_the_hosts_range_but_its_edges() {
        let range: Ipv4Net = "10.88.3.0/24".parse().unwrap();
        for (address, fine) in [("10.88.3.2", true), ("10.88.3.1", false), ("10.88.3.0", false), ("10.88.3.255", false), ("10.88.4.2", false)] {
            assert_eq!(is_pod_address(range, address.parse().unwrap()), fine, "{address}");
        }
    }

    #[test]
    fn names_fit_the_kernel() {
        let network = Network::new("pinacle-test-17-h1");
        assert_eq!(network.link("0123456789a").len(), 15);
        assert_ne!(network.link("0123456789a"), Network::new("pinacle-test-17-h2").link("0123456789a"));
    }

    #[test]
    fn the_address_of_a_link_is_found_in_what_nft_lists() {
        let listed = r#"{"nftables":[{"metainfo":{}},{"set":{"name":"pods","elem":[{"concat":["p1","10.88.3.2"]},{"concat":["p2","10.88.3.3"]}]}}]}"#;
        assert_eq!(addresses_of(listed, "p2"), ["10.88.3.3".parse::<Ipv4Addr>().unwrap()]);
        assert!(addresses_of(listed, "p3").is_empty());
        assert!(addresses_of("", "p3").is_empty());
    }
}
