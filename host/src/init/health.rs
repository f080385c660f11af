//! Asks a health check: one HTTP GET, of which only the status counts.

use super::relay;
use std::{net::Ipv4Addr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

const DEADLINE: Duration = Duration::from_secs(5);
/// Bytes within which the status line must end.
const STATUS_LINE: usize = 512;

/// The status, or what went wrong in a few words.
pub async fn get(own: Ipv4Addr, port: u16, path: &str) -> Result<u16, String> {
    match timeout(DEADLINE, ask(own, port, path)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", DEADLINE.as_secs())),
    }
}

async fn ask(own: Ipv4Addr, port: u16, path: &str) -> Result<u16, String> {
    let mut socket = relay::open(own, port).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => error.to_string(),
    })?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nUser-Agent: pinacle-init\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.map_err(|e| e.to_string())?;
    let mut head = Vec::with_capacity(STATUS_LINE);
    while !head.contains(&b'\n') {
        if head.len() >= STATUS_LINE {
            return Err("not an HTTP answer".to_owned());
        }
        let mut piece = [0; STATUS_LINE];
        match socket.read(&mut piece).await.map_err(|e| e.to_string())? {
            0 => return Err("closed without an answer".to_owned()),
            read => head.extend_from_slice(&piece[..read]),
        }
    }
    status(&head).ok_or_else(|| "not an HTTP answer".to_owned())
}

fn status(head: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(head.split(|b| *b == b'\r' || *b == b'\n').next()?).ok()?;
    let mut words = line.split(' ');
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_status_of_an_http_answer_counts() {
        assert_eq!(status(b"HTTP/1.1 204 No Content\r\nX: y"), Some(204));
        assert_eq!(status(b"HTTP/1.0 500\n"), Some(500));
        assert_eq!(status(b"SSH-2.0-x\r\n"), None);
        assert_eq!(status(b""), None);
    }
}
