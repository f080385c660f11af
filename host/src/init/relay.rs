//! Joins the connection to what listens on a port of the pod: on loopback, as most dev servers do, or on its address.

use super::{Pod, outbox::Gone, serve::Connection, serve::unary};
use crate::{
    frame::{DATA_CHUNK, Frame},
    protocol::{HostError, HostErrorCode, Reply, StreamInput, StreamOutput},
};
use bytes::BytesMut;
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// The first of the pod's addresses on which the port answers.
pub async fn open(own: Ipv4Addr, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::ConnectionRefused);
    for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(own)] {
        match timeout(CONNECT_DEADLINE, TcpStream::connect((address, port))).await {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

pub async fn connect(pod: &Pod, connection: Connection, port: u16) -> Result<(), Gone> {
    let socket = match open(pod.boot.address, port).await {
        Ok(socket) => socket,
        Err(error) => {
            let message = format!("nothing answers on port {port} of the pod: {error}");
            return unary(connection, Err(HostError::new(HostErrorCode::NotFound, message))).await;
        }
    };
    connection.output.json(&Reply::Streaming).await?;
    let Connection { mut input, output } = connection;
    let (mut from, mut to) = socket.into_split();

    let queue = output.sender();
    let outward = async move {
        loop {
            let mut buffer = BytesMut::with_capacity(DATA_CHUNK);
            match from.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return Ok(()),
                Ok(_) => queue.send(Frame::Data(buffer.freeze())).await.map_err(|_| Gone)?,
            }
        }
    };
    let inward = async {
        loop {
            match input.next().await {
                Ok(Some(Frame::Data(data))) => to.write_all(&data).await.map_err(|_| Gone)?,
                Ok(Some(frame)) if matches!(frame.parse(), Ok(StreamInput::Eof)) => to.shutdown().await.map_err(|_| Gone)?,
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return Err::<(), Gone>(Gone),
            }
        }
    };
    // The end of the server's side is the end; a client that has said all may still be answered.
    let sent: Result<(), Gone> = tokio::select! {
        sent = outward => sent,
        gone = inward => gone,
    };
    sent?;
    output.finish(Ok(StreamOutput::Exit { code: Some(0), signal: None, timed_out: false })).await
}
