//! The socket that the dashboard answers on: handed over by the supervisor (systemd's socket activation), so that one
//! process can take it up from another without a connection being refused in between; or bound here.

use listenfd::ListenFd;
use std::{io, net::SocketAddr};
use tokio::net::TcpListener;

/// What was handed over, else `address`.
pub async fn handed_over_or_bound(address: SocketAddr) -> io::Result<TcpListener> {
    let mut handed_over = ListenFd::from_env();
    if handed_over.len() > 1 {
        return Err(io::Error::other(format!("{} sockets were handed over, and one is wanted", handed_over.len())));
    }
    match handed_over.take_tcp_listener(0)? {
        Some(listener) => {
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        }
        None => TcpListener::bind(address).await,
    }
}

/// Tells the supervisor that requests are answered from now on (`Type=notify`), where there is one that asks.
pub fn say_ready() {
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::warn!(%error, "the supervisor could not be told");
    }
}
