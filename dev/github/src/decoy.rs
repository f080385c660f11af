//! What stands where a pod must not reach (a metadata service, a machine of the private network).

use axum::{Router, http::StatusCode};
use std::{io, net::SocketAddr};
use tokio::{net::TcpListener, task::JoinSet};

const ANSWER: &str = "reached: a pod must never see this\n";

/// Answers until the process is ended.
pub async fn run(listen: &[SocketAddr]) -> io::Result<()> {
    let mut servers = JoinSet::new();
    for address in listen {
        let listener = TcpListener::bind(address).await?;
        let app = Router::new().fallback(|| async { (StatusCode::OK, ANSWER) });
        servers.spawn(async move { axum::serve(listener, app).await });
    }
    match servers.join_next().await {
        Some(ended) => ended.map_err(io::Error::other)?,
        None => Ok(()),
    }
}
