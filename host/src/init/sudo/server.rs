//! PID 1's side.

use super::{Outcome, SOCKET, Wanted, Word};
use crate::{
    frame::{FrameReader, write_json},
    init::{
        Pod, children,
        pty::{Pair, size},
        sessions, socket,
    },
    inside::{ASK_DEADLINE, DEV_UID},
};
use nix::{
    libc,
    sys::{
        signal::Signal,
        socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg},
    },
};
use std::{
    fs, io,
    io::{IoSlice, IoSliceMut},
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::process::{CommandExt, ExitStatusExt},
    },
    process::{Command, Stdio},
    sync::Arc,
};
use tokio::{io::Interest, net::UnixStream, time::timeout};

/// Commands at once.
const MAX_COMMANDS: usize = 128;
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub async fn serve(pod: Arc<Pod>) -> io::Result<()> {
    socket::serve(SOCKET, MAX_COMMANDS, move |asker| {
        let pod = pod.clone();
        async move { answer(&pod, asker).await }
    })
    .await
}

async fn answer(pod: &Pod, socket: UnixStream) -> io::Result<()> {
    let descriptors = timeout(ASK_DEADLINE, descriptors(&socket)).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let raw = socket.as_fd().try_clone_to_owned()?;
    let (read, mut write) = socket.into_split();
    let mut input = FrameReader::new(read);
    let wanted: Wanted = socket::wanted(&mut input).await?;
    let started = start(pod, &wanted, descriptors);
    let master = started.as_ref().ok().and_then(|(_, _, master)| master.as_ref());
    sendmsg::<()>(raw.as_raw_fd(), &[IoSlice::new(b"+")], &rights(&master.map(AsRawFd::as_raw_fd)), MsgFlags::MSG_NOSIGNAL, None)?;
    let (leader, mut exit, master) = match started {
        Ok(started) => started,
        Err(error) => return write_json(&mut write, &Outcome::Refused(error.to_string())).await.map_err(io::Error::other),
    };
    let status = loop {
        tokio::select! {
            status = &mut exit => break status.ok(),
            frame = input.next() => match frame.ok().flatten().map(|frame| frame.parse()) {
                Some(Ok(Word::Signal(number))) => {
                    if let Ok(signal) = Signal::try_from(number) {
                        children::kill_group(leader, signal);
                    }
                }
                Some(Ok(Word::Resize { cols, rows })) => if let Some(master) = &master {
                    resize(master, leader, cols, rows);
                }
                Some(Err(error)) => return Err(io::Error::other(error)),
                // Whoever asked has gone.
                None => {
                    children::kill_group(leader, Signal::SIGHUP);
                    return Ok(());
                }
            }
        }
    };
    let code = status.map_or(1, |s| s.code().unwrap_or_else(|| 128 + s.signal().unwrap_or(0)));
    write_json(&mut write, &Outcome::Ended(code)).await.map_err(io::Error::other)
}

fn rights(master: &Option<RawFd>) -> Vec<ControlMessage<'_>> {
    master.iter().map(|fd| ControlMessage::ScmRights(std::slice::from_ref(fd))).collect()
}

/// The client's standard input, output and error.
async fn descriptors(socket: &UnixStream) -> io::Result<[OwnedFd; 3]> {
    let received: Vec<OwnedFd> = socket
        .async_io(Interest::READABLE, || {
            let (mut byte, mut space) = ([0], nix::cmsg_space!([RawFd; 3]));
            let mut pieces = [IoSliceMut::new(&mut byte)];
            let message = recvmsg::<()>(socket.as_raw_fd(), &mut pieces, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
            let mut received = Vec::new();
            for control in message.cmsgs()? {
                if let ControlMessageOwned::ScmRights(fds) = control {
                    // SAFETY: the kernel has just made them for us.
                    received.extend(fds.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
                }
            }
            Ok(received)
        })
        .await?;
    received.try_into().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not three descriptors"))
}

type Started = (u32, children::Exit, Option<OwnedFd>);

fn start(pod: &Pod, wanted: &Wanted, descriptors: [OwnedFd; 3]) -> io::Result<Started> {
    let user = user(&wanted.user)?;
    let shell = vec![user.shell.clone()];
    let argv = if wanted.argv.is_empty() { &shell } else { &wanted.argv };
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).env_clear().uid(user.uid).gid(user.gid).current_dir(if wanted.login { &user.home } else { &wanted.cwd });
    if wanted.login {
        command.arg0(format!("-{}", argv[0].rsplit('/').next().unwrap_or_default()));
    }
    command
        .envs(&wanted.env)
        .env("PATH", PATH)
        .env("HOME", &user.home)
        .env("SHELL", &user.shell)
        .env("USER", &wanted.user)
        .env("LOGNAME", &wanted.user);
    command.env("SUDO_USER", "dev").env("SUDO_UID", DEV_UID.to_string()).env("SUDO_GID", DEV_UID.to_string()).env("SUDO_COMMAND", argv.join(" "));

    let pty = if wanted.terminals.contains(&true) { Some(Pair::open(wanted.cols, wanted.rows)?) } else { None };
    let mut ends = Vec::with_capacity(3);
    for (descriptor, is_terminal) in descriptors.into_iter().zip(wanted.terminals) {
        match &pty {
            Some(pty) if is_terminal => ends.push(pty.slave.try_clone()?),
            _ => ends.push(descriptor),
        }
    }
    let mut ends = ends.into_iter().map(Stdio::from);
    let mut next = || ends.next().unwrap_or_else(Stdio::null);
    command.stdin(next()).stdout(next()).stderr(next());
    let terminal = wanted.terminals.iter().position(|terminal| *terminal).map(|fd| fd as RawFd);
    // SAFETY: async-signal-safe calls only; the descriptor is one of the three standard ones.
    unsafe {
        command.pre_exec(move || {
            nix::unistd::setsid().map_err(io::Error::from)?;
            match terminal.map_or(0, |fd| libc::ioctl(fd, libc::TIOCSCTTY, 0)) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        });
    }
    let (child, exit) = pod.children.spawn_leader(&mut command).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", argv[0])))?;
    Ok((child.id(), exit, pty.map(|pty| pty.master)))
}

fn resize(master: &OwnedFd, leader: u32, cols: u16, rows: u16) {
    // SAFETY: the size outlives the call. A terminal that has closed has none.
    unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSWINSZ, &size(cols, rows)) };
    // gVisor tells nobody.
    sessions::signal(leader as i32, Signal::SIGWINCH);
}

struct User {
    uid: u32,
    gid: u32,
    home: String,
    shell: String,
}

/// From /etc/passwd alone: a static program has no other ways of looking a name up.
fn user(name: &str) -> io::Result<User> {
    let passwd = fs::read_to_string("/etc/passwd")?;
    let unknown = || io::Error::new(io::ErrorKind::NotFound, format!("unknown user {name}"));
    let fields: Vec<&str> =
        passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields.len() == 7 && fields[0] == name).ok_or_else(unknown)?;
    Ok(User {
        uid: fields[2].parse().map_err(io::Error::other)?,
        gid: fields[3].parse().map_err(io::Error::other)?,
        home: fields[5].to_owned(),
        shell: fields[6].to_owned(),
    })
}
