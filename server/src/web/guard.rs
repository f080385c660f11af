//! Ends what is open when the right to it ends: the browser was signed out, the token revoked, the team left, the server stops.

use super::AppState;
use crate::{account, news::Change, pods};
use pinacle_app::{
    AppError, AppResult, ErrorCode,
    backend::{Caller, Door},
    ids::PodId,
};
use std::time::Duration;

/// How often a credential is looked at again without news: it may expire, or its team be left.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// How long what has an end of its own (a command, a file) may go on when the server stops: a little less than serving may.
const FINISH: Duration = Duration::from_secs(10);

/// What the right to something open hangs on, beside the credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Nothing else: what it shows is read under the caller's rights piece by piece.
    Own,
    /// Being in the pod's team.
    Pod(PodId),
}

/// Why something that is open must close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    Restart,
    SignedOut,
    TokenEnded,
    KeyGone,
    Left,
}

impl Why {
    /// For a person.
    pub fn words(self) -> &'static str {
        match self {
            Why::Restart => "The server restarts.",
            Why::SignedOut => "This browser was signed out.",
            Why::KeyGone => "The key is no longer one of your GitHub account's.",
            Why::TokenEnded => "The API token was revoked or has expired.",
            Why::Left => "You are not in this pod's team any more.",
        }
    }

    /// Whether trying again is in vain.
    pub fn is_final(self) -> bool {
        self != Why::Restart
    }
}

/// Resolves with the reason when what the caller has open must close: at once when the server stops, for what is open
/// without an end opens itself again.
pub async fn ended(state: AppState, caller: Caller, reach: Reach) -> Why {
    tokio::select! {
        () = state.shutdown.cancelled() => Why::Restart,
        why = right_ended(&state, &caller, reach) => why,
    }
}

/// The same for what has an end of its own and can't go on elsewhere.
pub async fn out_of_time(state: AppState, caller: Caller, reach: Reach) -> Why {
    let stopped = async {
        state.shutdown.cancelled().await;
        tokio::time::sleep(FINISH).await;
    };
    tokio::select! {
        () = stopped => Why::Restart,
        why = right_ended(&state, &caller, reach) => why,
    }
}

/// Does what takes long for as long as the right to it holds.
pub async fn while_held<T>(state: &AppState, caller: &Caller, reach: Reach, work: impl Future<Output = AppResult<T>>) -> AppResult<T> {
    tokio::select! {
        done = work => done,
        why = out_of_time(state.clone(), caller.clone(), reach) => match why {
            // As it is for everybody who is not in the team.
            Why::Left => Err(AppError::not_found()),
            why => Err(AppError::new(ErrorCode::Unavailable, why.words())),
        },
    }
}

async fn right_ended(state: &AppState, caller: &Caller, reach: Reach) -> Why {
    let credential = match caller.door {
        Door::Session(_) => Why::SignedOut,
        Door::Token(_) => Why::TokenEnded,
        Door::Key(_) => Why::KeyGone,
    };
    // Listening comes first, so that nothing is lost between the look and the news.
    let mut news = state.control.news.subscribe();
    let mut clock = tokio::time::interval(LOOK_AGAIN);
    loop {
        let look = tokio::select! {
            _ = clock.tick() => true,
            change = news.next() => match change {
                None => return credential,
                Some(Change::SessionEnded(session)) => caller.door == Door::Session(session),
                Some(Change::TokenEnded(token)) => caller.door == Door::Token(token),
                Some(Change::SessionsEnded(user)) => caller.user == user && matches!(caller.door, Door::Session(_)),
                Some(Change::Left { user, .. }) => caller.user == user,
                Some(Change::Missed) => true,
                Some(Change::Pod { .. } | Change::Events(_) | Change::Team(_) | Change::Joined { .. } | Change::Secrets(_)) => false,
            },
        };
        if look {
            match account::still_holds(&state.control, caller).await {
                Ok(true) => {}
                Ok(false) => return credential,
                // Logged there. A database that is away for a moment signs nobody out; the next look tells.
                Err(_) => continue,
            }
            if let Reach::Pod(pod) = reach
                && let Ok(false) = pods::still_reaches(&state.control, caller, pod).await
            {
                return Why::Left;
            }
        }
    }
}
