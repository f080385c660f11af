//! One connection: requests one after another, until a stream takes it over.

use super::{Daemon, admin, stream};
use crate::{
    frame::{Frame, FrameError, FrameReader, write_json},
    protocol::{Command, HostError, HostErrorCode, HostHello, PROTOCOL, Reply, Request},
    valid,
};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

/// How long a connection may be there without having said what it wants; between two requests it may wait.
const FIRST_DEADLINE: Duration = Duration::from_secs(10);
/// How long the other end may take to accept a reply.
const WRITE_DEADLINE: Duration = Duration::from_secs(60);

/// Serves to the connection's end. `root`: it is this host's own root that speaks.
pub async fn serve<R, W>(daemon: Arc<Daemon>, read: R, mut write: W, root: bool)
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let mut input = FrameReader::new(read);
    let mut next = first(&mut input).await;
    loop {
        let frame = match next {
            Ok(Some(frame)) => frame,
            Ok(None) => return,
            Err(error) => {
                tracing::info!(%error, "a connection ended");
                return;
            }
        };
        let reply = match understand(&daemon, &frame, root) {
            Ok(Asked::Admin(request)) => admin::answer(&daemon, request).await,
            Ok(Asked::Hello) => Ok(Reply::Hello(daemon.hello())),
            Ok(Asked::Stream(command)) => {
                let served = match command {
                    Command::Questions => daemon.questions.listen(input, write).await,
                    command => stream::serve(&daemon, command, input, write).await,
                };
                if let Err(error) = served {
                    tracing::debug!(%error, "a stream ended");
                }
                return;
            }
            Ok(Asked::Unary(command)) => {
                // A task of its own: it is done to its end, also when the one who asked goes away.
                let daemon = daemon.clone();
                let work = tokio::spawn(async move { daemon.perform(command).await });
                work.await.unwrap_or_else(|error| Err(HostError::new(HostErrorCode::Failed, format!("the command did not end: {error}"))))
            }
            Err(error) => Err(error),
        };
        if let Err(error) = send(&mut write, reply).await {
            tracing::info!(%error, "a reply could not be sent");
            return;
        }
        next = input.next().await;
    }
}

/// The first frame, within its deadline: who says nothing must not hold one of the door's connections for ever.
async fn first<R: AsyncRead + Unpin>(input: &mut FrameReader<R>) -> Result<Option<Frame>, FrameError> {
    timeout(FIRST_DEADLINE, input.next()).await.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))?
}

async fn send<W: AsyncWrite + Unpin>(write: &mut W, reply: Result<Reply, HostError>) -> Result<(), FrameError> {
    let reply = reply.unwrap_or_else(Reply::Error);
    timeout(WRITE_DEADLINE, write_json(write, &reply)).await.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))?
}

enum Asked {
    Admin(admin::AdminRequest),
    Hello,
    Unary(Command),
    Stream(Command),
}

/// Parses a request and refuses what may not be done at all.
fn understand(daemon: &Daemon, frame: &Frame, root: bool) -> Result<Asked, HostError> {
    if root && let Ok(request) = frame.parse() {
        return Ok(Asked::Admin(request));
    }
    let request: Request = frame.parse().map_err(|error| HostError::new(HostErrorCode::Invalid, error.to_string()))?;
    if request.protocol != PROTOCOL {
        let message = format!("this host speaks version {PROTOCOL} of the protocol, not {}", request.protocol);
        return Err(HostError::new(HostErrorCode::WrongProtocol, message));
    }
    if matches!(request.command, Command::Hello) {
        return Ok(Asked::Hello);
    }
    let own = daemon.joined().map(|joined| joined.installation);
    if own.is_none() || request.installation != own {
        return Err(HostError::new(HostErrorCode::WrongInstallation, "this host belongs to another installation or epoch, or to none yet"));
    }
    valid::command(&request.command)?;
    Ok(match request.command {
        command @ (Command::Watch { .. }
        | Command::Exec { .. }
        | Command::Terminal { .. }
        | Command::ReadFile { .. }
        | Command::WriteFile { .. }
        | Command::ProcessLog { .. }
        | Command::Connect { .. }
        | Command::Questions) => Asked::Stream(command),
        command => Asked::Unary(command),
    })
}

impl Daemon {
    fn hello(&self) -> HostHello {
        let joined = self.joined();
        HostHello {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host_id: joined.as_ref().map(|j| j.host_id),
            installation: joined.as_ref().map(|j| j.installation),
            boot_id: self.facts.boot_id,
        }
    }
}
