//! A pod's name: it stands in host names of previews, so it holds letters and digits only.

use std::fmt;

/// `[a-z0-9]{1,20}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodName(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("Give the pod a name.")]
    Empty,
    #[error("At most {} characters.", PodName::MAX)]
    TooLong,
    #[error("Lower-case letters a–z and digits only.")]
    Characters,
}

impl PodName {
    pub const MAX: usize = 20;

    /// Takes the name as typed; spaces around it are not part of it.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
            return Err(NameError::Characters);
        }
        if text.len() > Self::MAX {
            return Err(NameError::TooLong);
        }
        Ok(Self(text.to_owned()))
    }

    /// A name made of a repository's, or `pod`; `taken` says what to stay clear of by counting up.
    pub fn suggest(repository: Option<&str>, taken: &[String]) -> Self {
        let last = repository.unwrap_or("pod").trim_end_matches('/').rsplit('/').next().unwrap_or("pod");
        let last = last.strip_suffix(".git").unwrap_or(last);
        let mut stem: String =
            last.to_ascii_lowercase().chars().filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit()).take(Self::MAX - 3).collect();
        if stem.is_empty() {
            stem = "pod".to_owned();
        }
        let free = |name: &String| !taken.contains(name);
        let name = std::iter::once(stem.clone()).chain((2..1000).map(|n| format!("{stem}{n}"))).find(free).unwrap_or(stem);
        Self(name)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_lower_case_letters_and_digits() {
        assert_eq!(PodName::parse(" shop2 ").unwrap().as_str(), "shop2");
        for (text, error) in [
            ("", NameError::Empty),
            ("Shop", NameError::Characters),
            ("my-shop", NameError::Characters),
            ("$(id)", NameError::Characters),
            ("shop\u{202e}", NameError::Characters),
            ("a\0b", NameError::Characters),
            ("\u{200f}shop", NameError::Characters),
            ("a'b", NameError::Characters),
            ("a\"b", NameError::Characters),
            ("a\nb", NameError::Characters),
            ("`id`", NameError::Characters),
            ("../x", NameError::Characters),
            ("--x", NameError::Characters),
            ("ſhop", NameError::Characters),
            ("abcdefghijklmnopqrstu", NameError::TooLong),
        ] {
            assert_eq!(PodName::parse(text), Err(error), "{text:?}");
        }
        assert_eq!(PodName::parse(&"a".repeat(10_000_000)), Err(NameError::TooLong));
    }

    #[test]
    fn a_suggestion_is_always_a_name_that_is_free() {
        let taken = vec!["shop".to_owned(), "shop2".to_owned()];
        assert_eq!(PodName::suggest(Some("acme/shop"), &taken).as_str(), "shop3");
        assert_eq!(PodName::suggest(Some("https://example.org/x/Ünï-node_site.git"), &[]).as_str(), "nnodesite");
        assert_eq!(PodName::suggest(None, &[]).as_str(), "pod");
        let long = PodName::suggest(Some("acme/a-very-long-repository-name-indeed"), &[]);
        assert!(PodName::parse(long.as_str()).is_ok());
    }
}
