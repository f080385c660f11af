//! The program `sudo`: as much of its command line as scripts and people use.

use super::{Outcome, SOCKET, Wanted, Word};
use crate::frame::Frame;
use bytes::BytesMut;
use nix::{
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg},
        termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr},
    },
};
use std::{
    collections::BTreeMap,
    io::{self, IoSlice, IoSliceMut, IsTerminal, Read, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
    process::ExitCode,
    sync::atomic::{AtomicI32, Ordering},
};

const USAGE: &str = "usage: sudo [-EHnS] [-i | -s] [-u user] [VAR=value] [command [argument …]]";
/// What a command keeps of its caller's environment without -E.
const KEPT: [&str; 7] = ["TERM", "COLORTERM", "LANG", "LC_ALL", "DISPLAY", "DEBIAN_FRONTEND", "TZ"];
const CHUNK: usize = 16 << 10;
/// After the command's end: silence of the terminal for so many milliseconds means that this was all, and so many chunks are enough.
const SILENCE: u8 = 100;
const LAST_PIECES: usize = 16;

/// Runs the command line; gives the command's own code.
pub fn run(arguments: impl Iterator<Item = String>) -> ExitCode {
    let wanted = match parse(arguments.collect(), std::env::vars().collect()) {
        Ok(parsed) => parsed,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::FAILURE;
        }
    };
    let Some(wanted) = wanted else { return ExitCode::SUCCESS };
    match ask(wanted) {
        Ok(Outcome::Ended(code)) => ExitCode::from(code.clamp(0, 255) as u8),
        Ok(Outcome::Refused(message)) => {
            eprintln!("sudo: {message}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("sudo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// None: nothing is to be run, as with `sudo -v`.
fn parse(arguments: Vec<String>, vars: BTreeMap<String, String>) -> Result<Option<Wanted>, String> {
    let (mut user, mut all, mut login, mut shell, mut nothing) = ("root".to_owned(), false, false, false, false);
    let mut rest = arguments.into_iter().peekable();
    while let Some(option) = rest.next_if(|word| word.starts_with('-') && word.len() > 1) {
        match option.as_str() {
            "--" => break,
            "--user" => user = rest.next().ok_or(USAGE)?,
            "--preserve-env" => all = true,
            "--login" => login = true,
            "--shell" => shell = true,
            "--non-interactive" | "--stdin" | "--set-home" => {}
            "--validate" | "--reset-timestamp" | "--remove-timestamp" | "--version" => nothing = true,
            long if long.starts_with("--user=") => user = long["--user=".len()..].to_owned(),
            long if long.starts_with("--preserve-env=") => all = true,
            long if long.starts_with("--") => return Err(format!("sudo: unknown option {long}\n{USAGE}")),
            short => {
                for (at, letter) in short.char_indices().skip(1) {
                    match letter {
                        'E' => all = true,
                        'i' => login = true,
                        's' => shell = true,
                        'n' | 'S' | 'H' | 'A' | 'b' | 'P' => {}
                        'v' | 'k' | 'K' | 'V' | 'l' => nothing = true,
                        'u' => {
                            let attached = &short[at + 1..];
                            user = if attached.is_empty() { rest.next().ok_or(USAGE)? } else { attached.to_owned() };
                            break;
                        }
                        other => return Err(format!("sudo: unknown option -{other}\n{USAGE}")),
                    }
                }
            }
        }
    }
    let mut env: BTreeMap<String, String> =
        vars.iter().filter(|(name, _)| all || KEPT.contains(&name.as_str())).map(|(n, v)| (n.clone(), v.clone())).collect();
    while let Some(word) = rest.next_if(|word| word.split_once('=').is_some_and(|(name, _)| !name.is_empty() && !name.contains('/'))) {
        if let Some((name, value)) = word.split_once('=') {
            env.insert(name.to_owned(), value.to_owned());
        }
    }
    let mut argv: Vec<String> = rest.collect();
    if argv.is_empty() && !login && !shell {
        return if nothing { Ok(None) } else { Err(USAGE.to_owned()) };
    }
    // A shell's own words are given to it as they were typed here: each one quoted.
    if (login || shell) && !argv.is_empty() {
        let script = argv.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect::<Vec<_>>().join(" ");
        argv = vec!["/bin/bash".into(), "-c".into(), script];
    }
    let cwd = std::env::current_dir().map_or_else(|_| "/".to_owned(), |folder| folder.to_string_lossy().into_owned());
    let (cols, rows) = own_size();
    let terminals = [io::stdin().is_terminal(), io::stdout().is_terminal(), io::stderr().is_terminal()];
    Ok(Some(Wanted { argv, login, user, cwd, env, terminals, cols, rows }))
}

fn ask(wanted: Wanted) -> io::Result<Outcome> {
    let mut socket =
        UnixStream::connect(SOCKET).map_err(|error| io::Error::new(error.kind(), format!("the pod's PID 1 does not answer: {error}")))?;
    let own: [RawFd; 3] = [0, 1, 2];
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(b"+")], &[ControlMessage::ScmRights(&own)], MsgFlags::empty(), None)?;
    say(&mut socket, &wanted)?;
    let master = receive(&socket)?;
    listen_for_signals()?;
    let raw = Raw::enter(wanted.terminals[0] && master.is_some());
    let outcome = relay(&mut socket, master.as_ref());
    drop(raw);
    outcome
}

fn say(socket: &mut UnixStream, value: &impl serde::Serialize) -> io::Result<()> {
    socket.write_all(&Frame::json(value).and_then(|frame| frame.encode()).map_err(io::Error::other)?)
}

/// The first byte of the answer, and the pty that may come with it.
fn receive(socket: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let (mut byte, mut space) = ([0], nix::cmsg_space!([RawFd; 1]));
    let mut pieces = [IoSliceMut::new(&mut byte)];
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut pieces, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let mut master = None;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control {
            // SAFETY: the kernel has just made it for us.
            master = fds.first().map(|fd| unsafe { OwnedFd::from_raw_fd(*fd) });
        }
    }
    Ok(master)
}

/// Passes bytes between the terminals, and signals and sizes on, until the command has ended.
fn relay(socket: &mut UnixStream, master: Option<&OwnedFd>) -> io::Result<Outcome> {
    let (mut answer, mut typing, mut showing) = (BytesMut::new(), master.is_some(), master.is_some());
    loop {
        let stdin = io::stdin();
        let nobody = socket.try_clone()?;
        let master_fd: BorrowedFd<'_> = master.map_or(nobody.as_fd(), AsFd::as_fd);
        let on = |wanted: bool| if wanted { PollFlags::POLLIN } else { PollFlags::empty() };
        let mut ready = [PollFd::new(socket.as_fd(), PollFlags::POLLIN), PollFd::new(master_fd, on(showing)), PollFd::new(stdin.as_fd(), on(typing))];
        let polled = poll(&mut ready, PollTimeout::NONE);
        let events = ready.map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        pass_signals(socket)?;
        match polled {
            Ok(_) => {}
            Err(nix::errno::Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        }
        if let (true, Some(master)) = (showing && !events[1].is_empty(), master) {
            showing = copy(master.as_fd(), io::stdout().as_fd());
        }
        if let (true, Some(master)) = (typing && !events[2].is_empty(), master) {
            typing = copy(stdin.as_fd(), master.as_fd());
        }
        if !events[0].is_empty() {
            let mut piece = [0; CHUNK];
            let read = socket.read(&mut piece)?;
            answer.extend_from_slice(&piece[..read]);
            if let Some(frame) = Frame::decode(&mut answer).map_err(io::Error::other)? {
                // The last of the screen. A job that was left behind may keep the terminal open, and write on.
                for _ in 0..LAST_PIECES {
                    let Some(master) = master.filter(|_| showing) else { break };
                    let mut ready = [PollFd::new(master.as_fd(), PollFlags::POLLIN)];
                    match poll(&mut ready, SILENCE) {
                        Ok(0) => break,
                        Ok(_) => showing = copy(master.as_fd(), io::stdout().as_fd()),
                        Err(nix::errno::Errno::EINTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                return frame.parse().map_err(io::Error::other);
            }
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// One piece from a descriptor that is ready; false at its end.
fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> bool {
    let mut piece = [0; CHUNK];
    let Ok(read @ 1..) = nix::unistd::read(from, &mut piece) else { return false };
    let mut rest = &piece[..read];
    while !rest.is_empty() {
        match nix::unistd::write(to, rest) {
            Ok(written) => rest = &rest[written..],
            Err(nix::errno::Errno::EINTR) => {}
            Err(_) => return false,
        }
    }
    true
}

/// The last signal that came, 0 for none.
static CAME: AtomicI32 = AtomicI32::new(0);

extern "C" fn came(signal: i32) {
    CAME.store(signal, Ordering::Relaxed);
}

fn listen_for_signals() -> io::Result<()> {
    use nix::sys::signal::{SigAction, SigHandler, SigSet, Signal, sigaction};
    let action = SigAction::new(SigHandler::Handler(came), nix::sys::signal::SaFlags::empty(), SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGWINCH, Signal::SIGUSR1, Signal::SIGUSR2] {
        // SAFETY: the handler does nothing but store a number.
        unsafe { sigaction(signal, &action)? };
    }
    Ok(())
}

fn pass_signals(socket: &mut UnixStream) -> io::Result<()> {
    match CAME.swap(0, Ordering::Relaxed) {
        0 => Ok(()),
        libc::SIGWINCH => {
            let (cols, rows) = own_size();
            say(socket, &Word::Resize { cols, rows })
        }
        signal => say(socket, &Word::Signal(signal)),
    }
}

fn own_size() -> (u16, u16) {
    let mut size = libc::winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: `size` outlives the calls; those on what is no terminal change nothing.
    for fd in [2, 1, 0] {
        unsafe { libc::ioctl(fd, libc::TIOCGWINSZ, &mut size) };
    }
    (size.ws_col.max(1), size.ws_row.max(1))
}

/// The caller's terminal, passing every key on as it is; as it was again at the end.
struct Raw(Option<Termios>);

impl Raw {
    fn enter(wanted: bool) -> Self {
        let before = if wanted { tcgetattr(io::stdin()).ok() } else { None };
        if let Some(before) = &before {
            let mut raw = before.clone();
            cfmakeraw(&mut raw);
            // A terminal that refuses stays as it is.
            let _cooked = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &raw);
        }
        Self(before)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _gone = tcsetattr(io::stdin(), SetArg::TCSADRAIN, before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(line: &str) -> Option<Wanted> {
        let vars = [("TERM", "xterm"), ("SECRET", "s")].map(|(n, v)| (n.to_owned(), v.to_owned())).into();
        parse(line.split(' ').map(str::to_owned).collect(), vars).unwrap()
    }

    #[test]
    fn the_command_begins_after_the_options() {
        let plain = wanted("-n -u postgres A=b apt-get -y install x").unwrap();
        assert_eq!((plain.user.as_str(), plain.argv.join(" ").as_str()), ("postgres", "apt-get -y install x"));
        assert_eq!(plain.env.get("A").unwrap(), "b");
        assert!(plain.env.contains_key("TERM") && !plain.env.contains_key("SECRET"));
        assert!(wanted("-E env").unwrap().env.contains_key("SECRET"));
        assert_eq!(wanted("-nupostgres id").unwrap().user, "postgres");
        assert!(wanted("-i").unwrap().login);
        assert!(wanted("-v").is_none());
        assert!(parse(vec!["--frob".into()], BTreeMap::new()).is_err());
        assert_eq!(wanted("-- -x").unwrap().argv, ["-x"]);
    }
}
