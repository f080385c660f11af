//! The sockets of the dashboard and of the SSH gateway: handed over by the supervisor (systemd's socket activation), so that one
//! process can take them up from another without a connection being refused in between; or bound here.

use listenfd::ListenFd;
use std::{io, net::SocketAddr};
use tokio::net::TcpListener;

/// The dashboard's and the gateway's.
const MOST: usize = 2;

/// What the supervisor has handed over: the dashboard's first, then the gateway's.
#[derive(Default)]
pub struct Sockets {
    dashboard: Option<TcpListener>,
    gateway: Option<TcpListener>,
}

impl Sockets {
    pub fn handed_over() -> io::Result<Self> {
        let mut found = ListenFd::from_env();
        if found.len() > MOST {
            return Err(io::Error::other(format!("{} sockets were handed over, and {MOST} are wanted at most", found.len())));
        }
        let mut take = |index| found.take_tcp_listener(index)?.map(ready).transpose();
        Ok(Self { dashboard: take(0)?, gateway: take(1)? })
    }

    /// The one that was handed over, else one at `address`.
    pub async fn dashboard(&mut self, address: SocketAddr) -> io::Result<TcpListener> {
        taken_or_bound(self.dashboard.take(), address).await
    }

    /// Who connects to a socket that nobody takes up waits for ever.
    pub fn all_taken(&self) -> io::Result<()> {
        match self.gateway {
            Some(_) => Err(io::Error::other("a second socket was handed over, and PINACLE_GATEWAY_LISTEN does not say that there is a gateway")),
            None => Ok(()),
        }
    }

    /// The one that was handed over, else one at `address`.
    pub async fn gateway(&mut self, address: SocketAddr) -> io::Result<TcpListener> {
        taken_or_bound(self.gateway.take(), address).await
    }
}

fn ready(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

async fn taken_or_bound(taken: Option<TcpListener>, address: SocketAddr) -> io::Result<TcpListener> {
    match taken {
        Some(listener) => Ok(listener),
        None => TcpListener::bind(address).await,
    }
}

/// Tells the supervisor that requests are answered from now on (`Type=notify`), where there is one that asks.
pub fn say_ready() {
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::warn!(%error, "the supervisor could not be told");
    }
}
