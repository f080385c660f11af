//! `pinacle-host gate`: joins standard input and output to the daemon's socket, and nothing else. It is the forced command
//! of the control plane's key. A thread for each way and no runtime: tokio hands both to threads that each key would wait for.

use std::{
    fs::File,
    io::{self, Read, Write},
    net::Shutdown,
    os::{fd::AsFd, unix::net::UnixStream},
    path::Path,
    sync::mpsc,
    thread,
    time::Duration,
};

const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Bytes that are passed on at once: more than one frame of data.
const PIECE: usize = 64 << 10;

/// Ends when the daemon closes the connection; at the end of standard input the daemon is told.
pub fn gate(socket: &Path) -> io::Result<()> {
    let daemon = connect(socket)?;
    let to_daemon = daemon.try_clone()?;
    // As files: the standard library's own output cuts what is written at the ends of lines.
    let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let inward = thread::spawn(move || {
        let passed = pass(input, &to_daemon);
        let told = to_daemon.shutdown(Shutdown::Write);
        passed.and(told)
    });
    // To its end: a daemon that listens no more may have a last word.
    let outward = pass(&daemon, output);
    // Nobody waits for more input once the daemon has closed.
    if inward.is_finished() {
        return outward.and(inward.join().unwrap_or_else(|_| Err(io::Error::other("the thread that passes input on panicked"))));
    }
    outward
}

/// On a thread of its own: where the daemon accepts nothing, connecting blocks.
fn connect(socket: &Path) -> io::Result<UnixStream> {
    let (tell, connected) = mpsc::channel();
    let socket = socket.to_owned();
    thread::spawn(move || tell.send(UnixStream::connect(socket)));
    connected.recv_timeout(CONNECT_DEADLINE).map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Until there is no more to read.
fn pass(mut from: impl Read, mut to: impl Write) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => to.write_all(&buffer[..read])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
