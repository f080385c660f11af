//! Where a new pod goes: the host with most room left by reserved CPU, memory and disk, within the over-commit.

use crate::hosts::PlacementHost;
use ipnet::IpNet;
use pinacle_app::{hosts::Capacity, ids::HostId, pods::Tier};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// First and last addresses of a host's range that pods don't get: the network, the gateway, the broadcast.
const RESERVED_HEAD: usize = 2;
const RESERVED_TAIL: usize = 1;

/// Why this host won, and the others did not; kept with the reservation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Placement {
    pub host_id: HostId,
    pub host: String,
    /// Its fullest resource once this pod is there, from 0 to 1.
    pub load: f64,
    /// Name of each other host, and why not it.
    pub others: Vec<(String, String)>,
}

impl Placement {
    /// A sentence for a person.
    pub fn words(&self) -> String {
        let mut words = format!("{}: least loaded, {:.0} % reserved", self.host, self.load * 100.0);
        for (name, why) in &self.others {
            words.push_str(&format!("; {name}: {why}"));
        }
        words
    }
}

/// Why nothing fits, for the person who waits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    #[error("no pod host is active and reachable")]
    NoHosts,
    #[error("{0}")]
    Full(String),
}

/// What a pod of this tier takes of a resource, and the resource.
fn demands(host: &PlacementHost, tier: Tier) -> [(&'static str, Capacity, u64); 3] {
    [
        // A larger tier is capped at the machine's cores.
        ("CPU", host.cpu, u64::from(tier.cpu_milli()).min(host.cpu_milli)),
        ("memory", host.memory, tier.memory_bytes()),
        ("disk", host.disk, tier.disk_bytes()),
    ]
}

/// The fullest resource after placing, or the one that lacks room.
fn load_with(host: &PlacementHost, tier: Tier) -> Result<f64, &'static str> {
    let mut load: f64 = 0.0;
    for (name, capacity, wanted) in demands(host, tier) {
        let after = capacity.reserved + wanted;
        if after > capacity.limit {
            return Err(name);
        }
        load = load.max(after as f64 / capacity.limit as f64);
    }
    Ok(load)
}

/// What a pod holds of its host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub cpu_milli: u64,
    pub memory_bytes: u64,
    pub disk_bytes: u64,
}

/// Whether a pod that has its layer here, and holds so much already, may run again in this tier.
pub fn fits_again(host: &PlacementHost, tier: Tier, held: Held) -> Result<(), NoRoom> {
    let held = [held.cpu_milli, held.memory_bytes, held.disk_bytes];
    for ((name, capacity, wanted), held) in demands(host, tier).into_iter().zip(held) {
        // What needs nothing more is not refused, also where the limit was lowered since.
        let more = wanted.saturating_sub(held);
        if more > 0 && capacity.reserved + more > capacity.limit {
            return Err(NoRoom::Full(format!("{} has no {name} left for {}, and the pod's disk is there", host.name, tier.as_str())));
        }
    }
    Ok(())
}

/// The least loaded host that has room; ties go to the first by name, so that the choice can be repeated.
pub fn choose(hosts: &[PlacementHost], tier: Tier) -> Result<Placement, NoRoom> {
    if hosts.is_empty() {
        return Err(NoRoom::NoHosts);
    }
    let loads: Vec<_> = hosts.iter().map(|host| (host, load_with(host, tier))).collect();
    let winner = loads
        .iter()
        .filter_map(|(host, load)| Some((*host, *load.as_ref().ok()?)))
        .min_by(|(a, x), (b, y)| x.total_cmp(y).then_with(|| a.name.cmp(&b.name)));
    let why = |load: &Result<f64, &str>| match load {
        Ok(load) => format!("{:.0} % reserved", load * 100.0),
        Err(lacking) => format!("no {lacking} left"),
    };
    let Some((host, load)) = winner else {
        let each: Vec<String> = loads.iter().map(|(host, load)| format!("{}: {}", host.name, why(load))).collect();
        return Err(NoRoom::Full(format!("no host has room for {} ({})", tier.as_str(), each.join("; "))));
    };
    let others = loads.iter().filter(|(other, _)| other.id != host.id).map(|(other, load)| (other.name.clone(), why(load))).collect();
    Ok(Placement { host_id: host.id, host: host.name.clone(), load, others })
}

/// The first address of the range that no pod has.
pub fn free_address(range: IpNet, taken: &[IpNet]) -> Option<IpNet> {
    let taken: HashSet<_> = taken.iter().map(IpNet::addr).collect();
    let IpNet::V4(range) = range else { return None };
    let size = 1usize << (32 - u32::from(range.prefix_len()));
    let usable = size.checked_sub(RESERVED_HEAD + RESERVED_TAIL)?;
    let network = u32::from(range.network());
    (0..usable)
        .filter_map(|n| u32::try_from(n + RESERVED_HEAD).ok())
        .map(|n| std::net::IpAddr::from(std::net::Ipv4Addr::from(network + n)))
        .find(|address| !taken.contains(address))
        .map(IpNet::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const GIB: u64 = 1 << 30;

    fn host(name: &str, cpu_reserved: u64, memory_reserved: u64) -> PlacementHost {
        let capacity = |reserved, physical, times| Capacity { reserved, physical, limit: physical * times };
        PlacementHost {
            id: HostId(Uuid::from_u128(name.bytes().map(u128::from).sum())),
            name: name.into(),
            pod_cidr: "10.88.1.0/24".parse().unwrap(),
            cpu_milli: 2000,
            cpu: capacity(cpu_reserved, 2000, 8),
            memory: capacity(memory_reserved, 16 * GIB, 1),
            disk: capacity(0, 200 * GIB, 2),
        }
    }

    #[test]
    fn the_least_loaded_host_wins_and_the_reason_names_the_others() {
        let placed = choose(&[host("a", 0, 8 * GIB), host("b", 0, 2 * GIB), host("c", 0, 16 * GIB)], Tier::Small).unwrap();
        assert_eq!(placed.host, "b");
        assert!(placed.others.contains(&("c".into(), "no memory left".into())), "{placed:?}");
        assert!(placed.words().starts_with("b: least loaded"));
    }

    #[test]
    fn a_tier_larger_than_the_machine_is_capped_at_its_cores() {
        assert!(choose(&[host("a", 14_000, 0)], Tier::XLarge).is_ok());
        assert!(choose(&[host("a", 15_000, 0)], Tier::XLarge).is_err());
    }

    #[test]
    fn no_room_says_what_is_lacking() {
        assert_eq!(choose(&[], Tier::Small), Err(NoRoom::NoHosts));
        let full = choose(&[host("a", 0, 16 * GIB)], Tier::Small).unwrap_err();
        assert_eq!(full.to_string(), "no host has room for dev.small (a: no memory left)");
    }

    #[test]
    fn addresses_leave_out_the_network_the_gateway_and_the_broadcast() {
        let range: IpNet = "10.88.1.0/24".parse().unwrap();
        let mut taken = Vec::new();
        while let Some(address) = free_address(range, &taken) {
            taken.push(address);
        }
        assert_eq!(taken.len(), 253);
        assert_eq!((taken[0].to_string(), taken[252].to_string()), ("10.88.1.2/32".into(), "10.88.1.254/32".into()));
    }
}
