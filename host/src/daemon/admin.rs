//! What root on the host itself may ask for, over the Unix socket alone: what joining needs.

use super::{Daemon, store::Joined};
use crate::{
    frame::{FrameReader, write_json},
    protocol::{HostError, HostErrorCode, JoinReply, Reply},
};
use serde::{Deserialize, Serialize};
use std::{io, path::Path, sync::PoisonError, time::Duration};
use tokio::{net::UnixStream, time::timeout};

const DEADLINE: Duration = Duration::from_secs(60);

/// Stands where a `Request` would.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminRequest {
    pub admin: Admin,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Admin {
    /// Answers `Reply::Inventory`.
    Inventory,
    /// Belong to this installation from now on.
    Join { reply: JoinReply },
}

pub async fn answer(daemon: &Daemon, request: AdminRequest) -> Result<Reply, HostError> {
    match request.admin {
        Admin::Inventory => daemon.inventory().map(|inventory| Reply::Inventory(Box::new(inventory))),
        Admin::Join { reply } => {
            let joined = Joined::parse(&reply)?;
            let moved = daemon.joined().is_some_and(|before| before.pod_cidr != joined.pod_cidr);
            if moved && daemon.runs_any() {
                return Err(HostError::new(HostErrorCode::Invalid, "pods run on this host with addresses of another range: stop them first"));
            }
            daemon.store.join(&joined).map_err(crate::pod::failed("what the host keeps from joining"))?;
            daemon.network.raise_fence(joined.pod_cidr, &daemon.fenced()).await?;
            tracing::info!(host = %joined.host_id, installation = %joined.installation.id, epoch = joined.installation.epoch, "joined");
            *daemon.joined.write().unwrap_or_else(PoisonError::into_inner) = Some(joined);
            Ok(Reply::Done)
        }
    }
}

/// Asks the daemon that serves `run_dir`.
pub async fn ask(run_dir: &Path, admin: Admin) -> io::Result<Reply> {
    let asked = async {
        let mut socket = UnixStream::connect(run_dir.join(super::door::SOCKET)).await?;
        let (read, mut write) = socket.split();
        write_json(&mut write, &AdminRequest { admin }).await.map_err(io::Error::other)?;
        let frame = FrameReader::new(read).next().await.map_err(io::Error::other)?;
        frame.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?.parse().map_err(io::Error::other)
    };
    timeout(DEADLINE, asked).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}
