//! Reads what an answer has left of its request's body, within bounds. A connection that is closed with input unread is
//! reset, and the answer goes with it: a client that is still sending would not hear why it was refused.

use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::header::EXPECT,
    middleware::Next,
    response::Response,
};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{sync::oneshot, time::timeout};

/// Bytes that are read for nothing, and how long that may take. Beyond, the connection is closed with what is unread.
const MOST: usize = 16 << 20;
const DEADLINE: Duration = Duration::from_secs(5);

pub async fn read(request: Request, next: Next) -> Response {
    // Who asked whether to send (`Expect: 100-continue`) sends nothing that nobody reads.
    if request.body().is_end_stream() || request.headers().contains_key(EXPECT) {
        return next.run(request).await;
    }
    let (back, left) = oneshot::channel();
    let response = next.run(request.map(|body| Body::new(Lent { body, back: Some(back) }))).await;
    // Where somebody still reads it, or it was read to its end, there is nothing to do.
    let mut left = left;
    if let Ok(body) = left.try_recv()
        && timeout(DEADLINE, discard(body)).await.is_err()
    {
        tracing::debug!("a body that was refused did not end in time");
    }
    response
}

async fn discard(mut body: Body) {
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, Bytes::len);
        if read > MOST {
            return;
        }
    }
}

/// A body that goes back to where it came from when whoever had it lets go of it before its end.
struct Lent {
    body: Body,
    back: Option<oneshot::Sender<Body>>,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(None | Some(Err(_))) = polled {
            self.back = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(back) = self.back.take()
            && !self.body.is_end_stream()
        {
            // Refused only where nobody waits for it any more.
            drop(back.send(std::mem::take(&mut self.body)));
        }
    }
}
