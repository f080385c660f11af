//! Processes of the pod: PID 1 inherits every orphan, so one place waits for all of them and tells those who asked.

use super::boot;
use crate::inside::{DEV_HOME, DEV_UID};
use std::{
    collections::{BTreeMap, HashMap},
    io,
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

const PATH: &str = "/home/dev/.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Gives the child's status once; an error means that PID 1 is ending.
pub type Exit = oneshot::Receiver<ExitStatus>;

#[derive(Default)]
pub struct Children {
    waiting: Mutex<HashMap<i32, oneshot::Sender<ExitStatus>>>,
}

impl Children {
    /// Begins to reap; ends with the program.
    pub fn start() -> io::Result<Arc<Self>> {
        let children = Arc::new(Self::default());
        let mut ended = signal(SignalKind::child())?;
        let reaper = children.clone();
        tokio::spawn(async move {
            while ended.recv().await.is_some() {
                reaper.reap();
            }
        });
        Ok(children)
    }

    /// Starts a process of a session of its own.
    pub fn spawn(&self, command: &mut Command) -> io::Result<(Child, Exit)> {
        // SAFETY: setsid is async-signal-safe and touches no memory of ours.
        unsafe {
            command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(io::Error::from));
        }
        self.spawn_leader(command)
    }

    /// Starts a process that makes its session itself. The lock makes sure that it is known before it is reaped.
    pub fn spawn_leader(&self, command: &mut Command) -> io::Result<(Child, Exit)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let child = command.spawn()?;
        let (tell, exit) = oneshot::channel();
        waiting.insert(child.id() as i32, tell);
        Ok((child, exit))
    }

    fn reap(&self) {
        loop {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let mut raw = 0;
            // SAFETY: `raw` outlives the call. The raw status is what ExitStatus is made of.
            let pid = unsafe { nix::libc::waitpid(-1, &mut raw, nix::libc::WNOHANG) };
            if pid <= 0 {
                return;
            }
            if let Some(tell) = waiting.remove(&pid) {
                // Nobody listens when the connection that asked has ended.
                let _gone = tell.send(ExitStatus::from_raw(raw));
            }
        }
    }
}

/// A program as `dev`, with the environment of a fresh login and `env` over it.
pub fn as_dev(program: &str, env: &BTreeMap<String, String>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().uid(DEV_UID).gid(DEV_UID).current_dir(DEV_HOME);
    command.env("HOME", DEV_HOME).env("USER", "dev").env("LOGNAME", "dev").env("SHELL", "/bin/bash");
    command.env("PATH", PATH).env("LANG", "C.UTF-8").env("XDG_RUNTIME_DIR", boot::RUNTIME).envs(env);
    command
}

/// Ends the session that `leader` began, at once. Its having ended already is fine.
pub fn kill_group(leader: u32, signal: nix::sys::signal::Signal) {
    let _gone = nix::sys::signal::killpg(nix::unistd::Pid::from_raw(leader as i32), signal);
}
