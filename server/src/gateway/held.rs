//! Ends what is open when the right to it ends: the key was taken from the account, the team was left, the pod is stopped or gone.

use super::Gateway;
use crate::{account, news::Change};
use pinacle_app::{
    ErrorCode,
    backend::Caller,
    ids::PodId,
    pods::{Pod, PodStatus},
};
use std::{sync::Arc, time::Duration};

/// How often the right is looked at again without news.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// Resolves with the reason, for a person.
pub(super) async fn ended(gateway: Arc<Gateway>, caller: Caller, pod: PodId) -> String {
    // Side by side: whose key it is is asked at GitHub, and the right to the pod waits for nobody's answer.
    tokio::select! {
        why = right_ended(&gateway, &caller, pod) => why,
        () = key_gone(&gateway, &caller) => "The key is no longer one of your GitHub account's.".to_owned(),
    }
}

async fn right_ended(gateway: &Gateway, caller: &Caller, pod: PodId) -> String {
    // Listening comes first, so that nothing is lost between the look and the news.
    let mut news = gateway.control.news.subscribe();
    let mut clock = tokio::time::interval(LOOK_AGAIN);
    // One that did not run from the beginning says so at each thing that is asked of it.
    let mut ran = false;
    loop {
        let look = tokio::select! {
            _ = clock.tick() => true,
            change = news.next() => match change {
                None => return "The server restarts.".to_owned(),
                Some(Change::Pod { pod: changed, .. }) => changed == pod,
                Some(Change::Left { user, .. }) => user == caller.user,
                Some(Change::Missed) => true,
                Some(Change::Events(_) | Change::Team(_) | Change::Joined { .. } | Change::Secrets(_)) => false,
                // Of other doors.
                Some(Change::SessionEnded(_) | Change::SessionsEnded(_) | Change::TokenEnded(_)) => false,
            },
        };
        if !look {
            continue;
        }
        match gateway.backend.pod(caller, pod).await {
            Ok(pod) if ran && is_over(&pod) => return format!("{} is {}.", pod.name, pod.status.label().to_lowercase()),
            Err(error) if error.code == ErrorCode::NotFound => return error.message,
            Ok(pod) => ran |= pod.status == PodStatus::Running,
            // A database that is away for a moment ends nothing; the next look tells.
            Err(_) => {}
        }
    }
}

/// Resolves when the key is the account's no more. While GitHub is slow, so is this.
async fn key_gone(gateway: &Gateway, caller: &Caller) {
    let mut clock = tokio::time::interval(LOOK_AGAIN);
    loop {
        clock.tick().await;
        // A database that is away for a moment signs nobody out; the next look tells.
        if let Ok(false) = account::still_holds(&gateway.control, caller).await {
            return;
        }
    }
}

/// A pod that is not running has nothing that could be joined; one that waits to be started anew will not have kept it.
fn is_over(pod: &Pod) -> bool {
    matches!(pod.status, PodStatus::Stopped | PodStatus::Failed | PodStatus::Deleting | PodStatus::Deleted)
}
