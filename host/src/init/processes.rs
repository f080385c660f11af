//! Keeps the pod's processes running: each has a task that starts it, watches it, and starts it again when it ends.

use super::{children, children::Children, health, log::Log, ports};
use crate::{
    frame::DATA_CHUNK,
    protocol::{HostError, HostErrorCode, PodConfig, ProcessReport, ProcessSpec, ProcessState},
};
use bytes::BytesMut;
use nix::sys::signal::Signal;
use std::{
    collections::HashMap,
    io,
    net::Ipv4Addr,
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    process::Stdio,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    io::AsyncReadExt,
    net::unix::pipe::Receiver,
    sync::{Notify, mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

/// Seconds before the first restart; doubled with every one that follows soon.
const FIRST_WAIT: u32 = 1;
const LONGEST_WAIT: u32 = 60;
/// A process that ran this long has not crashed "again".
const STEADY: Duration = Duration::from_secs(60);
/// How often a process that has not answered yet is asked, and one that has.
const ASK_STARTING: Duration = Duration::from_millis(500);
const ASK_RUNNING: Duration = Duration::from_secs(10);
/// Between SIGTERM and SIGKILL.
const STOP_GRACE: Duration = Duration::from_secs(5);

pub struct Processes {
    children: Arc<Children>,
    own: Ipv4Addr,
    /// Whose environment a process gets, as it is when that is started or started again.
    config: Arc<Mutex<PodConfig>>,
    list: Mutex<Vec<Arc<Process>>>,
    /// Held by the one who replaces the list, until those that left it have ended: that is its purpose.
    replacing: tokio::sync::Mutex<()>,
    changes: watch::Sender<()>,
}

struct Process {
    spec: ProcessSpec,
    log: Arc<Log>,
    seen: Mutex<Seen>,
    restart: mpsc::Sender<()>,
    /// Ends its waiting to be started again.
    retry: Notify,
    stop: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// What a process is doing.
struct Seen {
    state: ProcessState,
    since: Option<Instant>,
    session: Option<i32>,
    restarts: u32,
    exit_code: Option<i32>,
    health: Option<String>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Processes {
    pub fn new(children: Arc<Children>, own: Ipv4Addr, config: Arc<Mutex<PodConfig>>) -> Self {
        Self { children, own, config, list: Mutex::default(), replacing: tokio::sync::Mutex::default(), changes: watch::Sender::new(()) }
    }

    /// Makes `specs` the processes that run: those that are the same go on, unless they are to be restarted; the others end, new
    /// ones start. One that goes on and waits to be started again is started at once: what it failed for may have been mended.
    pub async fn replace(&self, specs: Vec<ProcessSpec>, restart: bool) {
        let _alone = self.replacing.lock().await;
        let old = locked(&self.list).clone();
        let (kept, ended): (Vec<_>, Vec<_>) = old.iter().partition(|process| !restart && specs.contains(&process.spec));
        for process in &ended {
            process.stop.send_replace(true);
        }
        for process in &ended {
            let task = locked(&process.task).take();
            if let Some(task) = task {
                // A task that was aborted or panicked has ended too.
                let _ended = task.await;
            }
        }
        let mut list = Vec::with_capacity(specs.len());
        for spec in specs {
            if let Some(process) = kept.iter().find(|process| process.spec == spec) {
                process.retry();
                list.push((*process).clone());
                continue;
            }
            // The log goes on under the same name, and so do those who read it.
            let log = old.iter().find(|process| process.spec.name == spec.name).map(|process| Ok(process.log.clone()));
            match log.unwrap_or_else(|| Log::open(&spec.name).map(Arc::new)) {
                Ok(log) => list.push(self.start(spec, log)),
                Err(error) => super::complain(&format!("log of a process: {error}")),
            }
        }
        *locked(&self.list) = list;
        self.changes.send_replace(());
    }

    fn start(&self, spec: ProcessSpec, log: Arc<Log>) -> Arc<Process> {
        let (restart, restarts) = mpsc::channel(1);
        let (stop, stopped) = watch::channel(false);
        let seen = Seen { state: ProcessState::Starting, since: None, session: None, restarts: 0, exit_code: None, health: None };
        let process = Arc::new(Process { spec, log, seen: Mutex::new(seen), restart, retry: Notify::new(), stop, task: Mutex::default() });
        let keeper = Keeper {
            process: process.clone(),
            children: self.children.clone(),
            own: self.own,
            changes: self.changes.clone(),
            config: self.config.clone(),
        };
        *locked(&process.task) = Some(tokio::spawn(keeper.keep(restarts, stopped)));
        process
    }

    fn find(&self, name: &str) -> Result<Arc<Process>, HostError> {
        let found = locked(&self.list).iter().find(|process| process.spec.name == name).cloned();
        found.ok_or_else(|| HostError::new(HostErrorCode::NotFound, format!("the pod has no process '{name}'")))
    }

    /// Ends the process now, or its waiting, and starts it again.
    pub fn restart(&self, name: &str) -> Result<(), HostError> {
        // Full: it has been asked already and has not got to it.
        let _asked = self.find(name)?.restart.try_send(());
        Ok(())
    }

    pub fn log(&self, name: &str) -> Result<Arc<Log>, HostError> {
        Ok(self.find(name)?.log.clone())
    }

    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    pub fn reports(&self) -> Vec<ProcessReport> {
        locked(&self.list).iter().map(|process| process.report()).collect()
    }

    /// Whose a port is: by the port it was given, and by the session of the one that holds it.
    pub fn owners(&self) -> (HashMap<u16, String>, HashMap<i32, String>) {
        let list = locked(&self.list);
        let by_port = list.iter().filter_map(|p| Some((p.spec.port?, p.spec.name.clone()))).collect();
        let by_session = list.iter().filter_map(|p| Some((locked(&p.seen).session?, p.spec.name.clone()))).collect();
        (by_port, by_session)
    }
}

impl Process {
    /// Starts it at once, if it waits to be started again. It says so from now on: who asks next must not see the old failure.
    fn retry(&self) {
        let mut seen = locked(&self.seen);
        if matches!(seen.state, ProcessState::BackingOff { .. }) {
            (seen.state, seen.exit_code) = (ProcessState::Starting, None);
            self.retry.notify_waiters();
        }
    }

    fn report(&self) -> ProcessReport {
        let seen = locked(&self.seen);
        ProcessReport {
            name: self.spec.name.clone(),
            command: self.spec.command.clone(),
            port: self.spec.port,
            state: seen.state,
            up_seconds: seen.since.map(|since| since.elapsed().as_secs()),
            restarts: seen.restarts,
            exit_code: seen.exit_code,
            health: seen.health.clone(),
        }
    }
}

/// The task of one process.
struct Keeper {
    process: Arc<Process>,
    children: Arc<Children>,
    own: Ipv4Addr,
    changes: watch::Sender<()>,
    config: Arc<Mutex<PodConfig>>,
}

/// Why a process is not running any more.
enum End {
    ByItself(Option<i32>),
    ToRestart,
    ToStop,
}

impl Keeper {
    async fn keep(self, mut restarts: mpsc::Receiver<()>, mut stopped: watch::Receiver<bool>) {
        let mut wait = FIRST_WAIT;
        loop {
            let begun = Instant::now();
            let exit_code = match self.run(&mut restarts, &mut stopped).await {
                Ok(End::ToStop) => return,
                Ok(End::ToRestart) => {
                    wait = FIRST_WAIT;
                    self.see(|seen| seen.restarts = seen.restarts.saturating_add(1));
                    continue;
                }
                Ok(End::ByItself(code)) => code,
                Err(error) => {
                    self.process.log.write(format!("pinacle: could not be started: {error}\n").as_bytes());
                    None
                }
            };
            if begun.elapsed() >= STEADY {
                wait = FIRST_WAIT;
            }
            let shown = exit_code.map_or("by a signal".to_owned(), |code| format!("with {code}"));
            self.process.log.write(format!("pinacle: ended {shown}; started again in {wait} s\n").as_bytes());
            let retry = self.process.retry.notified();
            tokio::pin!(retry);
            // It hears from here on, and not only once it waits.
            retry.as_mut().enable();
            self.see(|seen| {
                seen.state = ProcessState::BackingOff { seconds: wait };
                (seen.since, seen.session, seen.exit_code) = (None, None, exit_code);
                seen.restarts = seen.restarts.saturating_add(1);
            });
            tokio::select! {
                () = sleep(Duration::from_secs(wait.into())) => wait = (wait * 2).min(LONGEST_WAIT),
                _ = restarts.recv() => wait = FIRST_WAIT,
                () = &mut retry => wait = FIRST_WAIT,
                _ = stopped.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Once from start to end.
    async fn run(&self, restarts: &mut mpsc::Receiver<()>, stopped: &mut watch::Receiver<bool>) -> io::Result<End> {
        let spec = &self.process.spec;
        let env = locked(&self.config).env.clone();
        let mut command = children::as_dev("/bin/bash", &env);
        command.args(["-lc", &spec.command]).current_dir(&spec.cwd);
        if let Some(port) = spec.port {
            command.env("PORT", port.to_string());
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (mut child, mut exit) = self.children.spawn(&mut command)?;
        let leader = child.id();
        let pipes = [child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from)];
        for pipe in pipes.into_iter().flatten() {
            tokio::spawn(keep_log(Receiver::from_owned_fd(pipe)?, self.process.log.clone()));
        }
        let asked = spec.port.is_some();
        self.see(|seen| {
            seen.state = if asked { ProcessState::Starting } else { ProcessState::Running };
            (seen.since, seen.session, seen.health) = (Some(Instant::now()), Some(leader as i32), None);
        });

        let checks = self.check();
        tokio::pin!(checks);
        let end = tokio::select! {
            status = &mut exit => return Ok({
                children::kill_group(leader, Signal::SIGKILL);
                End::ByItself(status.ok().and_then(|s| s.code().or(s.signal().map(|signal| 128 + signal))))
            }),
            _ = restarts.recv() => End::ToRestart,
            _ = stopped.wait_for(|stop| *stop) => End::ToStop,
            () = &mut checks => End::ToStop,
        };
        children::kill_group(leader, Signal::SIGTERM);
        if timeout(STOP_GRACE, &mut exit).await.is_err() {
            children::kill_group(leader, Signal::SIGKILL);
        }
        children::kill_group(leader, Signal::SIGKILL);
        Ok(end)
    }

    /// Asks for as long as the process runs; never ends.
    async fn check(&self) {
        let spec = &self.process.spec;
        let Some(port) = spec.port else { return std::future::pending().await };
        loop {
            let (healthy, health) = match &spec.health_check {
                Some(path) => match health::get(self.own, port, path).await {
                    Ok(status) => (status < 500, Some(status.to_string())),
                    Err(reason) => (false, Some(reason)),
                },
                None => (ports::listening().contains_key(&port), None),
            };
            let starting = matches!(locked(&self.process.seen).state, ProcessState::Starting);
            let changed = locked(&self.process.seen).health != health;
            if changed || (starting && healthy) {
                self.see(|seen| {
                    seen.health = health;
                    if healthy {
                        seen.state = ProcessState::Running;
                    }
                });
            }
            sleep(if starting && !healthy { ASK_STARTING } else { ASK_RUNNING }).await;
        }
    }

    fn see(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut locked(&self.process.seen));
        self.changes.send_replace(());
    }
}

async fn keep_log(mut pipe: Receiver, log: Arc<Log>) {
    let mut buffer = BytesMut::with_capacity(DATA_CHUNK);
    while matches!(pipe.read_buf(&mut buffer).await, Ok(read) if read > 0) {
        log.write(&buffer);
        buffer.clear();
    }
}
