//! Reads a `.env` file, in the browser: what is not imported never leaves it.
//!
//! `NAME=value`, `export` before it, `#` comments; values bare, in single quotes (as they stand) or in double quotes
//! (`\n`, `\r`, `\t`, `\"`, `\\`, `\$`), the quoted ones over several lines. Nothing is put in place of `$NAME`.

use super::SecretValue;

/// What stands in the file under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvEntry {
    /// From 1.
    pub line: usize,
    /// As it stands there; no name of a secret perhaps.
    pub name: String,
    pub value: Result<SecretValue, EnvError>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    #[error("no = on this line")]
    NoEquals,
    #[error("the quote is never closed")]
    OpenQuote,
    #[error("text behind the closing quote")]
    BehindQuote,
}

/// Bytes of a file that is read; what it holds goes to the server in one request.
pub const MOST_FILE: usize = 96 << 10;
pub const MOST_ENTRIES: usize = 250;

/// The entries in the order of the file, at most one more than may be imported.
pub fn parse(text: &str) -> Vec<EnvEntry> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let mut rest = text.as_str();
    let mut line = 1;
    let mut entries = Vec::new();
    while !rest.is_empty() && entries.len() <= MOST_ENTRIES {
        let (entry, taken) = next(rest, line);
        entries.extend(entry);
        line += rest[..taken].matches('\n').count();
        rest = &rest[taken..];
    }
    entries
}

/// The entry that the text begins with, if its first line has one, and how many bytes it takes.
fn next(text: &str, line: usize) -> (Option<EnvEntry>, usize) {
    let end = text.find('\n').map_or(text.len(), |at| at + 1);
    let first = text[..end].trim();
    if first.is_empty() || first.starts_with('#') {
        return (None, end);
    }
    let Some(equals) = text[..end].find('=') else {
        return (Some(EnvEntry { line, name: name(first), value: Err(EnvError::NoEquals) }), end);
    };
    let name = name(&text[..equals]);
    let behind = &text[equals + 1..];
    let blank = behind.len() - behind.trim_start_matches([' ', '\t']).len();
    let begin = equals + 1 + blank;
    let (value, taken) = match text[begin..].chars().next() {
        Some(quote @ ('\'' | '"')) => match quoted(&text[begin + 1..], quote) {
            Some((value, length)) => {
                let after = begin + 1 + length;
                let end = text[after..].find('\n').map_or(text.len(), |at| after + at + 1);
                let tail = text[after..end].trim();
                let clean = tail.is_empty() || tail.starts_with('#');
                (if clean { Ok(SecretValue::new(value)) } else { Err(EnvError::BehindQuote) }, end)
            }
            None => (Err(EnvError::OpenQuote), end),
        },
        _ => (Ok(SecretValue::new(bare(&text[begin.min(end)..end]).to_owned())), end),
    };
    (Some(EnvEntry { line, name, value }), taken)
}

fn name(text: &str) -> String {
    let text = text.trim();
    text.strip_prefix("export ").unwrap_or(text).trim().to_owned()
}

/// Without a comment, which begins with a blank and `#`.
fn bare(text: &str) -> &str {
    let comment = text.char_indices().find(|(at, c)| *c == '#' && (*at == 0 || text[..*at].ends_with([' ', '\t'])));
    comment.map_or(text, |(at, _)| &text[..at]).trim()
}

/// The value up to the closing quote, and how many bytes that and the quote take.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            letter if letter == quote => return Some((value, at + letter.len_utf8())),
            '\\' if quote == '"' => match letters.next()?.1 {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                escaped @ ('"' | '\\' | '$' | '`') => value.push(escaped),
                other => value.extend(['\\', other]),
            },
            letter => value.push(letter),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(usize, String, Result<String, EnvError>)> {
        parse(text).into_iter().map(|e| (e.line, e.name, e.value.map(|v| v.expose().to_owned()))).collect()
    }

    #[test]
    fn names_and_values_are_read_as_shells_would() {
        let file =
            "\u{feff}# first\r\nA=1\r\n\r\nexport B = two words # said\nC='as $it \\n stands'\nD=\"a\\nb \\\"c\\\" \\\\ $x\" # end\nE=\nF=a#b\nG=a=b";
        let is = |line: usize, name: &str, value: &str| (line, name.to_owned(), Ok(value.to_owned()));
        assert_eq!(
            read(file),
            [
                is(2, "A", "1"),
                is(4, "B", "two words"),
                is(5, "C", "as $it \\n stands"),
                is(6, "D", "a\nb \"c\" \\ $x"),
                is(7, "E", ""),
                is(8, "F", "a#b"),
                is(9, "G", "a=b"),
            ]
        );
    }

    #[test]
    fn a_quoted_value_has_several_lines_and_the_next_name_its_own_line() {
        let file = "KEY=\"-----BEGIN-----\nabc\n-----END-----\"\nNEXT='x\ny'\nLAST=1";
        let all = read(file);
        assert_eq!(all[0], (1, "KEY".to_owned(), Ok("-----BEGIN-----\nabc\n-----END-----".to_owned())));
        assert_eq!(all[1], (4, "NEXT".to_owned(), Ok("x\ny".to_owned())));
        assert_eq!(all[2], (6, "LAST".to_owned(), Ok("1".to_owned())));
    }

    #[test]
    fn what_can_not_be_read_says_why_and_the_rest_is_read() {
        let file = "nothing\nA=\"open\nB='x' y\nC=1";
        assert_eq!(
            read(file).into_iter().map(|(line, name, value)| (line, name, value.err())).collect::<Vec<_>>(),
            [
                (1, "nothing".to_owned(), Some(EnvError::NoEquals)),
                (2, "A".to_owned(), Some(EnvError::OpenQuote)),
                (3, "B".to_owned(), Some(EnvError::BehindQuote)),
                (4, "C".to_owned(), None),
            ]
        );
    }

    #[test]
    fn a_file_without_end_is_read_to_its_limit() {
        assert_eq!(parse(&"A=1\n".repeat(MOST_ENTRIES * 2)).len(), MOST_ENTRIES + 1);
        assert!(parse("").is_empty() && parse("\n\n#\n").is_empty());
    }
}
