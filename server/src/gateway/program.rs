//! What a client asks for on a channel before something runs there: variables, a terminal.

use pinacle_app::backend::{ProcessStart, Program, Pty};
use std::collections::BTreeMap;

/// Variables of a client that are passed on.
const MOST_VARIABLES: usize = 32;
const MOST_VALUE: usize = 4096;
const MOST_TERM: usize = 64;

#[derive(Default)]
pub struct Asked {
    env: BTreeMap<String, String>,
    pty: Option<Pty>,
}

impl Asked {
    /// Language and what git says of its protocol, as sshd is commonly told to accept. False: it is not passed on.
    pub fn variable(&mut self, name: &str, value: &str) -> bool {
        let known = name == "LANG" || name == "GIT_PROTOCOL" || name == "COLORTERM" || name.strip_prefix("LC_").is_some_and(is_plain);
        let fits = known && self.env.len() < MOST_VARIABLES && value.len() <= MOST_VALUE && !value.contains('\0');
        if fits {
            self.env.insert(name.to_owned(), value.to_owned());
        }
        fits
    }

    pub fn terminal(&mut self, term: &str, cols: u32, rows: u32) {
        let side = |asked: u32, usual: u16| match u16::try_from(asked) {
            Ok(0) => usual,
            Ok(side) => side.min(1000),
            Err(_) => 1000,
        };
        let is_name = !term.is_empty() && term.len() <= MOST_TERM && term.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._+".contains(&b));
        let term = if is_name { term } else { "xterm-256color" };
        self.pty = Some(Pty { cols: side(cols, 80), rows: side(rows, 24), term: term.to_owned() });
    }

    pub fn start(self, program: Program) -> ProcessStart {
        ProcessStart { program, env: self.env, pty: self.pty }
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.len() <= MOST_TERM && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

/// Pod and handle of a user name `<pod>.<handle>`.
pub fn pod_of(user: &str) -> Option<(&str, &str)> {
    user.split_once('.').filter(|(pod, handle)| !pod.is_empty() && !handle.is_empty() && !user.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_name_names_a_pod_and_its_owner() {
        assert_eq!(pod_of("api.two-part-name"), Some(("api", "two-part-name")));
        for none in ["", "api", ".owner", "api.", "."] {
            assert_eq!(pod_of(none), None, "{none}");
        }
    }

    #[test]
    fn a_variable_that_would_change_what_runs_is_not_passed_on() {
        let mut asked = Asked::default();
        assert!(asked.variable("LANG", "C.UTF-8") && asked.variable("LC_ALL", "C"));
        for (name, value) in [("PATH", "/tmp"), ("LD_PRELOAD", "x"), ("LC_", "x"), ("LC_a=b", "x"), ("BASH_ENV", "x"), ("LANG", "a\0b")] {
            assert!(!asked.variable(name, value), "{name}");
        }
    }

    #[test]
    fn a_terminal_has_a_size_and_a_name_whatever_was_said() {
        let mut asked = Asked::default();
        asked.terminal("x\n; rm", 0, u32::MAX);
        let pty = asked.start(Program::Shell).pty.unwrap();
        assert_eq!((pty.term.as_str(), pty.cols, pty.rows), ("xterm-256color", 80, 1000));
    }
}
