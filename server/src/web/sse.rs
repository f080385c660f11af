//! Server-sent events: pods, and one pod's news. The same for browsers and for the API.

use super::{
    AppState,
    guard::{self, Reach},
    problem::Answer,
};
use axum::response::{
    IntoResponse, Response,
    sse::{Event, KeepAlive, Sse},
};
use futures::{Stream, StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, header::CACHE_CONTROL};
use pinacle_app::{
    AppError,
    backend::Caller,
    ids::{PodId, TeamId},
    pods::PodNews,
};
use serde::Serialize;
use std::time::Duration;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Proxies must not collect what is live (nginx).
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a browser waits before it connects again.
const RETRY: Duration = Duration::from_secs(1);

/// Every pod that the caller may see, after each change.
pub async fn pods(state: AppState, caller: Caller) -> Answer<Response> {
    let pods = state.backend.watch_pods(&caller).await?;
    streamed(state, caller, Reach::Own, pods.map(|pod| event(&pod, None)))
}

/// Says when something was done in a team; ends when the caller is in it no more.
pub async fn team(state: AppState, caller: Caller, id: TeamId) -> Answer<Response> {
    let changes = state.backend.watch_team(&caller, id).await?;
    streamed(state, caller, Reach::Own, changes.map(|()| event(&"changed", None)))
}

/// One pod's news after `after`, or after what the browser saw last.
pub async fn pod_news(state: AppState, caller: Caller, id: PodId, after: Option<i64>, headers: &HeaderMap) -> Answer<Response> {
    let seen = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()).and_then(|id| id.parse().ok());
    let after = seen.or(after).unwrap_or(0).max(0);
    let news = state.backend.watch_pod(&caller, id, after).await?;
    let events = news.map(|news| {
        let seq = match &news {
            PodNews::Event { event } => Some(event.seq),
            PodNews::Pod { .. } | PodNews::Live { .. } => None,
        };
        event(&news, seq)
    });
    streamed(state, caller, Reach::Pod(id), events)
}

fn event(data: &impl Serialize, seq: Option<i64>) -> Result<Event, serde_json::Error> {
    let event = Event::default().data(serde_json::to_string(data)?);
    Ok(match seq {
        Some(seq) => event.id(seq.to_string()),
        None => event,
    })
}

fn streamed(
    state: AppState,
    caller: Caller,
    reach: Reach,
    events: impl Stream<Item = Result<Event, serde_json::Error>> + Send + 'static,
) -> Answer<Response> {
    let slot = state.streams.take(caller.user)?;
    // The first event tells the browser how soon to come back; the slot is free when the stream is dropped.
    let first = stream::iter([Ok(Event::default().retry(RETRY).comment("pinacle"))]);
    let events = first.chain(events).take_until(guard::ended(state, caller, reach)).map(move |event| {
        let _held = &slot;
        event
    });
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}

/// `after` as typed into an address.
pub fn after_of(text: Option<&str>) -> Answer<Option<i64>> {
    text.map(|text| text.parse::<i64>().ok().filter(|after| *after >= 0))
        .map(|after| after.ok_or_else(|| AppError::field("after", "The number of an event, or none.").into()))
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_events_are_asked_for_after_is_a_number_or_refused_at_its_field(text in ".{0,30}|-?[0-9]{0,25}|[0-9]{1,18}") {
            match after_of(Some(&text)) {
                Ok(after) => {
                    let after = after.unwrap();
                    prop_assert!(after >= 0);
                    prop_assert_eq!(after_of(Some(&after.to_string())).ok().flatten(), Some(after));
                }
                Err(problem) => prop_assert!(problem.0.of("after").is_some()),
            }
        }
    }
}
