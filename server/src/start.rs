//! Puts the parts together, and takes them apart again in order when the process is asked to end.

use crate::{
    account::{TokenKeyError, TokenKeys},
    config::Config,
    control::{ControlPlane, Parts},
    crypto::{MasterKeyError, Sealer},
    db, gateway,
    github::{self, GitHub},
    jobs,
    listen::{self, Sockets},
    news::News,
    pods::{git_token::Tokens, turns::Turns},
    ssh::{Connections, SshError},
    web::{self, AppState},
};
use std::io;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the database can't be used: {0}")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    #[error(transparent)]
    TokenKey(#[from] TokenKeyError),
    #[error(transparent)]
    Ssh(#[from] SshError),
    #[error(transparent)]
    GitHub(#[from] github::StartError),
    #[error("the SSH gateway can't be opened: {0}")]
    Gateway(#[from] gateway::GatewayError),
    #[error("can't listen on {address}: {error}")]
    Listen { address: std::net::SocketAddr, error: io::Error },
    #[error(transparent)]
    Io(#[from] io::Error),
}

async fn parts(config: Config) -> Result<ControlPlane, StartError> {
    let sealer = Sealer::load(&config)?;
    let connections = Connections::new(&config.ssh_key_file)?;
    let github = GitHub::new(&config)?;
    let db = db::open(&config).await?;
    let token_keys = TokenKeys::load(&db, &sealer).await?;
    let gateway = gateway::Identity::of(&config)?;
    Ok(ControlPlane::new(Parts {
        config,
        db,
        sealer,
        token_keys,
        github,
        news: News::default(),
        connections,
        gateway,
        turns: Turns::default(),
        git_tokens: Tokens::default(),
        host_back: Notify::new(),
    }))
}

/// Cancelled by SIGTERM or SIGINT.
fn asked_to_end() -> Result<CancellationToken, StartError> {
    let token = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let asked = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("asked to end");
        asked.cancel();
    });
    Ok(token)
}

/// Serves until asked to end; requests finish, jobs end or are handed back.
pub async fn serve(config: Config, with_worker: bool) -> Result<(), StartError> {
    let stop = asked_to_end()?;
    let address = config.listen;
    let control = parts(config).await?;
    let failed = |error| StartError::Listen { address, error };
    let mut sockets = Sockets::handed_over().map_err(failed)?;
    let listener = sockets.dashboard(address).await.map_err(failed)?;
    let ssh = gateway::listen(&control, &mut sockets).await?;
    sockets.all_taken().map_err(failed)?;
    let state = AppState::new(control.clone(), stop.clone());
    let mut tasks = JoinSet::new();
    // It outlives the stop: what ends still tells its watchers.
    let listening = CancellationToken::new();
    tasks.spawn(control.news.clone().listen(control.db.clone(), listening.clone()));
    if with_worker {
        tasks.spawn(jobs::work(control.clone(), stop.clone()));
    }
    let mut gateway = JoinSet::new();
    if let Some(listener) = ssh {
        gateway.spawn(gateway::serve(listener, control.clone(), stop.clone()));
    }
    tracing::info!(address = %listener.local_addr()?, url = %control.config.url, "serving");
    listen::say_ready();
    let sockets = state.sockets.clone();
    let served = web::serve(listener, web::router(state), &control.config.trusted_proxies, sockets, stop.clone()).await;
    stop.cancel();
    while gateway.join_next().await.is_some() {}
    finish(tasks, listening, usize::from(with_worker)).await;
    Ok(served?)
}

/// Works off the queue until asked to end.
pub async fn work(config: Config) -> Result<(), StartError> {
    let stop = asked_to_end()?;
    let control = parts(config).await?;
    let mut tasks = JoinSet::new();
    let listening = CancellationToken::new();
    tasks.spawn(control.news.clone().listen(control.db.clone(), listening.clone()));
    tasks.spawn(jobs::work(control, stop));
    finish(tasks, listening, 1).await;
    Ok(())
}

/// Waits for so many tasks to end, then lets go of the news.
async fn finish(mut tasks: JoinSet<()>, listening: CancellationToken, workers: usize) {
    for _ in 0..workers {
        if let Some(Err(error)) = tasks.join_next().await {
            tracing::error!(%error, "a task ended by a fault");
        }
    }
    listening.cancel();
    while tasks.join_next().await.is_some() {}
}
