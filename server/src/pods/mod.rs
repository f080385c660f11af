//! Pods: what their users may ask, where they are placed, what is written of them.

mod access;
pub mod event_store;
pub mod git_access;
pub mod git_token;
mod inside;
pub mod keys;
pub mod placement;
pub mod plan;
mod process;
pub mod quota;
pub mod store;
mod streams;
mod terminal;
pub mod turns;
pub mod wishes;

use crate::{
    control::ControlPlane,
    db,
    hosts::link::LinkError,
    news::{self, Change},
    ssh::SshError,
};
use pinacle_app::{AppError, AppResult, ErrorCode, backend::Caller, ids::PodId};
use pinacle_host::protocol::HostErrorCode;

/// Tells whoever watches, once the transaction commits, that the pod's row or what belongs to it has changed.
pub async fn tell(connection: &mut sqlx::PgConnection, pod: PodId) -> Result<(), sqlx::Error> {
    match store::team_of(connection, pod).await? {
        Some(team) => news::notify(connection, Change::Pod { pod, team }).await,
        None => Ok(()),
    }
}

/// Whether the caller is in the pod's team. What the database can't say is logged there.
pub async fn still_reaches(control: &ControlPlane, caller: &Caller, pod: PodId) -> AppResult<bool> {
    Ok(store::get_for(&control.db, pod, caller.user).await.map_err(db::fault)?.is_some())
}

/// What a person is told when a host could not do what they asked for.
fn answer(error: LinkError) -> AppError {
    match error {
        LinkError::Host(error) => match error.code {
            HostErrorCode::NotFound => AppError::new(ErrorCode::NotFound, error.message),
            HostErrorCode::Invalid => AppError::new(ErrorCode::Invalid, error.message),
            HostErrorCode::NotRunning | HostErrorCode::NoSuchPod => AppError::new(ErrorCode::WrongState, "The pod's machine does not run."),
            HostErrorCode::NoSpace => AppError::new(ErrorCode::WrongState, "The pod's disk is full. Delete something in it, then try again."),
            HostErrorCode::Timeout => AppError::new(ErrorCode::Unavailable, error.message),
            HostErrorCode::StaleFence | HostErrorCode::WrongInstallation | HostErrorCode::WrongProtocol | HostErrorCode::Failed => {
                tracing::error!(code = ?error.code, message = error.message, output = error.output, "a host refused");
                AppError::new(ErrorCode::Unavailable, "The pod's host could not do this. It has been logged.")
            }
        },
        LinkError::Ssh(SshError::HostKeyChanged { fingerprint, .. }) => {
            tracing::error!(fingerprint, "a host shows another key than the one it joined with");
            AppError::new(ErrorCode::Unavailable, "The pod's host can't be trusted at the moment: it shows another key. Its operators see this too.")
        }
        error => {
            tracing::warn!(%error, "a host could not be asked");
            AppError::new(ErrorCode::Unavailable, "The pod's host does not answer. Try again in a moment.")
        }
    }
}
