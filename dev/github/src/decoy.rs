//! What stands where a pod must not reach (a metadata service, a machine of the private network), and, to tell silence from
//! a fence, on the "internet". Over TCP it speaks HTTP, over UDP it answers whatever is said.

use axum::{Router, http::StatusCode};
use std::{io, net::SocketAddr};
use tokio::{
    net::{TcpListener, UdpSocket},
    task::JoinSet,
};

const ANSWER: &str = "reached\n";
/// Bytes that are read of what is said over UDP.
const MOST_SAID: usize = 1500;

/// Answers until the process is ended.
pub async fn run(listen: &[SocketAddr]) -> io::Result<()> {
    let mut servers = JoinSet::new();
    for address in listen {
        let listener = TcpListener::bind(address).await?;
        let app = Router::new().fallback(|| async { (StatusCode::OK, ANSWER) });
        servers.spawn(async move { axum::serve(listener, app).await });
        let socket = UdpSocket::bind(address).await?;
        servers.spawn(async move {
            let mut said = [0; MOST_SAID];
            loop {
                let (_, whose) = socket.recv_from(&mut said).await?;
                // Whoever asked may not be reachable any more; the next one is.
                if let Err(error) = socket.send_to(ANSWER.as_bytes(), whose).await {
                    eprintln!("{whose} could not be answered: {error}");
                }
            }
        });
    }
    match servers.join_next().await {
        Some(ended) => ended.map_err(io::Error::other)?,
        None => Ok(()),
    }
}
