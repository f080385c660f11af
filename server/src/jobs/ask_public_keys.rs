//! Asks GitHub for the public keys of somebody who has signed in or joined a team, so that the SSH gateway knows them when they come.

use crate::{
    account::public_keys,
    control::ControlPlane,
    queue::{Message, Outcome},
};
use pinacle_app::ids::UserId;

pub async fn run(control: &ControlPlane, message: &Message) -> Outcome {
    let Some(user) = message.message.get("user_id").and_then(|id| id.as_str()).and_then(|id| id.parse::<UserId>().ok()) else {
        return Outcome::Failed("the message names no user".to_owned());
    };
    match public_keys::ask(control, user).await {
        Ok(()) => Outcome::Done,
        Err(error) => Outcome::Failed(error.to_string()),
    }
}
