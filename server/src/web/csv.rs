//! A team's activity as CSV (RFC 4180), sent as it is read: never all of it in memory.

use super::{AppState, limits::Slot, problem::Answer};
use crate::account;
use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use futures::{StreamExt, stream};
use http::{
    HeaderValue,
    header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE},
};
use pinacle_app::{
    AppError, AppResult,
    backend::Caller,
    ids::{TeamId, UserId},
    teams::activity::{Activity, ActivityQuery},
};
use time::format_description::well_known::Rfc3339;

/// Rows that are read at once.
const AT_ONCE: u32 = 1000;
/// Rows of one file; what is older is asked for with `cursor`.
const MOST_ROWS: usize = 100_000;
const HEAD: &str = "number,at,who,action,what,detail,door,token,address\r\n";

/// What is left to send.
struct Rest {
    state: AppState,
    caller: Caller,
    team: TeamId,
    query: ActivityQuery,
    sent: usize,
    _held: Slot<UserId>,
}

pub async fn activity(state: AppState, caller: Caller, team: TeamId, query: ActivityQuery) -> Answer<Response> {
    let held = state.streams.take(caller.user)?;
    let query = ActivityQuery { limit: Some(AT_ONCE), ..query };
    let mut rest = Rest { state, caller, team, query, sent: 0, _held: held };
    // The first rows before the answer begins: a refusal has its status.
    let (first, more) = rest.next().await?;
    let rows = stream::unfold(more.then_some(rest), async |rest| {
        let mut rest = rest?;
        match rest.next().await {
            Ok((rows, more)) => Some((Ok(rows), more.then_some(rest))),
            // Whoever has left the team, or has been signed out, gets a file that breaks off, not one that looks whole.
            Err(error) => Some((Err(error), None)),
        }
    });
    let body = stream::iter([Ok(HEAD.to_owned()), Ok(first)]).chain(rows);
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8; header=present")),
        (CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"activity.csv\"")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, Body::from_stream(body)).into_response())
}

impl Rest {
    /// The next rows, and whether there are more.
    async fn next(&mut self) -> AppResult<(String, bool)> {
        // A reader may take its time, and its right may end meanwhile.
        if !account::still_holds(&self.state.control, &self.caller).await? {
            return Err(AppError::unauthenticated());
        }
        let page = self.state.backend.activity(&self.caller, self.team, self.query.clone()).await?;
        self.sent += page.items.len();
        self.query.cursor = page.next_cursor;
        let rows = page.items.iter().map(row).collect::<AppResult<String>>()?;
        Ok((rows, self.query.cursor.is_some() && self.sent < MOST_ROWS))
    }
}

fn row(done: &Activity) -> AppResult<String> {
    let at = done.at.format(&Rfc3339).map_err(|error| {
        tracing::error!(%error, seq = done.seq, "a moment can't be written");
        AppError::internal()
    })?;
    let number = done.seq.to_string();
    let empty = String::new();
    let cells = [
        &number,
        &at,
        &done.actor,
        &done.action,
        &done.object,
        &done.detail,
        &done.door,
        done.token.as_ref().unwrap_or(&empty),
        done.address.as_ref().unwrap_or(&empty),
    ];
    Ok(cells.map(|text| cell(text)).join(",") + "\r\n")
}

/// In quotes where it needs them. What a spreadsheet would take for a formula begins with an apostrophe.
fn cell(text: &str) -> String {
    let text = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() };
    if text.contains(['"', ',', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_quoted_where_it_must_be_and_is_never_a_formula() {
        for (text, cell_text) in [
            ("api", "api"),
            ("as Member, invited by owner", "\"as Member, invited by owner\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("=HYPERLINK(\"http://evil.test\")", "\"'=HYPERLINK(\"\"http://evil.test\"\")\""),
            ("-1", "'-1"),
            ("@x", "'@x"),
            ("a\nb", "\"a\nb\""),
        ] {
            assert_eq!(cell(text), cell_text, "{text:?}");
        }
    }
}
