//! The daemon's side of the connection to a pod's PID 1. What comes back is the pod's own word: bounded, never trusted.

use crate::{
    frame::{FrameReader, write_json},
    inside::{Ask, Boot, INIT_PORT, What},
    pod::sandbox::{Complaints, Running},
    protocol::{Command, HostError, HostErrorCode, Reply},
};
use std::time::Duration;
use tokio::{
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::{Instant, sleep, timeout},
};

const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// From the sandbox's start until PID 1 answers.
const BOOT_DEADLINE: Duration = Duration::from_secs(20);
/// A SYN that is lost because nobody is there yet is sent again by TCP only after a second.
const PING_DEADLINE: Duration = Duration::from_millis(250);
const BOOT_RETRY: Duration = Duration::from_millis(5);

/// A connection that has asked and not read anything yet.
pub struct Asked {
    pub input: FrameReader<OwnedReadHalf>,
    pub output: OwnedWriteHalf,
}

pub async fn open(boot: &Boot, what: What) -> Result<Asked, HostError> {
    let unreachable = |error: String| HostError::new(HostErrorCode::NotRunning, format!("the pod does not answer: {error}"));
    let connecting = timeout(CONNECT_DEADLINE, TcpStream::connect((boot.address, INIT_PORT))).await;
    let socket = connecting.map_err(|_| unreachable("no connection in time".into()))?.map_err(|error| unreachable(error.to_string()))?;
    socket.set_nodelay(true).map_err(|error| unreachable(error.to_string()))?;
    let (read, mut output) = socket.into_split();
    let ask = Ask { token: boot.token.clone(), what };
    let written = timeout(CONNECT_DEADLINE, write_json(&mut output, &ask)).await.map_err(|_| unreachable("it takes nothing".into()))?;
    written.map_err(|error| unreachable(error.to_string()))?;
    Ok(Asked { input: FrameReader::new(read), output })
}

/// Asks once and waits for the answer.
pub async fn ask(boot: &Boot, what: What, deadline: Duration) -> Result<Reply, HostError> {
    let asked = async {
        let mut asked = open(boot, what).await?;
        let frame =
            asked.input.next().await.map_err(|error| HostError::new(HostErrorCode::NotRunning, format!("the pod ended the connection: {error}")))?;
        let frame = frame.ok_or_else(|| HostError::new(HostErrorCode::NotRunning, "the pod ended the connection"))?;
        frame.parse::<Reply>().map_err(|error| HostError::new(HostErrorCode::Failed, format!("the pod answered nonsense: {error}")))
    };
    match timeout(deadline, asked).await {
        Ok(Ok(Reply::Error(error))) => Err(error),
        Ok(answer) => answer,
        Err(_) => Err(HostError::new(HostErrorCode::Timeout, format!("the pod did not answer within {} s", deadline.as_secs()))),
    }
}

pub async fn command(boot: &Boot, command: Command, deadline: Duration) -> Result<Reply, HostError> {
    ask(boot, What::Command(Box::new(command)), deadline).await
}

/// Waits until PID 1 answers for the first time.
pub async fn wait_for_boot(running: &Running, complaints: &Complaints) -> Result<(), HostError> {
    let end = Instant::now() + BOOT_DEADLINE;
    loop {
        match ask(&running.boot, What::Ping, PING_DEADLINE).await {
            Ok(_) => return Ok(()),
            Err(_) if !running.is_alive() => return Err(complaints.in_error("the sandbox ended while it was booting")),
            Err(error) if Instant::now() > end => {
                let late = complaints.in_error(&format!("the sandbox runs, its PID 1 does not answer: {error}"));
                return Err(HostError { code: HostErrorCode::Timeout, ..late });
            }
            Err(_) => sleep(BOOT_RETRY).await,
        }
    }
}
