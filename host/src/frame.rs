//! Frames: a 4-byte big-endian length of what follows, a 1-byte kind, the payload.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Largest payload in bytes; a longer frame ends the connection.
pub const MAX_PAYLOAD: usize = 1 << 20;
/// Senders cut data into frames of at most this many bytes, so that control frames never wait long.
pub const DATA_CHUNK: usize = 32 << 10;

/// Bytes of output that may be on their way, where a stream's reader says what it has taken. Less than one SSH channel
/// buffers, so that the connection itself is never held up.
pub const WINDOW: usize = 512 << 10;
/// And pieces of it, for a channel buffers so many messages, however small.
pub const WINDOW_PIECES: usize = 1000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A [`crate::protocol`] value.
    Json(Bytes),
    /// Towards the pod: input. From the pod: standard output, terminal output or file content.
    Data(Bytes),
    /// From the pod: standard error.
    Stderr(Bytes),
}

#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("the connection ended within a frame")]
    Truncated,
    #[error("a frame of {0} bytes is longer than the limit of {MAX_PAYLOAD}")]
    TooLong(usize),
    #[error("a frame of the unknown kind {0}")]
    UnknownKind(u8),
    #[error("a frame that was not expected here: {0}")]
    Unexpected(&'static str),
    #[error("not the JSON that was expected: {0}")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Frame {
    pub fn json(value: &impl Serialize) -> Result<Self, FrameError> {
        Ok(Frame::Json(serde_json::to_vec(value)?.into()))
    }

    /// The value of a JSON frame.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, FrameError> {
        match self {
            Frame::Json(bytes) => Ok(serde_json::from_slice(bytes)?),
            _ => Err(FrameError::Unexpected("data where JSON was expected")),
        }
    }

    fn parts(&self) -> (u8, &Bytes) {
        match self {
            Frame::Json(b) => (0, b),
            Frame::Data(b) => (1, b),
            Frame::Stderr(b) => (2, b),
        }
    }

    /// The frame as it goes over the wire.
    pub fn encode(&self) -> Result<Bytes, FrameError> {
        let (kind, payload) = self.parts();
        if payload.len() > MAX_PAYLOAD {
            return Err(FrameError::TooLong(payload.len()));
        }
        let mut out = BytesMut::with_capacity(payload.len() + 5);
        out.put_u32(payload.len() as u32 + 1);
        out.put_u8(kind);
        out.extend_from_slice(payload);
        Ok(out.freeze())
    }

    /// Takes one frame off the front of `buffer`; None while it is not whole.
    pub fn decode(buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        if buffer.len() < 5 {
            return Ok(None);
        }
        let length = u32::from_be_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]) as usize;
        if length == 0 || length > MAX_PAYLOAD + 1 {
            return Err(FrameError::TooLong(length));
        }
        if buffer.len() < 4 + length {
            return Ok(None);
        }
        buffer.advance(4);
        let mut body = buffer.split_to(length).freeze();
        let kind = body.get_u8();
        match kind {
            0 => Ok(Some(Frame::Json(body))),
            1 => Ok(Some(Frame::Data(body))),
            2 => Ok(Some(Frame::Stderr(body))),
            other => Err(FrameError::UnknownKind(other)),
        }
    }
}

/// Reads frames off a byte stream. Cancel-safe: a read that is dropped loses nothing.
pub struct FrameReader<R> {
    from: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub fn new(from: R) -> Self {
        Self { from, buffer: BytesMut::with_capacity(DATA_CHUNK) }
    }

    /// The next frame; None at an end between two frames.
    pub async fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            if let Some(frame) = Frame::decode(&mut self.buffer)? {
                return Ok(Some(frame));
            }
            if self.from.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(FrameError::Truncated) };
            }
        }
    }

    /// What was read off the stream but is not a whole frame yet, and the stream itself.
    pub fn into_parts(self) -> (R, BytesMut) {
        (self.from, self.buffer)
    }
}

/// Writes one frame and flushes it.
pub async fn write_frame<W: AsyncWrite + Unpin>(to: &mut W, frame: &Frame) -> Result<(), FrameError> {
    to.write_all(&frame.encode()?).await?;
    to.flush().await?;
    Ok(())
}

/// Writes one JSON frame and flushes it.
pub async fn write_json<W: AsyncWrite + Unpin>(to: &mut W, value: &impl Serialize) -> Result<(), FrameError> {
    write_frame(to, &Frame::json(value)?).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_survive_being_cut_anywhere() {
        let frames = [Frame::Json(Bytes::from_static(b"{}")), Frame::Data(Bytes::from_static(b"abc")), Frame::Stderr(Bytes::new())];
        let wire: Vec<u8> = frames.iter().flat_map(|f| f.encode().unwrap().to_vec()).collect();
        for cut in 0..=wire.len() {
            let mut buffer = BytesMut::from(&wire[..cut]);
            let mut seen = Vec::new();
            while let Some(frame) = Frame::decode(&mut buffer).unwrap() {
                seen.push(frame);
            }
            buffer.extend_from_slice(&wire[cut..]);
            while let Some(frame) = Frame::decode(&mut buffer).unwrap() {
                seen.push(frame);
            }
            assert_eq!(seen, frames);
        }
    }

    #[test]
    fn a_frame_longer_than_the_limit_is_refused_before_it_is_read() {
        let mut buffer = BytesMut::from(&[0xff, 0xff, 0xff, 0xff, 0][..]);
        assert!(matches!(Frame::decode(&mut buffer), Err(FrameError::TooLong(_))));
    }

    #[tokio::test]
    async fn a_stream_that_ends_within_a_frame_is_an_error() {
        let wire = Frame::Data(Bytes::from_static(b"abc")).encode().unwrap();
        let mut reader = FrameReader::new(&wire[..wire.len() - 1]);
        assert!(matches!(reader.next().await, Err(FrameError::Truncated)));
    }
}
