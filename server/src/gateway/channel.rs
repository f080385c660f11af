//! Joins one channel of a client to what runs at the pod's end.

use bytes::Bytes;
use pinacle_app::backend::{ByteConnection, ByteControl, ByteInput, ByteOutput};
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig, server::Msg};
use std::time::Duration;
use tokio::{sync::mpsc, time::timeout};

/// SSH's number for standard error (RFC 4254, 5.2).
const STDERR: u32 = 1;
/// As ssh itself ends where it could not do what it was asked for.
const REFUSED: u32 = 255;
/// A client that has taken nothing for so long has its channel closed: one that waits for itself would wait for ever.
const TAKEN_WITHIN: Duration = Duration::from_secs(600);
/// For a client to close after the end was said.
const CLOSED_WITHIN: Duration = Duration::from_secs(10);

/// To the end of either side.
pub async fn join(channel: Channel<Msg>, process: ByteConnection) {
    let ByteConnection { input, control, mut output } = process;
    let (reader, writer) = channel.split();
    let typed = control.clone();
    tokio::select! {
        () = outward(&writer, &mut output, &control) => {
            // Said: it is the client's turn to close.
            if timeout(CLOSED_WITHIN, writer.close()).await.is_err() {
                tracing::debug!("a channel could not be closed");
            }
        }
        () = inward(reader, input, typed) => {}
    }
}

/// Says why nothing runs here.
pub async fn refuse(channel: Channel<Msg>, why: &str) {
    let words = Bytes::from(format!("pinacle: {why}\r\n"));
    let saying = async {
        channel.extended_data_bytes(STDERR, words).await?;
        channel.exit_status(REFUSED).await?;
        channel.eof().await?;
        channel.close().await
    };
    if !matches!(timeout(CLOSED_WITHIN, saying).await, Ok(Ok(()))) {
        tracing::debug!("a client left before it was told why");
    }
}

async fn outward(writer: &ChannelWriteHalf<Msg>, output: &mut mpsc::Receiver<ByteOutput>, control: &mpsc::Sender<ByteControl>) {
    while let Some(piece) = output.recv().await {
        let (sent, taken) = match piece {
            ByteOutput::Data(bytes) => {
                let length = bytes.len();
                (timeout(TAKEN_WITHIN, writer.data_bytes(bytes)).await, length)
            }
            ByteOutput::ErrorData(bytes) => {
                let length = bytes.len();
                (timeout(TAKEN_WITHIN, writer.extended_data_bytes(STDERR, bytes)).await, length)
            }
            ByteOutput::Exit { code, signal } => return said(end(writer, code, signal).await),
            ByteOutput::Closed { reason } => {
                let words = Bytes::from(format!("pinacle: {reason}\r\n"));
                return said(
                    async {
                        writer.extended_data_bytes(STDERR, words).await?;
                        end(writer, Some(255), None).await
                    }
                    .await,
                );
            }
        };
        if !matches!(sent, Ok(Ok(()))) {
            return;
        }
        let taken = u32::try_from(taken).unwrap_or(u32::MAX);
        if control.send(ByteControl::Taken(taken)).await.is_err() {
            tracing::trace!("the pod's end has said all; it is still on its way");
        }
    }
}

fn said(result: Result<(), russh::Error>) {
    if let Err(error) = result {
        tracing::debug!(%error, "a client left before the end");
    }
}

async fn end(writer: &ChannelWriteHalf<Msg>, code: Option<i32>, signal: Option<i32>) -> Result<(), russh::Error> {
    // As a shell tells of a signal; and what was ended by its time limit has neither.
    let status = code.or(signal.map(|signal| 128 + signal)).and_then(|code| u32::try_from(code).ok()).unwrap_or(REFUSED);
    writer.exit_status(status).await?;
    writer.eof().await
}

/// Ends when the client has closed the channel, or the pod's end takes nothing more.
async fn inward(mut reader: ChannelReadHalf, input: mpsc::Sender<ByteInput>, control: mpsc::Sender<ByteControl>) {
    // Dropped at the end of input: nothing comes after that.
    let mut input = Some(input);
    while let Some(message) = reader.wait().await {
        let told = match message {
            ChannelMsg::Data { data } => match &input {
                Some(input) => input.send(ByteInput::Data(data)).await.is_ok(),
                None => true,
            },
            ChannelMsg::Eof => match input.take() {
                Some(input) => input.send(ByteInput::Eof).await.is_ok(),
                None => true,
            },
            ChannelMsg::WindowChange { col_width, row_height, .. } => {
                let side = |asked: u32| u16::try_from(asked).unwrap_or(u16::MAX);
                control.send(ByteControl::Resize { cols: side(col_width), rows: side(row_height) }).await.is_ok()
            }
            ChannelMsg::Signal { signal } => match number(&signal) {
                Some(signal) => control.send(ByteControl::Signal(signal)).await.is_ok(),
                None => true,
            },
            ChannelMsg::Close => return,
            _ => true,
        };
        if !told {
            // What the pod's end says last is still on its way to the client, which may still say something.
            while !matches!(reader.wait().await, None | Some(ChannelMsg::Close)) {}
            return;
        }
    }
}

/// Its number in Linux.
fn number(signal: &Sig) -> Option<i32> {
    Some(match signal {
        Sig::HUP => 1,
        Sig::INT => 2,
        Sig::QUIT => 3,
        Sig::ILL => 4,
        Sig::ABRT => 6,
        Sig::FPE => 8,
        Sig::KILL => 9,
        Sig::USR1 => 10,
        Sig::SEGV => 11,
        Sig::PIPE => 13,
        Sig::ALRM => 14,
        Sig::TERM => 15,
        Sig::Custom(name) if name == "USR2" => 12,
        Sig::Custom(_) => return None,
    })
}
