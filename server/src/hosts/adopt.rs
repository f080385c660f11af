//! A disk that was set aside becomes somebody's pod again (stopped, under the id that it had; its first start takes the disk
//! back), or is removed before its time.

use super::store;
use crate::{
    account,
    activity::{self, Home},
    control::ControlPlane,
    db::{broken_constraint, fault},
    github,
    pods::{self, placement},
    queue,
};
use pinacle_app::{
    AppError, AppResult, ErrorCode, FieldErrors,
    backend::Caller,
    hosts::{Adoption, HostPod, Orphan},
    ids::{HostId, PodId},
    pods::{PodName, PodStatus, Tier},
    teams::activity::Action,
};
use serde_json::{Value, json};
use sqlx::PgConnection;
use std::time::Duration;

async fn find(control: &ControlPlane, host: HostId, pod: PodId) -> AppResult<Orphan> {
    let orphans = store::orphans(&control.db, Some(host)).await.map_err(fault)?;
    orphans.into_iter().find(|orphan| orphan.pod == pod).ok_or_else(AppError::not_found)
}

/// A job that an operator has asked for: done at once, and once more if one of its key is under way.
async fn send(connection: &mut PgConnection, job: &str, key: &str, message: Value) -> AppResult<()> {
    let headers = json!({ "job": job });
    let message = queue::NewMessage { queue: super::FLEET_QUEUE, key: Some(key), priority: 0, delay: Duration::ZERO, anew: true, message, headers };
    queue::send(connection, message).await.map_err(fault)
}

/// Sends the job that removes it.
pub async fn remove(control: &ControlPlane, caller: &Caller, host: HostId, pod: PodId) -> AppResult<()> {
    let orphan = find(control, host, pod).await?;
    let mut tx = control.db.begin().await.map_err(fault)?;
    send(&mut tx, super::REMOVE_ORPHAN_JOB, &format!("orphan:{pod}"), json!({ "host_id": host, "pod_id": pod })).await?;
    let (name, detail) = (pod.to_string(), format!("that was set aside on {}", orphan.host));
    activity::record_by(&mut tx, caller, Home::Personal(caller.user), Action::OrphanRemove, pod.0, &name, &detail).await?;
    tx.commit().await.map_err(fault)
}

/// Sends the job that sets aside whatever nobody knows on the host.
pub async fn set_aside(control: &ControlPlane, caller: &Caller, host: HostId, name: &str) -> AppResult<()> {
    let mut tx = control.db.begin().await.map_err(fault)?;
    send(&mut tx, super::SET_ASIDE_JOB, &format!("set-aside:{host}"), json!({ "host_id": host })).await?;
    activity::record_by(&mut tx, caller, Home::Personal(caller.user), Action::HostSetAside, host.0, name, "").await?;
    tx.commit().await.map_err(fault)
}

pub async fn adopt(control: &ControlPlane, caller: &Caller, id: HostId, pod: PodId, adoption: Adoption) -> AppResult<HostPod> {
    let orphan = find(control, id, pod).await?;
    let mut errors = FieldErrors::default();
    let name = errors.take("name", PodName::parse(&adoption.name));
    let tier = errors.take("tier", Tier::parse(&adoption.tier).ok_or("Choose dev.small, dev.medium, dev.large or dev.xlarge."));
    let owner = match adoption.owner.as_str() {
        login if github::is_login(login) => account::store::user_of_login(&control.db, login).await.map_err(fault)?,
        _ => None,
    };
    let owner = errors.take("owner", owner.ok_or("Nobody of this GitHub login has signed in."));
    errors.check()?;
    let (Some(name), Some(tier), Some(owner)) = (name, tier, owner) else { return Err(AppError::internal()) };
    if tier.disk_bytes() < orphan.disk_bytes {
        return Err(AppError::field("tier", format!("{}'s disk is smaller than what was set aside.", tier.as_str())));
    }
    let mut tx = control.db.begin().await.map_err(fault)?;
    let hosts = store::lock_for_placement(&mut tx, Some(id)).await.map_err(fault)?;
    let host = hosts.first().ok_or_else(AppError::not_found)?;
    let taken = pods::store::addresses_on(&mut tx, id).await.map_err(fault)?;
    let full = || AppError::new(ErrorCode::WrongState, format!("{} has no address left.", host.name));
    let address = placement::free_address(host.pod_cidr, &taken).ok_or_else(full)?;
    let team = crate::teams::store::personal(&mut *tx, owner).await.map_err(fault)?.ok_or_else(AppError::internal)?;
    let new = pods::store::NewRow { id: pod, team, owner, name: name.as_str(), tier, repository: None, branch: None };
    match pods::store::insert(&mut tx, new).await {
        Err(error) if broken_constraint(&error) == Some("pods_name") => {
            return Err(AppError { code: ErrorCode::Taken, ..AppError::field("name", "Its owner has a pod of this name already.") });
        }
        Err(error) if broken_constraint(&error) == Some("pods_pkey") => {
            return Err(AppError::new(ErrorCode::WrongState, "A pod of this id is known by now. Start it to have its disk back."));
        }
        result => result.map_err(fault)?,
    }
    let placement = placement::Placement { host_id: id, host: host.name.clone(), load: 0.0, others: Vec::new() };
    pods::store::reserve(&mut tx, pod, &placement, address, tier).await.map_err(fault)?;
    pods::store::adopted(&mut tx, pod).await.map_err(fault)?;
    let detail = format!("that was set aside on {} as a pod of {}", host.name, adoption.owner);
    let mut homes = vec![Home::Personal(caller.user)];
    // Both are told; once, where both are one.
    homes.extend((owner != caller.user).then_some(Home::Team(team)));
    for home in homes {
        activity::record_by(&mut tx, caller, home, Action::OrphanAdopt, pod.0, name.as_str(), &detail).await?;
    }
    pods::tell(&mut tx, pod).await.map_err(fault)?;
    tx.commit().await.map_err(fault)?;
    Ok(HostPod { id: pod, name: name.as_str().to_owned(), owner: adoption.owner, tier, status: PodStatus::Stopped })
}
