//! Joins the connection to what listens on a port of the pod: on loopback, as most dev servers do, or on its address.

use super::{
    Pod,
    outbox::{Gone, tell_taken},
    serve::Connection,
    serve::unary,
    window::Window,
};
use crate::{
    frame::{DATA_CHUNK, Frame, WINDOW_PIECES},
    protocol::{HostError, HostErrorCode, Reply, StreamInput, StreamOutput},
};
use bytes::{Bytes, BytesMut};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, tcp::OwnedWriteHalf},
    sync::mpsc,
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

pub async fn connect(pod: &Pod, connection: Connection, port: u16, windowed: bool) -> Result<(), Gone> {
    let socket = match open(pod.boot.address, port).await {
        Ok(socket) => socket,
        Err(error) => {
            let message = format!("nothing answers on port {port} of the pod: {error}");
            return unary(connection, Err(HostError::new(HostErrorCode::NotFound, message))).await;
        }
    };
    connection.output.json(&Reply::Streaming).await?;
    let window = windowed.then(Window::default);
    let Connection { mut input, output } = connection;
    let (mut from, to) = socket.into_split();

    let queue = output.sender();
    let room = window.clone();
    let outward = async move {
        loop {
            let mut buffer = BytesMut::with_capacity(DATA_CHUNK);
            match from.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return Ok(()),
                Ok(read) => {
                    if let Some(room) = &room {
                        room.send(read).await;
                    }
                    queue.send(Frame::Data(buffer.freeze())).await.map_err(|_| Gone)?;
                }
            }
        }
    };
    // With a window there is room for all that may be on its way: what the other end says beside it is always heard.
    let (feed, hungry) = mpsc::channel(if windowed { WINDOW_PIECES } else { 1 });
    let tell = windowed.then(|| output.sender());
    let inward = async {
        let mut feed = Some(feed);
        loop {
            match (input.next().await, &feed) {
                (Ok(Some(Frame::Data(data))), Some(to)) => to.send(data).await.map_err(|_| Gone)?,
                (Ok(Some(frame)), _) => match (frame.parse(), &window) {
                    // What was said before still goes out; then the socket hears the end.
                    (Ok(StreamInput::Eof), _) => feed = None,
                    (Ok(StreamInput::Taken { bytes }), Some(window)) => window.taken(bytes),
                    _ => {}
                },
                (Ok(None) | Err(_), _) => return Err::<(), Gone>(Gone),
            }
        }
    };
    let feeding = feed_socket(to, hungry, tell);
    // The end of the server's side is the end.
    let sent: Result<(), Gone> = tokio::select! {
        sent = outward => sent,
        gone = inward => gone,
        gone = feeding => gone,
    };
    sent?;
    Connection { input, output }.finish(Ok(StreamOutput::Exit { code: Some(0), signal: None, timed_out: false })).await
}

async fn feed_socket(to: OwnedWriteHalf, mut hungry: mpsc::Receiver<Bytes>, tell: Option<mpsc::Sender<Frame>>) -> Result<(), Gone> {
    let mut to = Some(to);
    while let Some(data) = hungry.recv().await {
        // A server that takes no more may have answered already: what is for it is taken all the same.
        if let Some(socket) = &mut to
            && socket.write_all(&data).await.is_err()
        {
            to = None;
        }
        if let Some(tell) = &tell {
            tell_taken(tell, data.len()).await?;
        }
    }
    // Its end is said. A client that has said all may still be answered.
    drop(to);
    std::future::pending().await
}
