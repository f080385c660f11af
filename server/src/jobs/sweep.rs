//! Sends again every pod whose wish is not answered and that no message names: what a crash between two statements,
//! or a dead letter, would otherwise leave behind. The same for deploy keys that are to go.

use super::remove_deploy_key;
use crate::{
    control::ControlPlane,
    pods::{store, wishes},
};

/// Pods that one sweep sends at most; the next one takes the rest.
const LIMIT: i64 = 500;

pub async fn run(control: &ControlPlane) -> Result<(), sqlx::Error> {
    for (pod, desired) in store::behind_without_message(&control.db, LIMIT).await? {
        let mut tx = control.db.begin().await?;
        wishes::enqueue(&mut tx, pod, wishes::job_name(desired, true), wishes::SWEPT).await?;
        tx.commit().await?;
        tracing::info!(%pod, "a pod was behind and in no queue; sent it again");
    }
    remove_deploy_key::sweep(control, LIMIT).await
}
