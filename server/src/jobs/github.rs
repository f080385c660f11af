//! The jobs of the queue `github`: what GitHub is told and asked without anybody waiting for it.

use super::{ask_public_keys, remove_deploy_key::RemoveDeployKey};
use crate::{
    account::public_keys::ASK_JOB,
    control::ControlPlane,
    queue::{Job, JobContext, Message, Outcome},
};
use async_trait::async_trait;

pub struct GitHubJob {
    control: ControlPlane,
    remove_deploy_key: RemoveDeployKey,
}

impl GitHubJob {
    pub fn new(control: ControlPlane) -> Self {
        Self { remove_deploy_key: RemoveDeployKey { control: control.clone() }, control }
    }
}

fn asks_for_keys(message: &Message) -> bool {
    message.headers.as_ref().is_some_and(|headers| headers["job"] == ASK_JOB)
}

#[async_trait]
impl Job for GitHubJob {
    async fn run(&self, context: &JobContext, message: &Message) -> Outcome {
        match asks_for_keys(message) {
            true => ask_public_keys::run(&self.control, message).await,
            false => self.remove_deploy_key.run(context, message).await,
        }
    }

    async fn dead(&self, context: &JobContext, message: &Message, error: &str) {
        match asks_for_keys(message) {
            true => tracing::warn!(key = message.key, error, "somebody's public keys were not asked for; whoever needs them asks"),
            false => self.remove_deploy_key.dead(context, message, error).await,
        }
    }
}
