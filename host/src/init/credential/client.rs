//! The program that git runs.

use super::{DEADLINE, Outcome, SOCKET, Wanted};
use crate::{frame::Frame, protocol::GitAnswer};
use bytes::BytesMut;
use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    process::ExitCode,
    time::Duration,
};
use zeroize::Zeroizing;

/// Bytes that git says of where it is to sign in.
const MOST_SAID: u64 = 64 << 10;
/// PID 1 answers by its own deadline.
const PATIENCE: Duration = DEADLINE.saturating_add(Duration::from_secs(5));
const CHUNK: usize = 4 << 10;

/// What git takes from its helper's output. With `quit` it asks nobody else, and no person.
pub fn run(operation: &str) -> ExitCode {
    // Nothing is kept: there is nothing to store or to erase.
    if operation != "get" {
        return ExitCode::SUCCESS;
    }
    let said = match ask() {
        Ok(Outcome::NotOwn) => return ExitCode::SUCCESS,
        Ok(Outcome::Answered(GitAnswer::Credential { username, token })) => {
            Zeroizing::new(format!("username={username}\npassword={}\n", token.as_str()))
        }
        Ok(Outcome::Answered(GitAnswer::Refused { why })) => refused(&why),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => refused("Nobody answered in time. Try again in a moment."),
        Err(error) => refused(&format!("The pod's PID 1 does not answer ({error}). Try again; if that does not help, restart the pod.")),
    };
    match io::stdout().write_all(said.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pinacle: git does not listen: {error}");
            ExitCode::FAILURE
        }
    }
}

fn refused(why: &str) -> Zeroizing<String> {
    eprintln!("pinacle: {why}");
    Zeroizing::new("quit=1\n".to_owned())
}

fn ask() -> io::Result<Outcome> {
    let mut said = Vec::new();
    io::stdin().lock().take(MOST_SAID).read_to_end(&mut said)?;
    let wanted = Wanted::parse(&String::from_utf8_lossy(&said));
    let mut socket = UnixStream::connect(SOCKET)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.write_all(&Frame::json(&wanted).and_then(|frame| frame.encode()).map_err(io::Error::other)?)?;
    let (mut answer, mut piece) = (BytesMut::new(), [0; CHUNK]);
    loop {
        let read = match socket.read(&mut piece) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // What a deadline of a socket is called.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(io::ErrorKind::TimedOut.into()),
            Err(error) => return Err(error),
        };
        answer.extend_from_slice(&piece[..read]);
        if let Some(frame) = Frame::decode(&mut answer).map_err(io::Error::other)? {
            return frame.parse().map_err(io::Error::other);
        }
    }
}
