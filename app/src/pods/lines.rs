//! A pod's events as lines of its log.

use super::timeline::STEPS;
use super::{EventKind, PodEvent};
use crate::ui::time::millis;

/// One line as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Milliseconds since its wish was taken up.
    pub at: u32,
    pub step: String,
    pub text: String,
    pub kind: LineKind,
    /// The first line of its step: where the timeline's links lead.
    pub first: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineKind {
    Plain,
    Command,
    Said,
    Error,
}

impl Line {
    /// Classes of the sheet.
    pub fn class(&self) -> &'static str {
        match (self.first, self.kind) {
            (true, LineKind::Command) => "first cmd",
            (true, LineKind::Error) => "first err",
            (true, _) => "first said",
            (false, LineKind::Plain) => "",
            (false, LineKind::Command) => "cmd",
            (false, LineKind::Said) => "said",
            (false, LineKind::Error) => "err",
        }
    }

    /// Seconds since the run began, as the first column shows them.
    pub fn seconds(&self) -> String {
        crate::ui::time::seconds(self.at)
    }
}

/// Cuts events into lines; knows when the wish that they answer was taken up.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    generation: i64,
    began: i64,
}

impl Lines {
    pub fn cut(&mut self, event: &PodEvent) -> Vec<Line> {
        // Every wish has a clock of its own: a stop after a day is no line at 86,400 s.
        if event.generation > self.generation || self.began == 0 {
            self.generation = event.generation;
            self.began = millis(event.at);
        }
        let at = u32::try_from(millis(event.at) - self.began).unwrap_or(0);
        let line = |text: &str, kind, first| Line { at, step: event.step.clone(), text: text.to_owned(), kind, first };
        let first_words = || {
            let label = STEPS.iter().find(|(step, _, _)| *step == event.step).map_or(event.step.as_str(), |(_, label, _)| label);
            if event.text.is_empty() { label.to_owned() } else { event.text.clone() }
        };
        match event.kind {
            EventKind::Begin => {
                let text = first_words();
                let kind = if text.starts_with("$ ") { LineKind::Command } else { LineKind::Said };
                text.lines().enumerate().map(|(index, text)| line(text, kind, index == 0)).collect()
            }
            EventKind::Output => {
                let kind = |text: &str| if text.starts_with("$ ") { LineKind::Command } else { LineKind::Plain };
                event.text.trim_end_matches('\n').split('\n').map(|text| line(without_control(text).as_str(), kind(text), false)).collect()
            }
            EventKind::End => {
                let outcome = event.data.as_ref().and_then(|data| data.get("outcome")).and_then(|outcome| outcome.as_str());
                let kind = if outcome == Some("failed") { LineKind::Error } else { LineKind::Said };
                event.text.lines().map(|text| line(text, kind, false)).collect()
            }
            EventKind::Status => match event.text.as_str() {
                "running" => vec![line("Running, the terminal opens", LineKind::Said, false)],
                "" => Vec::new(),
                other => vec![line(&sentence(other), LineKind::Said, false)],
            },
        }
    }
}

fn sentence(status: &str) -> String {
    super::PodStatus::parse(status).map_or_else(|| status.to_owned(), |status| status.label().to_owned())
}

/// Colours and cursor movements belong to a terminal: here they would be noise. Of a line that was drawn over, the last
/// drawing stays.
fn without_control(text: &str) -> String {
    let text = text.trim_end_matches('\r').rsplit('\r').next().unwrap_or(text);
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' if rest.peek() == Some(&'[') => {
                rest.next();
                for c in rest.by_ref() {
                    if ('@'..='~').contains(&c) {
                        break;
                    }
                }
            }
            '\t' => plain.push('\t'),
            c if c.is_control() => {}
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::OffsetDateTime;

    fn event(ms: i64, generation: i64, step: &str, kind: EventKind, text: &str) -> PodEvent {
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms + 1_000_000) * 1_000_000).unwrap();
        PodEvent { seq: 0, at, generation, step: step.into(), kind, stream: None, text: text.into(), data: None }
    }

    #[test]
    fn output_is_cut_into_plain_lines_on_the_clock_of_its_run() {
        let mut lines = Lines::default();
        lines.cut(&event(0, 1, "reserve", EventKind::Begin, ""));
        lines.cut(&event(9000, 2, "reserve", EventKind::Begin, "again"));
        let cut = lines.cut(&event(9500, 2, "install", EventKind::Output, "\u{1b}[32mok\u{1b}[0m\nfetch 1\rfetch 2\r\n$ npm ci\n"));
        assert_eq!(cut.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(), ["ok", "fetch 2", "$ npm ci"]);
        assert_eq!((cut[0].at, cut[2].kind), (500, LineKind::Command));
    }
}
