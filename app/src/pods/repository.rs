//! Where a pod's code comes from: a repository at GitHub, or any git over https.

use serde::{Deserialize, Serialize};
use std::{fmt, net::IpAddr};
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
        let url = url::Url::parse(text).map_err(|_| RepositoryError::Shape)?;
        if url.scheme() != "https" {
            return Err(RepositoryError::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(RepositoryError::Credentials);
        }
        if url.query().is_some() || url.fragment().is_some() || url.path().len() < 2 {
            return Err(RepositoryError::Shape);
        }
        match url.host().ok_or(RepositoryError::Shape)? {
            url::Host::Ipv4(address) => public(IpAddr::V4(address))?,
            url::Host::Ipv6(address) => public(IpAddr::V6(address))?,
            url::Host::Domain(domain) => {
                let domain = domain.trim_end_matches('.');
                let local = !domain.contains('.')
                    || ["localhost", "local", "internal", "home.arpa"].iter().any(|end| domain == *end || domain.ends_with(&format!(".{end}")));
                if local {
                    return Err(RepositoryError::Private);
                }
            }
        }
        if url.domain() == Some("github.com") {
            let path = url.path().trim_matches('/');
            if let Some((owner, name)) = path.split_once('/') {
                let name = name.strip_suffix(".git").unwrap_or(name);
                if is_github_owner(owner) && is_github_name(name) {
                    return Ok(Self::GitHub { owner: owner.to_owned(), name: name.to_owned() });
                }
            }
            return Err(RepositoryError::Shape);
        }
        Ok(Self::Https { url: url.to_string() })
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

/// Refuses what no pod may reach: the host's fence would stop it too, this says so at the field.
fn public(address: IpAddr) -> Result<(), RepositoryError> {
    let private = match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
                || v4.is_multicast()
                || a == 0
                || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(v6) => {
            if let Some(v4) = v6.to_ipv4() {
                return public(IpAddr::V4(v4));
            }
            let first = v6.segments()[0];
            v6.is_loopback() || v6.is_unspecified() || v6.is_multicast() || (first & 0xfe00) == 0xfc00 || (first & 0xffc0) == 0xfe80 || first == 0x64
        }
    };
    if private { Err(RepositoryError::Private) } else { Ok(()) }
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
        ] {
            assert_eq!(RepositoryAddress::parse(text), Err(error), "{text:?}");
        }
        assert_eq!(RepositoryAddress::parse(&"a".repeat(600)), Err(TooLong));
    }

    #[test]
    fn a_branch_is_never_an_option_or_a_revision_expression() {
        for good in ["main", "feat/cart", "release-1.2", "größe"] {
            assert!(BranchName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-x", "--upload-pack=id", "a..b", "a b", "a~1", "x.lock", "a/.b", "@{u}", "a\nb", "a\u{202e}b", "$(id)", "a;b"] {
            assert!(BranchName::parse(bad).is_err(), "{bad}");
        }
    }
}
