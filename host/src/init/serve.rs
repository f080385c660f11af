//! Takes the daemon's connections and does what each asks for.

use super::{Pod, configure, exec, files, log, outbox::Gone, outbox::Outbox, relay, shell, shutdown, terminal, watch};
use crate::{
    frame::FrameReader,
    inside::{ASK_DEADLINE, Ask, INIT_PORT, What},
    protocol::{Command, HostError, HostErrorCode, Reply, StreamOutput},
    valid,
};
use std::{io, sync::Arc, time::Duration};
use subtle::ConstantTimeEq;
use tokio::{
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf},
    sync::Semaphore,
    time::timeout,
};

/// Connections at once, over all terminals, previews and commands of one pod.
const MAX_CONNECTIONS: usize = 512;
/// For the other end to close after a stream's last frame.
const LINGER: Duration = Duration::from_secs(10);

/// One connection after its question was read.
pub struct Connection {
    pub input: FrameReader<OwnedReadHalf>,
    pub output: Outbox,
}

impl Connection {
    /// Sends a stream's last frame, then reads what the other end still says until it has closed: a socket that is closed with
    /// input unread resets its connection, and takes with it what was not delivered yet.
    pub async fn finish(mut self, last: Result<StreamOutput, HostError>) -> Result<(), Gone> {
        self.output.json(&last.unwrap_or_else(StreamOutput::Error)).await?;
        self.output.flush().await?;
        let closed = async { while let Ok(Some(_)) = self.input.next().await {} };
        // Who keeps its end open longer has had the last frame by then.
        timeout(LINGER, closed).await.unwrap_or_default();
        Ok(())
    }
}

/// Serves until the pod ends.
pub async fn serve(pod: Arc<Pod>) -> io::Result<()> {
    let listener = TcpListener::bind((pod.boot.address, INIT_PORT)).await?;
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let slot = slots.clone().acquire_owned().await.map_err(io::Error::other)?;
        let socket = match listener.accept().await {
            Ok((socket, _)) => socket,
            Err(error) => {
                super::complain(&format!("accept: {error}"));
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let pod = pod.clone();
        tokio::spawn(async move {
            // An other end that has gone is the ordinary end of a stream.
            let _gone = answer(pod, socket).await;
            drop(slot);
        });
    }
}

async fn answer(pod: Arc<Pod>, socket: TcpStream) -> Result<(), Gone> {
    socket.set_nodelay(true).map_err(|_| Gone)?;
    let (read, write) = socket.into_split();
    let mut input = FrameReader::new(read);
    let frame = timeout(ASK_DEADLINE, input.next()).await.map_err(|_| Gone)?.map_err(|_| Gone)?.ok_or(Gone)?;
    let ask: Ask = frame.parse().map_err(|_| Gone)?;
    // Somebody in the pod who knocks without the token learns nothing.
    if !bool::from(ask.token.as_bytes().ct_eq(pod.boot.token.as_bytes())) {
        return Err(Gone);
    }
    let connection = Connection { input, output: Outbox::new(write) };
    match ask.what {
        What::Ping => unary(connection, Ok(Reply::Done)).await,
        What::Shutdown => {
            shutdown::shutdown(&pod).await;
            unary(connection, Ok(Reply::Done)).await?;
            std::process::exit(0);
        }
        What::Questions => pod.questions.tell(connection).await,
        What::Command(command) => match valid::command(&command) {
            Ok(()) => perform(pod, connection, *command).await,
            Err(error) => unary(connection, Err(error)).await,
        },
    }
}

async fn perform(pod: Arc<Pod>, connection: Connection, command: Command) -> Result<(), Gone> {
    match command {
        Command::Configure { config, .. } => unary(connection, configure::configure(&pod, config).map(|()| Reply::Done)).await,
        Command::Processes { processes, restart, .. } => {
            pod.processes.replace(processes, restart).await;
            unary(connection, Ok(Reply::Done)).await
        }
        Command::RestartProcess { name, .. } => unary(connection, pod.processes.restart(&name).map(|()| Reply::Done)).await,
        Command::Pod { .. } => unary(connection, Ok(Reply::Pod(Box::new(watch::report(&pod))))).await,
        Command::Watch { .. } => watch::watch(&pod, connection).await,
        Command::Exec { mut exec, .. } => match exec.pty.take() {
            Some(size) => shell::run(&pod, connection, exec, size).await,
            None => exec::exec(&pod, connection, exec).await,
        },
        Command::Terminal { name, cols, rows, client, .. } => terminal::attach(&pod, connection, &name, cols, rows, client).await,
        Command::Terminals { .. } => unary(connection, terminal::list(&pod).await.map(|terminals| Reply::Terminals { terminals })).await,
        Command::EndTerminal { name, .. } => unary(connection, terminal::end(&pod, &name).await.map(|()| Reply::Done)).await,
        Command::ReadFile { path, .. } => files::read(&pod, connection, &path).await,
        Command::WriteFile { path, bytes, .. } => files::write(&pod, connection, &path, bytes).await,
        Command::ProcessLog { name, .. } => match pod.processes.log(&name) {
            Ok(log) => log::follow(connection, log).await,
            Err(error) => unary(connection, Err(error)).await,
        },
        Command::Connect { port, window, .. } => relay::connect(&pod, connection, port, window).await,
        _ => unary(connection, Err(HostError::new(HostErrorCode::Invalid, "not a command for a pod"))).await,
    }
}

/// Answers once, and that is all.
pub async fn unary(connection: Connection, reply: Result<Reply, HostError>) -> Result<(), Gone> {
    connection.output.json(&reply.unwrap_or_else(Reply::Error)).await?;
    connection.output.flush().await
}
