//! The log of one process: two files of at most half a MiB each, the older one thrown away when the newer is full.

use super::{
    boot,
    outbox::{Gone, Outbox},
    serve::Connection,
    window::Window,
};
use crate::{
    frame::{DATA_CHUNK, Frame},
    protocol::{HostError, HostErrorCode, Reply, StreamOutput},
};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::watch;

/// Bytes after which a file is set aside.
const HALF: u64 = 512 << 10;

pub struct Log {
    files: Arc<Mutex<Files>>,
    /// Bytes written since the log began; changes with every write, and ends with the process and all who write for it.
    end: watch::Sender<u64>,
}

/// Positions count bytes from the log's beginning in this boot; what earlier boots left comes first.
struct Files {
    newer: PathBuf,
    older: PathBuf,
    writing: File,
    older_start: u64,
    newer_start: u64,
    end: u64,
}

impl Log {
    pub fn open(name: &str) -> io::Result<Self> {
        let newer = PathBuf::from(format!("{}/{name}.log", boot::LOGS));
        let older = newer.with_extension("log.1");
        let length = |path: &PathBuf| fs::metadata(path).map_or(0, |m| m.len());
        let (newer_start, newer_length) = (length(&older), length(&newer));
        let writing = OpenOptions::new().create(true).append(true).open(&newer)?;
        let end = newer_start + newer_length;
        let files = Files { newer, older, writing, older_start: 0, newer_start, end };
        Ok(Self { files: Arc::new(Mutex::new(files)), end: watch::Sender::new(end) })
    }

    /// Appends; a full disk loses the piece, never the process.
    pub fn write(&self, piece: &[u8]) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = files.append(piece) {
            super::complain(&format!("{}: {error}", files.newer.display()));
        }
        self.end.send_replace(files.end);
    }
}

impl Files {
    /// Up to a chunk from `position`, and the position after it; skips what has been thrown away.
    fn read(&self, position: u64) -> io::Result<(Vec<u8>, u64)> {
        let position = position.max(self.older_start);
        let (path, start, end) =
            if position < self.newer_start { (&self.older, self.older_start, self.newer_start) } else { (&self.newer, self.newer_start, self.end) };
        let mut piece = vec![0; (end - position).min(DATA_CHUNK as u64) as usize];
        if !piece.is_empty() {
            let read = File::open(path)?.read_at(&mut piece, position - start)?;
            piece.truncate(read);
            // Somebody has emptied the file by hand: go on at its end.
            if read == 0 {
                return Ok((piece, end));
            }
        }
        let next = position + piece.len() as u64;
        Ok((piece, next))
    }

    fn append(&mut self, piece: &[u8]) -> io::Result<()> {
        if self.end - self.newer_start >= HALF {
            fs::rename(&self.newer, &self.older)?;
            self.writing = OpenOptions::new().create(true).append(true).open(&self.newer)?;
            self.older_start = self.newer_start;
            self.newer_start = self.end;
        }
        let written = self.writing.write_all(piece);
        self.end = match written {
            Ok(()) => self.end + piece.len() as u64,
            // A full disk may have taken some of it.
            Err(_) => self.end.max(self.newer_start + self.writing.metadata()?.len()),
        };
        written
    }
}

/// Sends the log from its beginning, then what is added, until its process is gone or the connection ends.
pub async fn follow(connection: Connection, log: Arc<Log>) -> Result<(), Gone> {
    let Connection { mut input, output } = connection;
    let (files, grown) = (log.files.clone(), log.end.subscribe());
    // Who reads keeps no log from its end.
    drop(log);
    output.json(&Reply::Streaming).await?;
    let window = Window::default();
    let ended = tokio::select! {
        ended = copy(&files, grown, &output, &window) => ended?,
        gone = window.listen(&mut input) => return Err(gone),
    };
    Connection { input, output }.finish(ended).await
}

/// Sends the log and what is added to it, until the process is none of the pod's any more.
async fn copy(
    files: &Mutex<Files>,
    mut grown: watch::Receiver<u64>,
    output: &Outbox,
    window: &Window,
) -> Result<Result<StreamOutput, HostError>, Gone> {
    let mut position = 0;
    loop {
        let end = *grown.borrow_and_update();
        while position < end {
            let read = files.lock().unwrap_or_else(PoisonError::into_inner).read(position);
            let (piece, next) = match read {
                Ok(read) => read,
                Err(error) => return Ok(Err(HostError::new(HostErrorCode::Failed, format!("the log cannot be read: {error}")))),
            };
            position = next;
            if !piece.is_empty() {
                window.send(piece.len()).await;
                output.send(Frame::Data(piece.into())).await?;
            }
        }
        tokio::select! {
            changed = grown.changed() => if changed.is_err() {
                return Ok(Ok(StreamOutput::Exit { code: Some(0), signal: None, timed_out: false }));
            },
            () = output.closed() => return Err(Gone),
        }
    }
}
