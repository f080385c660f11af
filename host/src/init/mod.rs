//! PID 1 of a pod: reaps, does what the daemon asks for (`inside`), keeps the pod's processes running.

mod boot;
mod children;
mod configure;
mod credential;
mod exec;
mod files;
mod health;
mod log;
mod outbox;
mod ports;
mod processes;
mod pty;
mod pump;
mod relay;
mod serve;
mod sessions;
mod shell;
mod shutdown;
mod socket;
mod sudo;
mod terminal;
mod typist;
mod watch;
mod window;

use crate::{inside::Boot, protocol::PodConfig};
use children::Children;
use processes::Processes;
use std::{
    collections::BTreeMap,
    io::{self, Write},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

/// What every connection works on.
pub struct Pod {
    boot: Boot,
    children: Arc<Children>,
    processes: Processes,
    clients: typist::Clients,
    questions: credential::Questions,
    /// As last configured; exec, terminals and processes get its environment.
    config: Arc<Mutex<PodConfig>>,
}

impl Pod {
    fn environment(&self) -> BTreeMap<String, String> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).env.clone()
    }
}

/// `pinacle-init` as PID 1, or (as `dev`) its helper for files, or git's for credentials.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args();
    if arguments.next().is_some_and(|name| name.rsplit('/').next() == Some("sudo")) {
        return sudo::run(arguments);
    }
    match (arguments.next().as_deref(), arguments.next(), arguments.next()) {
        (Some(files::READ), Some(path), None) => return files::read_helper(&path),
        (Some(files::WRITE), Some(path), Some(bytes)) => return files::write_helper(&path, &bytes),
        (Some(credential::HELPER), Some(operation), None) => return credential::run(&operation),
        _ => {}
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.to_string()),
    };
    match runtime.block_on(run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

fn fail(message: &str) -> ExitCode {
    complain(message);
    ExitCode::FAILURE
}

/// To the daemon, which may have been started anew since and listens no more.
fn complain(message: &str) {
    let _unheard = writeln!(io::stderr(), "pinacle-init: {message}");
}

async fn run() -> io::Result<()> {
    let boot = boot::prepare()?;
    let children = Children::start()?;
    let config = Arc::<Mutex<PodConfig>>::default();
    let processes = Processes::new(children.clone(), boot.address, config.clone());
    let (clients, questions) = (typist::Clients::default(), credential::Questions::default());
    let pod = Arc::new(Pod { boot, children, processes, clients, questions, config });
    sudo::install()?;
    tokio::select! {
        ended = serve::serve(pod.clone()) => ended,
        ended = sudo::serve(pod.clone()) => ended,
        ended = credential::serve(pod) => ended,
    }
}
