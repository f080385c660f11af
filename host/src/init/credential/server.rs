//! PID 1's side.

use super::{DEADLINE, Outcome, SOCKET, Wanted};
use crate::{
    frame::{FrameReader, write_json},
    init::{Pod, socket},
    inside::{ASK_DEADLINE, QUESTIONS_AT_ONCE},
};
use std::{
    io,
    sync::{Arc, PoisonError},
};
use tokio::{net::UnixStream, time::timeout};

pub async fn serve(pod: Arc<Pod>) -> io::Result<()> {
    socket::serve(SOCKET, QUESTIONS_AT_ONCE, move |asker| {
        let pod = pod.clone();
        async move { answer(&pod, asker).await }
    })
    .await
}

async fn answer(pod: &Pod, asker: UnixStream) -> io::Result<()> {
    let (read, mut write) = asker.into_split();
    let mut input = FrameReader::new(read);
    let wanted: Wanted = socket::wanted(&mut input).await?;
    let own = pod.config.lock().unwrap_or_else(PoisonError::into_inner).git_credential.clone();
    let outcome = if own.is_some_and(|own| wanted.is_of(&own)) {
        tokio::select! {
            answer = pod.questions.ask(DEADLINE) => Outcome::Answered(answer),
            // Nothing more is said: whoever asked has gone.
            _ = input.next() => return Ok(()),
        }
    } else {
        Outcome::NotOwn
    };
    timeout(ASK_DEADLINE, write_json(&mut write, &outcome)).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?.map_err(io::Error::other)
}
