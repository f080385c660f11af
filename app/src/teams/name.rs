//! A team's name: what people call it. Its address has a slug of its own.

use std::fmt;

/// 1–60 characters, none of which changes how a line reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TeamName(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TeamNameError {
    #[error("Give the team a name.")]
    Empty,
    #[error("At most {} characters.", TeamName::MAX)]
    TooLong,
    #[error("No line breaks, control characters or marks that turn the direction of writing.")]
    Characters,
}

impl TeamName {
    pub const MAX: usize = 60;

    /// Takes the name as typed; spaces around it are not part of it.
    pub fn parse(text: &str) -> Result<Self, TeamNameError> {
        let name = text.trim();
        if name.is_empty() {
            Err(TeamNameError::Empty)
        } else if name.chars().count() > Self::MAX {
            Err(TeamNameError::TooLong)
        } else if name.chars().any(|c| c.is_control() || is_direction_mark(c)) {
            Err(TeamNameError::Characters)
        } else {
            Ok(Self(name.to_owned()))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TeamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Marks that turn the order of letters (Unicode's bidirectional controls).
fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_its_bounds_and_no_marks() {
        assert_eq!(TeamName::parse(" Acme GmbH ").unwrap().as_str(), "Acme GmbH");
        for (text, error) in [
            ("  ", TeamNameError::Empty),
            ("a\nb", TeamNameError::Characters),
            ("a\u{202e}b", TeamNameError::Characters),
            (&*"x".repeat(61), TeamNameError::TooLong),
        ] {
            assert_eq!(TeamName::parse(text), Err(error), "{text:?}");
        }
    }
}
