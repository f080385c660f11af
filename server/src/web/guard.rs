//! Ends what is open when the right to it ends: the browser was signed out, the token revoked, the server stops.

use super::AppState;
use crate::{account, news::Change};
use pinacle_app::{
    AppError, AppResult, ErrorCode,
    backend::{Caller, Door},
};
use std::time::Duration;

/// How often a credential is looked at again without news: it may expire, or its team be left.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// Resolves with the reason, for a person, when what the caller has open must close.
pub async fn ended(state: AppState, caller: Caller) -> &'static str {
    tokio::select! {
        () = state.shutdown.cancelled() => "The server restarts.",
        () = credential_ended(&state, &caller) => match caller.door {
            Door::Session(_) => "This browser was signed out.",
            Door::Token(_) => "The API token was revoked or has expired.",
            Door::Key(_) => "The key is no longer one of your GitHub account's.",
        },
    }
}

/// Does what takes long for as long as the right to it holds.
pub async fn while_held<T>(state: &AppState, caller: &Caller, work: impl Future<Output = AppResult<T>>) -> AppResult<T> {
    tokio::select! {
        done = work => done,
        why = ended(state.clone(), caller.clone()) => Err(AppError::new(ErrorCode::Unavailable, why)),
    }
}

async fn credential_ended(state: &AppState, caller: &Caller) {
    // Listening comes first, so that nothing is lost between the look and the news.
    let mut news = state.control.news.subscribe();
    let mut clock = tokio::time::interval(LOOK_AGAIN);
    loop {
        let look = tokio::select! {
            _ = clock.tick() => true,
            change = news.next() => match change {
                None => return,
                Some(Change::SessionEnded(session)) => caller.door == Door::Session(session),
                Some(Change::TokenEnded(token)) => caller.door == Door::Token(token),
                Some(Change::SessionsEnded(user)) => caller.user == user && matches!(caller.door, Door::Session(_)),
                Some(Change::Missed) => true,
                Some(Change::Pod(_) | Change::Events(_) | Change::Team(_)) => false,
            },
        };
        if look {
            match account::still_holds(&state.control, caller).await {
                Ok(true) => {}
                Ok(false) => return,
                // Logged there. A database that is away for a moment signs nobody out; the next look tells.
                Err(_) => {}
            }
        }
    }
}
