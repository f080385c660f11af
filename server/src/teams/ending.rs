//! The end of a team: its members lose it at once, its secrets are gone, its pods are deleted by their jobs, its row stays for the record.

use super::{members, store};
use crate::{
    activity::{self, Home},
    control::ControlPlane,
    db::fault,
    news::{self, Change},
    pods::{self, store::WishRow},
    secrets,
};
use pinacle_app::{AppError, AppResult, ErrorCode, backend::Caller, ids::TeamId, pods::Desired, teams::activity::Action};

/// A team that has pods goes with them only where its name is said.
pub async fn delete(control: &ControlPlane, caller: &Caller, team: TeamId, with_pods_of: Option<&str>) -> AppResult<()> {
    let mut tx = control.db.begin().await.map_err(fault)?;
    members::hold_as_owner(&mut tx, caller, team).await?;
    let name = store::name(&mut tx, team).await.map_err(fault)?.ok_or_else(AppError::not_found)?;
    if store::is_personal(&mut tx, team).await.map_err(fault)? {
        return Err(AppError::new(ErrorCode::WrongState, "A personal team stays its user's."));
    }
    // First, so that a pod that somebody is just creating is among those below.
    let members = store::remove_all_members(&mut tx, team).await.map_err(fault)?;
    let pods = pods::store::alive_in(&mut tx, team).await.map_err(fault)?;
    if !pods.is_empty() && with_pods_of != Some(name.as_str()) {
        if with_pods_of.is_some() {
            return Err(AppError::field("with_pods_of", "That is not the team's name."));
        }
        let names: Vec<&str> = pods.iter().take(NAMED).map(|(_, name)| name.as_str()).collect();
        let more = if pods.len() > NAMED { " and others" } else { "" };
        let message = format!("{name} has pods: {}{more}. Delete them first, or say the team's name to delete them with it.", names.join(", "));
        return Err(AppError::new(ErrorCode::WrongState, message));
    }
    for (id, pod) in &pods {
        let wish = WishRow { desired: Some(Desired::Deleted), ..WishRow::default() };
        pods::wishes::write(&mut tx, *id, wish, "cleanup-pod").await.map_err(fault)?;
        activity::record_by(&mut tx, caller, Home::Team(team), Action::PodDelete, id.0, pod, "with its team").await?;
    }
    secrets::store::forget_team(&mut tx, team).await.map_err(fault)?;
    store::end(&mut tx, team).await.map_err(fault)?;
    // The team's page is gone; whoever ended it finds that among its own.
    for home in [Home::Team(team), Home::Personal(caller.user)] {
        activity::record_by(&mut tx, caller, home, Action::TeamDelete, team.0, &name, "").await?;
    }
    for user in members {
        news::notify(&mut tx, Change::Left { team, user }).await.map_err(fault)?;
    }
    tx.commit().await.map_err(fault)
}

/// Pods that a refusal names.
const NAMED: usize = 5;
