//! A terminal of a pod, over the REST API's WebSocket.

use crate::fleet::{SOON, User};
use futures::{SinkExt, StreamExt};
use reqwest::{
    Method, RequestBuilder, StatusCode, Upgraded,
    header::{CONNECTION, UPGRADE},
};
use serde_json::Value;
use std::time::Instant;
use tokio::time::timeout;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

/// A terminal as a browser would have it.
pub struct Screen {
    pub socket: WebSocketStream<Upgraded>,
    shown: Vec<u8>,
}

/// What the request asks for, as a WebSocket.
pub async fn web_socket(request: RequestBuilder) -> WebSocketStream<Upgraded> {
    let asked = request
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    let answer = asked.send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
    WebSocketStream::from_raw_socket(answer.upgrade().await.expect("a connection"), Role::Client, None).await
}

impl Screen {
    pub async fn open(user: &User<'_>, id: &str, name: &str, query: &str) -> Self {
        let request = user.request(Method::GET, &format!("/pods/{id}/terminals/{name}?{query}"));
        Self { socket: web_socket(request).await, shown: Vec::new() }
    }

    pub async fn types(&mut self, text: &str) {
        self.socket.send(Message::binary(text.as_bytes().to_vec())).await.expect("typed");
    }

    pub async fn says(&mut self, message: Value) {
        self.socket.send(Message::text(message.to_string())).await.expect("said");
    }

    /// The next message that is none of the connection's own.
    pub async fn next(&mut self) -> Option<Message> {
        // Its pings are nothing in themselves, and give nobody more time.
        let others = async {
            loop {
                match self.socket.next().await? {
                    Ok(Message::Ping(_) | Message::Pong(_)) => {}
                    Ok(message) => return Some(message),
                    Err(_) => return None,
                }
            }
        };
        timeout(SOON, others).await.expect("something in time")
    }

    /// Reads until this is shown.
    pub async fn shows(&mut self, text: &str) {
        let begun = Instant::now();
        while !self.shown.windows(text.len()).any(|piece| piece == text.as_bytes()) {
            let shown = || String::from_utf8_lossy(&self.shown).into_owned();
            assert!(begun.elapsed() < SOON, "{text} in {:?}", shown());
            let left = SOON.saturating_sub(begun.elapsed());
            match timeout(left, self.socket.next()).await {
                Ok(Some(Ok(Message::Binary(bytes)))) => self.shown.extend_from_slice(&bytes),
                Ok(Some(Ok(_))) => {}
                other => panic!("no {text}, but {other:?} after {:?}", shown()),
            }
        }
        self.shown.clear();
    }
}
