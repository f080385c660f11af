//! The dashboard answers to its own name only: a page elsewhere that points its DNS here gets nothing (DNS rebinding).

use super::AppState;
use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header::HOST};
use url::Url;

pub async fn check(State(state): State<AppState>, request: Request, next: Next) -> Response {
    if is_ours(&state.control.config.url, &request) {
        return next.run(request).await;
    }
    (StatusCode::MISDIRECTED_REQUEST, "This server does not answer to that host name.\n").into_response()
}

/// One Host header (or, in HTTP/2, one :authority), and it is ours; where a request names both, both are.
fn is_ours<B>(url: &Url, request: &http::Request<B>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let header = hosts.next();
    if hosts.next().is_some() {
        return false;
    }
    let authority = request.uri().authority().map(|authority| authority.as_str());
    let header = match header.map(|header| header.to_str()) {
        Some(Err(_)) => return false,
        Some(Ok(header)) => Some(header),
        None => None,
    };
    let mut named = header.into_iter().chain(authority).peekable();
    named.peek().is_some() && named.all(|name| is_name(url, name))
}

fn is_name(url: &Url, name: &str) -> bool {
    let Some(host) = url.host_str() else { return false };
    let Some(port) = name.get(..host.len()).filter(|start| start.eq_ignore_ascii_case(host)).and_then(|_| name.get(host.len()..)) else {
        return false;
    };
    match port.strip_prefix(':') {
        None => port.is_empty() && url.port().is_none(),
        Some(port) => !port.is_empty() && url.port_or_known_default().is_some_and(|ours| port == ours.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(uri: &str, hosts: &[&str]) -> http::Request<()> {
        let request = hosts.iter().fold(http::Request::get(uri), |request, host| request.header(HOST, *host));
        request.body(()).unwrap()
    }

    #[test]
    fn only_our_own_name_and_port_are_ours() {
        let local = Url::parse("http://localhost:3000").unwrap();
        assert!(is_ours(&local, &request("/", &["localhost:3000"])));
        assert!(is_ours(&local, &request("/", &["LocalHost:3000"])));
        for host in ["localhost", "localhost:3001", "127.0.0.1:3000", "evil.test:3000", "localhost:3000.evil.test", "localhost.:3000", ""] {
            assert!(!is_ours(&local, &request("/", &[host])), "{host}");
        }
        let public = Url::parse("https://pinacle.example").unwrap();
        assert!(is_ours(&public, &request("/", &["pinacle.example"])));
        assert!(is_ours(&public, &request("/", &["pinacle.example:443"])));
        assert!(!is_ours(&public, &request("/", &["pinacle.example:"])));
        assert!(!is_ours(&public, &request("/", &["shop.pinacle.example"])));
    }

    proptest! {
        #[test]
        fn no_name_but_ours_is_taken(name in prop_oneof![
            ".{0,40}",
            "(?i:pinacle\\.example)[.:0-9a-z@/ü\0-]{0,8}",
            "[a-z.@:]{0,5}pinacle\\.example(:443)?",
        ]) {
            let url = Url::parse("https://pinacle.example").unwrap();
            let lower = name.to_ascii_lowercase();
            prop_assert_eq!(is_name(&url, &name), lower == "pinacle.example" || lower == "pinacle.example:443");
        }
    }

    #[test]
    fn two_hosts_or_none_are_refused() {
        let local = Url::parse("http://localhost:3000").unwrap();
        assert!(!is_ours(&local, &request("/", &["localhost:3000", "localhost:3000"])));
        assert!(!is_ours(&local, &request("/", &[])));
        assert!(!is_ours(&local, &request("http://evil.test/", &["localhost:3000"])));
        assert!(is_ours(&local, &request("http://localhost:3000/", &[])), "HTTP/2 names it in the address");
    }
}
