//! Where a pod's code comes from: a repository at GitHub, or any git over https.

use serde::{Deserialize, Serialize};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};
use utoipa::ToSchema;

/// `owner/name` at GitHub, or an https address. Parsed, it holds nothing that a command could take for an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepositoryAddress {
    GitHub { owner: String, name: String },
    Https { url: String },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RepositoryError {
    #[error("At most {} characters.", RepositoryAddress::MAX)]
    TooLong,
    #[error("Write owner/name, or an address that begins with https://.")]
    Shape,
    #[error("Only https addresses can be cloned.")]
    Scheme,
    #[error("Leave user name and password out of the address.")]
    Credentials,
    #[error("This address is not on the public internet.")]
    Private,
    #[error("The address holds a character that can't stand there.")]
    Characters,
}

impl RepositoryAddress {
    pub const MAX: usize = 500;

    pub fn parse(text: &str) -> Result<Self, RepositoryError> {
        let text = text.trim();
        if text.len() > Self::MAX {
            return Err(RepositoryError::TooLong);
        }
        // The URL parser drops tabs and newlines, so the raw text is judged first.
        if !text.bytes().all(|b| b.is_ascii_graphic()) || text.contains(['\'', '"', '`', '$', '\\', '<', '>', '|', ';', '{', '}', '^']) {
            return Err(RepositoryError::Characters);
        }
        if text.contains(':') {
            return Self::parse_https(text);
        }
        let (owner, name) = text.split_once('/').ok_or(RepositoryError::Shape)?;
        let name = name.strip_suffix(".git").unwrap_or(name);
        if is_github_owner(owner) && is_github_name(name) {
            Ok(Self::GitHub { owner: owner.to_owned(), name: name.to_owned() })
        } else {
            Err(RepositoryError::Shape)
        }
    }

    fn parse_https(text: &str) -> Result<Self, RepositoryError> {
        if !text.get(..8).is_some_and(|s| s.eq_ignore_ascii_case("https://")) {
            return Err(RepositoryError::Scheme);
        }
        let address = Parts::of(text).ok_or(RepositoryError::Shape)?;
        if address.credentials {
            return Err(RepositoryError::Credentials);
        }
        if text.contains(['?', '#']) || address.path.len() < 2 {
            return Err(RepositoryError::Shape);
        }
        address.is_public()?;
        if address.host == "github.com" {
            let path = address.path.trim_matches('/');
            if let Some((owner, name)) = path.split_once('/') {
                let name = name.strip_suffix(".git").unwrap_or(name);
                if is_github_owner(owner) && is_github_name(name) {
                    return Ok(Self::GitHub { owner: owner.to_owned(), name: name.to_owned() });
                }
            }
            return Err(RepositoryError::Shape);
        }
        Ok(Self::Https { url: address.text })
    }

    /// The folder below /home/dev that it is cloned into: one path segment, no leading dot or hyphen.
    pub fn folder(&self) -> String {
        let last = match self {
            Self::GitHub { name, .. } => name.as_str(),
            Self::Https { url } => url.trim_end_matches('/').rsplit('/').next().unwrap_or_default(),
        };
        let last = last.strip_suffix(".git").unwrap_or(last);
        let clean: String = last.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')).collect();
        let clean = clean.trim_start_matches(['.', '-']);
        if clean.is_empty() { "repository".to_owned() } else { clean.to_owned() }
    }
}

impl fmt::Display for RepositoryAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GitHub { owner, name } => write!(f, "{owner}/{name}"),
            Self::Https { url } => f.write_str(url),
        }
    }
}

fn is_github_owner(text: &str) -> bool {
    (1..=39).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') && !text.starts_with('-')
}

fn is_github_name(text: &str) -> bool {
    (1..=100).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && !text.starts_with('-')
        && !matches!(text, "." | "..")
}

/// An https address as the URL Standard takes it apart.
struct Parts {
    credentials: bool,
    /// A name, an IPv4 address in four decimal parts, or an IPv6 address in brackets, however they were spelled.
    host: String,
    path: String,
    /// All of it.
    text: String,
}

impl Parts {
    #[cfg(not(target_arch = "wasm32"))]
    fn of(text: &str) -> Option<Self> {
        let url = url::Url::parse(text).ok()?;
        let credentials = !url.username().is_empty() || url.password().is_some();
        Some(Self { credentials, host: url.host_str()?.to_owned(), path: url.path().to_owned(), text: url.into() })
    }

    /// By the browser's own parser: ours would bring along its tables for international names.
    #[cfg(target_arch = "wasm32")]
    fn of(text: &str) -> Option<Self> {
        let url = web_sys::Url::new(text).ok()?;
        let credentials = !url.username().is_empty() || !url.password().is_empty();
        Some(Self { credentials, host: url.hostname(), path: url.pathname(), text: url.href() })
    }

    fn is_public(&self) -> Result<(), RepositoryError> {
        let v6 = self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if let Ok(address) = v6.unwrap_or(&self.host).parse() {
            return public(address);
        }
        let name = self.host.trim_end_matches('.');
        let local = !name.contains('.')
            || ["localhost", "local", "internal", "home.arpa"].iter().any(|end| name == *end || name.ends_with(&format!(".{end}")));
        if local { Err(RepositoryError::Private) } else { Ok(()) }
    }
}

/// Refuses what no pod may reach: the host's fence would stop it too, this says so at the field.
fn public(address: IpAddr) -> Result<(), RepositoryError> {
    let private = match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                // This network, shared, protocol assignments, benchmarks, reserved.
                || a == 0
                || (a == 100 && (64..128).contains(&b))
                || (a, b, c) == (192, 0, 0)
                || (a == 198 && (18..20).contains(&b))
                || a >= 240
        }
        IpAddr::V6(v6) => match embedded(v6) {
            Some(v4) => return public(IpAddr::V4(v4)),
            // What is routed on the internet; all else is local, reserved or not given out.
            None => (v6.segments()[0] & 0xe000) != 0x2000,
        },
    };
    if private { Err(RepositoryError::Private) } else { Ok(()) }
}

/// The IPv4 address that one of IPv6 stands for: mapped, compatible, translated (RFC 6052), 6to4 (RFC 3056).
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => v6.to_ipv4(),
    }
}

/// A git branch as typed; never begins with a hyphen, holds nothing that git refuses in a ref.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BranchName(String);

impl BranchName {
    pub const MAX: usize = 200;

    pub fn parse(text: &str) -> Result<Self, RepositoryError> {
        let text = text.trim();
        if text.len() > Self::MAX {
            return Err(RepositoryError::TooLong);
        }
        let bad = text.is_empty()
            || text.starts_with(['-', '/', '.'])
            || text.ends_with(['/', '.'])
            || text.ends_with(".lock")
            || text.contains("..")
            || text.contains("//")
            || text.contains("@{")
            || text == "@"
            || text.split('/').any(|part| part.starts_with('.') || part.ends_with(".lock"))
            || text.chars().any(|c| !c.is_ascii_graphic() && !c.is_alphanumeric())
            || text.contains([' ', '~', '^', ':', '?', '*', '[', '\\', '\'', '"', '`', '$', ';', '|', '<', '>', '(', ')', '&']);
        if bad { Err(RepositoryError::Characters) } else { Ok(Self(text.to_owned())) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A repository that the user's GitHub account offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Repository {
    pub full_name: String,
    pub url: String,
    pub private: bool,
    pub default_branch: String,
    /// RFC 3339, as GitHub gives it.
    #[serde(default)]
    pub pushed_at: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Branch {
    pub name: String,
    /// Full hash of its head.
    pub commit: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_a_github_repository_are_one() {
        let short = RepositoryAddress::parse("acme/shop").unwrap();
        assert_eq!(RepositoryAddress::parse("https://github.com/acme/shop.git").unwrap(), short);
        assert_eq!(short.folder(), "shop");
    }

    #[test]
    fn what_is_no_public_https_address_is_refused_with_its_reason() {
        use RepositoryError::*;
        for (text, error) in [
            ("--upload-pack=touch/x", Shape),
            ("ext::sh -c id", Characters),
            ("ext::sh", Scheme),
            ("file:///etc/passwd", Scheme),
            ("ssh://git@example.org/x/y", Scheme),
            ("http://example.org/x/y", Scheme),
            ("https://user:pass@example.org/x/y", Credentials),
            ("https://127.0.0.1/x/y", Private),
            ("https://0x7f.1/x/y", Private),
            ("https://2130706433/x/y", Private),
            ("https://[::1]/x/y", Private),
            ("https://[::ffff:10.0.0.1]/x/y", Private),
            ("https://169.254.169.254/latest/meta", Private),
            ("https://localhost/x/y", Private),
            ("https://git.internal/x/y", Private),
            ("https://exam\nple.org/x/y", Characters),
            ("acme/$(id)", Characters),
            ("acme", Shape),
            ("acme/..", Shape),
            ("--upload-pack=touch x/y", Characters),
            ("-oProxyCommand=id/x", Shape),
            ("fd::17/foo", Scheme),
            ("git://example.org/x/y", Scheme),
            ("git@example.org:x/y", Scheme),
            ("javascript:alert(1)", Scheme),
            ("https:example.org/x/y", Scheme),
            ("https://token@example.org/x/y", Credentials),
            ("https://:pass@example.org/x/y", Credentials),
            ("https://example.org", Shape),
            ("https://example.org/x?y", Shape),
            ("https://example.org/x#y", Shape),
            ("https://example.org/`id`", Characters),
            ("https://example.org/x'y", Characters),
            ("https://example.org/x\"y", Characters),
            ("https://example.org/$(id)", Characters),
            ("https://example.org/x\ty", Characters),
            ("https://example.org/x\0y", Characters),
            ("https://example.org/\u{202e}x", Characters),
            ("https://example.org/\u{200f}x", Characters),
            ("acme/shop\u{2066}", Characters),
            ("acme\0/shop", Characters),
            ("acme/shop\nx", Characters),
        ] {
            assert_eq!(RepositoryAddress::parse(text), Err(error), "{text:?}");
        }
        for long in ["a".repeat(600), "a".repeat(10_000_000), format!("https://example.org/{}", "x".repeat(10_000_000))] {
            assert_eq!(RepositoryAddress::parse(&long), Err(TooLong));
        }
    }

    #[test]
    fn a_private_address_is_refused_in_every_spelling() {
        for host in [
            "127.0.0.1",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0x7f.0x0.0x0.0x1",
            "0177.0.0.1",
            "017700000001",
            "127.0.0.1.",
            "0x7f.1.",
            "%31%32%37.0.0.1",
            "0",
            "0.0.0.0",
            "10.0.0.1",
            "0xa000001",
            "012.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "3232235521",
            "169.254.169.254",
            "0xa9fea9fe",
            "0251.0376.0251.0376",
            "2852039166",
            "100.64.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "[::]",
            "[::1]",
            "[0:0:0:0:0:0:0:1]",
            "[::127.0.0.1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::FFFF:a9fe:a9fe]",
            "[0:0:0:0:0:ffff:10.0.0.1]",
            "[64:ff9b::10.0.0.1]",
            "[64:ff9b:1::1]",
            "[2002:7f00:1::]",
            "[2002:a9fe:a9fe::1]",
            "[fe80::1]",
            "[fec0::1]",
            "[fc00::1]",
            "[fd12:3456::1]",
            "[ff02::1]",
            "localhost",
            "LOCALHOST",
            "localhost.",
            "a.localhost",
            "a.localhost.",
            "printer",
            "printer.local",
            "metadata.google.internal",
            "metadata.google.internal.",
            "router.home.arpa",
        ] {
            assert_eq!(RepositoryAddress::parse(&format!("https://{host}/x/y")), Err(RepositoryError::Private), "{host}");
            assert_eq!(RepositoryAddress::parse(&format!("https://{host}:8443/x/y")), Err(RepositoryError::Private), "{host}:8443");
        }
        for host in ["example.org", "EXAMPLE.org", "example.org.", "8.8.8.8", "[2606:4700::1111]", "[::ffff:8.8.8.8]", "172.32.0.1", "100.128.0.1"] {
            assert!(RepositoryAddress::parse(&format!("https://{host}/x/y")).is_ok(), "{host}");
        }
        // What is no host at all is no address.
        for host in ["", "1.2.3.4.5", "256.1.1.1", "0x1ffffffff", "[::1", "127.0.0.1%00", "a%2fb", "[fe80::1%25eth0]", "exa mple.org", "xn--\u{202e}"]
        {
            assert!(RepositoryAddress::parse(&format!("https://{host}/x/y")).is_err(), "{host}");
        }
    }

    #[test]
    fn a_branch_is_never_an_option_or_a_revision_expression() {
        for good in ["main", "feat/cart", "release-1.2", "größe"] {
            assert!(BranchName::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "-x",
            "--upload-pack=id",
            "a..b",
            "a b",
            "a~1",
            "x.lock",
            "a/.b",
            "@{u}",
            "a\nb",
            "a\0b",
            "a\u{202e}b",
            "a\u{200f}",
            "\u{2067}a",
            "$(id)",
            "a;b",
            "a'b",
            "a\"b",
            "`id`",
            "ext::sh",
            "a^{/x}",
            "a:b",
            "/a",
            "a/",
            "a//b",
            ".a",
            "a.",
            "@",
        ] {
            assert!(BranchName::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(BranchName::parse(&"a".repeat(10_000_000)), Err(RepositoryError::TooLong));
    }
}
