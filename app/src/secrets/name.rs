//! A secret's name: it becomes an environment variable in pods, so it is one that no program takes for an order.

use std::fmt;

/// `[A-Z_][A-Z0-9_]{0,127}`, and none of those that decide what other programs run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretName(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretNameError {
    #[error("Give the secret a name.")]
    Empty,
    #[error("At most {} characters.", SecretName::MAX)]
    TooLong,
    #[error("Begins with a digit: put a letter or _ first.")]
    Digit,
    #[error("Capital letters A–Z, digits and _ only.")]
    Characters,
    #[error("This name would change what every process in the pod runs.")]
    Hijacks,
    #[error("Shells keep this name to themselves.")]
    Shells,
    #[error("Names that begin with PINACLE_ are Pinacle’s own.")]
    Ours,
}

/// What a shell, a loader or an interpreter takes for an order.
const HIJACKS: [&str; 14] = [
    "PATH",
    "HOME",
    "USER",
    "SHELL",
    "IFS",
    "ENV",
    "BASH_ENV",
    "PROMPT_COMMAND",
    "NODE_OPTIONS",
    "PYTHONSTARTUP",
    "PYTHONHOME",
    "PERL5OPT",
    "RUBYOPT",
    "JAVA_TOOL_OPTIONS",
];
const HIJACKING_PREFIXES: [&str; 3] = ["LD_", "DYLD_", "GIT_SSH"];
/// Read-only in bash: to export one ends in an error at every login.
const SHELLS: [&str; 6] = ["UID", "EUID", "PPID", "SHELLOPTS", "BASHOPTS", "BASH_VERSINFO"];

impl SecretName {
    pub const MAX: usize = 128;

    /// Takes the name as typed; spaces around it are not part of it.
    pub fn parse(text: &str) -> Result<Self, SecretNameError> {
        let text = text.trim();
        let first = text.bytes().next().ok_or(SecretNameError::Empty)?;
        if text.len() > Self::MAX {
            return Err(SecretNameError::TooLong);
        }
        if !text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_') {
            return Err(SecretNameError::Characters);
        }
        if first.is_ascii_digit() {
            return Err(SecretNameError::Digit);
        }
        if text.starts_with("PINACLE_") {
            return Err(SecretNameError::Ours);
        }
        if HIJACKS.contains(&text) || HIJACKING_PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
            return Err(SecretNameError::Hijacks);
        }
        if SHELLS.contains(&text) {
            return Err(SecretNameError::Shells);
        }
        Ok(Self(text.to_owned()))
    }

    /// What was probably meant by a name that is not one: `SMTP_HOST` for `smtp-host`.
    pub fn suggest(text: &str) -> Option<Self> {
        let letters = text.trim().chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
        let text: String = letters.collect();
        Self::parse(&text).ok()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_capital_letters_digits_and_underscores() {
        for good in ["A", "_", "DATABASE_URL", "A1", "_X", "PATHS", "GIT_AUTHOR_NAME", "LDAP_URL", "PINACLE", &"A".repeat(128)] {
            assert_eq!(SecretName::parse(good).unwrap().as_str(), good);
        }
        for (text, error) in [
            (" ", SecretNameError::Empty),
            ("a", SecretNameError::Characters),
            ("A-B", SecretNameError::Characters),
            ("A=B", SecretNameError::Characters),
            ("A\nB", SecretNameError::Characters),
            ("Ä", SecretNameError::Characters),
            ("1A", SecretNameError::Digit),
            (&"A".repeat(129), SecretNameError::TooLong),
        ] {
            assert_eq!(SecretName::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn a_name_that_would_hijack_a_process_is_refused() {
        for name in [
            "PATH",
            "HOME",
            "USER",
            "SHELL",
            "IFS",
            "ENV",
            "BASH_ENV",
            "PROMPT_COMMAND",
            "LD_PRELOAD",
            "LD_LIBRARY_PATH",
            "DYLD_INSERT_LIBRARIES",
            "NODE_OPTIONS",
            "PYTHONSTARTUP",
            "PYTHONHOME",
            "PERL5OPT",
            "RUBYOPT",
            "JAVA_TOOL_OPTIONS",
            "GIT_SSH",
            "GIT_SSH_COMMAND",
            "GIT_SSHX",
        ] {
            assert_eq!(SecretName::parse(name), Err(SecretNameError::Hijacks), "{name}");
        }
        assert_eq!(SecretName::parse("PINACLE_TOKEN"), Err(SecretNameError::Ours));
        assert_eq!(SecretName::parse("UID"), Err(SecretNameError::Shells));
    }

    #[test]
    fn what_was_meant_is_suggested() {
        assert_eq!(SecretName::suggest("smtp-host").unwrap().as_str(), "SMTP_HOST");
        assert_eq!(SecretName::suggest("ld-preload"), None, "not what is refused");
        assert_eq!(SecretName::suggest(""), None);
    }
}
