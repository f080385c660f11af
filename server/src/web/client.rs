//! Who is at the other end: its address, believed from a proxy only where the configuration says so, and its agent.

use axum::extract::ConnectInfo;
use http::{
    Extensions, HeaderMap, HeaderName,
    header::{HeaderValue, USER_AGENT},
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const MOST_AGENT: usize = 200;

/// The client's address: the last one in X-Forwarded-For that is not a trusted proxy, if a trusted proxy sent it.
pub fn address(extensions: &Extensions, headers: &HeaderMap, trusted: &[IpAddr]) -> IpAddr {
    let peer = extensions.get::<ConnectInfo<SocketAddr>>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip().to_canonical());
    let mut address = peer;
    let forwarded: Vec<&str> = headers.get_all(X_FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(',')).collect();
    for said in forwarded.into_iter().rev() {
        if !trusted.contains(&address) {
            break;
        }
        match said.trim().parse::<IpAddr>() {
            Ok(said) => address = said.to_canonical(),
            Err(_) => break,
        }
    }
    address
}

/// What one party is taken to have, where limits count by address: of IPv6 a /64.
pub fn party(address: IpAddr) -> IpAddr {
    const NETWORK: u128 = u128::MAX << 64;
    match address {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & NETWORK).into(),
        v4 => v4,
    }
}

/// What the browser calls itself, without what would break a line.
pub fn agent(headers: &HeaderMap) -> String {
    let said = headers.get(USER_AGENT).map(HeaderValue::to_str).and_then(Result::ok).unwrap_or_default();
    said.chars().filter(|c| !c.is_control()).take(MOST_AGENT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forwarded_address_is_believed_from_a_trusted_proxy_alone() {
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::from(([10, 0, 0, 1], 9))));
        let headers = HeaderMap::from_iter([(X_FORWARDED_FOR, HeaderValue::from_static("6.6.6.6, 203.0.113.7, 10.0.0.2"))]);
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(address(&extensions, &headers, &[]), ip("10.0.0.1"));
        assert_eq!(address(&extensions, &headers, &[ip("10.0.0.1"), ip("10.0.0.2")]), ip("203.0.113.7"), "what stands before it was made up");
        assert_eq!(address(&extensions, &headers, &[ip("10.0.0.2")]), ip("10.0.0.1"));
    }

    #[test]
    fn limits_count_a_network_of_ipv6_as_one() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(party(ip("2001:db8:1:2:3:4:5:6")), party(ip("2001:db8:1:2:ffff::1")));
        assert_ne!(party(ip("2001:db8:1:2::1")), party(ip("2001:db8:1:3::1")));
        assert_ne!(party(ip("203.0.113.7")), party(ip("203.0.113.8")));
    }
}
