//! Asking a host: one command and its answer, or a stream. Over SSH or HTTPS, the frames are the same.

use super::store::HostTarget;
use crate::{
    control::ControlPlane,
    ssh::{Class, SshError, Target},
};
use bytes::Bytes;
use pinacle_app::hosts::Transport;
use pinacle_host::{
    frame::{DATA_CHUNK, Frame, FrameError, FrameReader, write_frame, write_json},
    protocol::{Command, HostError, HostErrorCode, PROTOCOL, Reply, Request, StreamInput, StreamOutput},
};
use std::time::Duration;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf, split},
    time::timeout,
};

/// Within which a host begins to answer a stream command.
const OPEN_DEADLINE: Duration = Duration::from_secs(15);

#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The host answered, and the answer is no.
    #[error("{0}")]
    Host(HostError),
    #[error(transparent)]
    Ssh(#[from] SshError),
    #[error("the host did not answer within {0:?}")]
    Timeout(Duration),
    #[error("the connection to the host broke: {0}")]
    Broken(String),
}

impl From<FrameError> for LinkError {
    fn from(error: FrameError) -> Self {
        Self::Broken(error.to_string())
    }
}

impl LinkError {
    /// The host could not be asked: nothing is known of what it did.
    pub fn is_unreachable(&self) -> bool {
        !matches!(self, Self::Host(_) | Self::Ssh(SshError::HostKeyChanged { .. }))
    }

    pub fn host_code(&self) -> Option<HostErrorCode> {
        match self {
            Self::Host(error) => Some(error.code),
            _ => None,
        }
    }
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

type Reader = FrameReader<ReadHalf<Box<dyn Duplex>>>;
type Writer = WriteHalf<Box<dyn Duplex>>;

async fn open(control: &ControlPlane, host: &HostTarget, class: Class) -> Result<(Reader, Writer), LinkError> {
    let stream: Box<dyn Duplex> = match host.transport {
        Transport::Ssh => {
            let target = Target { id: host.id.0, address: host.address.clone(), port: host.port, trusted: host.trusted.clone() };
            Box::new(control.connections.open(&target, class).await?)
        }
        Transport::Https => return Err(LinkError::Broken("this host is reached over HTTPS, which needs its API key".to_owned())),
    };
    let (read, write) = split(stream);
    Ok((FrameReader::new(read), write))
}

async fn ask(reader: &mut Reader, writer: &mut Writer, host: &HostTarget, command: Command) -> Result<Reply, LinkError> {
    let installation = match command {
        Command::Hello => None,
        _ => Some(host.installation),
    };
    write_json(writer, &Request { protocol: PROTOCOL, installation, command }).await?;
    let frame = reader.next().await?.ok_or_else(|| LinkError::Broken("it was closed before the answer".to_owned()))?;
    match frame.parse()? {
        Reply::Error(error) => Err(LinkError::Host(error)),
        reply => Ok(reply),
    }
}

/// One command, one answer.
pub async fn call(control: &ControlPlane, host: &HostTarget, command: Command, deadline: Duration) -> Result<Reply, LinkError> {
    call_on(control, host, Class::Control, command, deadline).await
}

/// As `call`, on the connection of a person who waits.
pub async fn call_on(control: &ControlPlane, host: &HostTarget, class: Class, command: Command, deadline: Duration) -> Result<Reply, LinkError> {
    let exchange = async {
        let (mut reader, mut writer) = open(control, host, class).await?;
        ask(&mut reader, &mut writer, host, command).await
    };
    timeout(deadline, exchange).await.unwrap_or(Err(LinkError::Timeout(deadline)))
}

/// A command whose answer is a stream; dropping both ends stops it on the host.
pub async fn stream(control: &ControlPlane, host: &HostTarget, class: Class, command: Command) -> Result<(StreamReader, StreamWriter), LinkError> {
    let opening = async {
        let (mut reader, mut writer) = open(control, host, class).await?;
        match ask(&mut reader, &mut writer, host, command).await? {
            Reply::Streaming => Ok((StreamReader { from: reader }, StreamWriter { to: writer })),
            other => Err(LinkError::Broken(format!("a stream was asked for, and this came: {other:?}"))),
        }
    };
    timeout(OPEN_DEADLINE, opening).await.unwrap_or(Err(LinkError::Timeout(OPEN_DEADLINE)))
}

/// What comes out of a stream.
#[derive(Debug)]
pub enum Received {
    Stdout(Bytes),
    Stderr(Bytes),
    Message(StreamOutput),
}

pub struct StreamReader {
    from: Reader,
}

impl StreamReader {
    /// The next piece; an end without `Exit` or `Error` before it is a broken connection.
    pub async fn next(&mut self) -> Result<Received, LinkError> {
        match self.from.next().await? {
            None => Err(LinkError::Broken("it was closed".to_owned())),
            Some(Frame::Data(bytes)) => Ok(Received::Stdout(bytes)),
            Some(Frame::Stderr(bytes)) => Ok(Received::Stderr(bytes)),
            Some(json) => match json.parse()? {
                StreamOutput::Error(error) => Err(LinkError::Host(error)),
                message => Ok(Received::Message(message)),
            },
        }
    }
}

pub struct StreamWriter {
    to: Writer,
}

impl StreamWriter {
    /// Data of any length, cut into frames.
    pub async fn data(&mut self, mut bytes: Bytes) -> Result<(), LinkError> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(DATA_CHUNK));
            write_frame(&mut self.to, &Frame::Data(piece)).await?;
        }
        Ok(())
    }

    pub async fn message(&mut self, input: &StreamInput) -> Result<(), LinkError> {
        write_json(&mut self.to, input).await?;
        Ok(())
    }
}
