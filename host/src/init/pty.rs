//! Terminals of the pod: a pty, and the process that leads the session on it.

use super::{
    Pod, children,
    pump::{Sink, pump},
    window::Window,
};
use crate::frame::Frame;
use nix::{
    errno::Errno,
    fcntl::{OFlag, open},
    libc,
    pty::{Winsize, grantpt, posix_openpt, ptsname_r, unlockpt},
    sys::{
        stat::Mode,
        termios::{LocalFlags, tcgetattr},
    },
};
use std::{
    io,
    os::{
        fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::{mpsc, watch},
    time::sleep,
};

const SETTLE_DEADLINE: Duration = Duration::from_secs(1);
/// For whoever reads a terminal to do its editing by itself.
const RAW_DEADLINE: Duration = Duration::from_secs(5);
/// Nobody is told when the other end of a pty has been read, or set.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// Bytes. A read that brings less has left nothing: gVisor gives what there is, up to 4 KiB at a time.
const SHORT_READ: usize = 1 << 10;
/// After a command's end: what it had shown is on the pty already, so silence this long means that it was all.
const SILENCE: Duration = Duration::from_secs(2);

/// Starts a command as the leader of a new session whose terminal is a pty of this size.
pub fn spawn(pod: &Pod, mut command: Command, cols: u16, rows: u16) -> io::Result<(Pty, u32, children::Exit)> {
    let pair = Pair::open(cols, rows)?;
    command.stdin(pair.slave.try_clone()?).stdout(pair.slave.try_clone()?).stderr(pair.slave);
    // SAFETY: async-signal-safe calls only. Standard input is the pty, which becomes the new session's terminal.
    unsafe {
        command.pre_exec(|| {
            nix::unistd::setsid().map_err(io::Error::from)?;
            match libc::ioctl(0, libc::TIOCSCTTY, 0) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        });
    }
    let (child, exit) = pod.children.spawn_leader(&mut command)?;
    Ok((Pty::new(pair.master)?, child.id(), exit))
}

pub fn size(cols: u16, rows: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 }
}

/// Both ends of a new pty. No process gets one that it was not given: who holds a terminal's other end by chance keeps it from ending.
pub struct Pair {
    pub master: OwnedFd,
    pub slave: OwnedFd,
}

impl Pair {
    pub fn open(cols: u16, rows: u16) -> io::Result<Self> {
        const FLAGS: OFlag = OFlag::O_RDWR.union(OFlag::O_NOCTTY).union(OFlag::O_CLOEXEC);
        let master = posix_openpt(FLAGS)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let slave = open(ptsname_r(&master)?.as_str(), FLAGS, Mode::empty())?;
        // SAFETY: the descriptor is handed over, and nobody else's any more.
        let master = unsafe { OwnedFd::from_raw_fd(master.into_raw_fd()) };
        // SAFETY: the size outlives the call.
        match unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSWINSZ, &size(cols, rows)) } {
            0 => Ok(Self { master, slave }),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// The host's end of a pty.
pub struct Pty {
    /// Watched for output alone: of room, gVisor tells whenever the other end has read, which is at every key.
    master: AsyncFd<OwnedFd>,
    /// Whether the last attempt to write has found no room.
    full: AtomicBool,
}

impl Pty {
    fn new(master: OwnedFd) -> io::Result<Self> {
        use nix::fcntl::{FcntlArg, fcntl};
        fcntl(&master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        // SAFETY: the AsyncFd owns the descriptor, and gives it to nobody who could close it.
        let master = unsafe { AsyncFd::register_with_interest(master, Interest::READABLE)? };
        Ok(Self { master, full: AtomicBool::new(false) })
    }

    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.master.readable().await?;
            if let Ok(read) = ready.try_io(|fd| nix::unistd::read(fd, buffer).map_err(io::Error::from)) {
                // Rather than read once more and find nothing. Only what is known until now is cleared: what has come since is told of.
                if read.as_ref().is_ok_and(|read| *read < SHORT_READ.min(buffer.len())) {
                    ready.clear_ready();
                }
                return read;
            }
        }
    }

    /// Resolves when something may be written: at once, unless there was no room when that was last tried.
    pub async fn writable(&self) -> io::Result<Writable<'_>> {
        if self.full.swap(false, Ordering::Relaxed) {
            // A descriptor of its own, and watched only now: where there is room again already, that is told at once.
            let master = self.master.get_ref().try_clone()?;
            // SAFETY: as above.
            let master = unsafe { AsyncFd::register_with_interest(master, Interest::WRITABLE)? };
            master.writable().await?.retain_ready();
        }
        Ok(Writable(self))
    }

    pub async fn write_all(&self, mut data: &[u8]) -> io::Result<()> {
        while !data.is_empty() {
            if let Some(written) = self.writable().await?.write(data) {
                data = &data[written?..];
            }
        }
        Ok(())
    }

    /// Waits until what was written has been read, as long as somebody may read it: who is hung up on reads nothing more.
    pub async fn settled(&self) {
        let Ok(name) = self.name() else { return };
        let flags = OFlag::O_RDONLY | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let Ok(other_end) = open(name.as_str(), flags, Mode::empty()) else { return };
        let until = Instant::now() + SETTLE_DEADLINE;
        let mut unread: libc::c_int = 0;
        // SAFETY: `unread` outlives the call.
        while unsafe { libc::ioctl(other_end.as_raw_fd(), libc::FIONREAD, &mut unread) } == 0 && unread > 0 && Instant::now() < until {
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Waits until whoever reads has turned the line discipline's own editing off, which would change what is typed before.
    pub async fn raw(&self) {
        let until = Instant::now() + RAW_DEADLINE;
        let edits = || tcgetattr(self.master.get_ref()).is_ok_and(|settings| settings.local_flags.contains(LocalFlags::ICANON));
        while edits() && Instant::now() < until {
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Of the other end.
    fn name(&self) -> io::Result<String> {
        let mut number: libc::c_uint = 0;
        // SAFETY: `number` outlives the call.
        match unsafe { libc::ioctl(self.master.get_ref().as_raw_fd(), libc::TIOCGPTN, &mut number) } {
            0 => Ok(format!("/dev/pts/{number}")),
            _ => Err(io::Error::last_os_error()),
        }
    }

    pub fn resize(&self, cols: u16, rows: u16) {
        let size = size(cols.clamp(1, 1000), rows.clamp(1, 1000));
        // SAFETY: `size` outlives the call. One that the kernel refuses changes nothing.
        unsafe { libc::ioctl(self.master.get_ref().as_raw_fd(), libc::TIOCSWINSZ, &size) };
    }
}

/// A pty that may take something.
pub struct Writable<'a>(&'a Pty);

impl Writable<'_> {
    /// How much was written at once; None when there is no room after all.
    pub fn write(&mut self, data: &[u8]) -> Option<io::Result<usize>> {
        match nix::unistd::write(self.0.master.get_ref(), data) {
            Err(Errno::EAGAIN) => {
                self.0.full.store(true, Ordering::Relaxed);
                None
            }
            written => Some(written.map_err(io::Error::from)),
        }
    }
}

/// Sends what is shown until the last process has closed its end, or a while after the command's own end.
pub async fn show(mut pty: Arc<Pty>, queue: mpsc::Sender<Frame>, window: Window, end: watch::Receiver<bool>) {
    // What a job left behind still shows is nobody's any more.
    let _left = pump(&mut pty, Sink { queue, frame: Frame::Data, window: Some(window) }, SILENCE, end).await;
}
