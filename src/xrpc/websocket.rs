//! The server's end of a websocket that sends messages which many sockets share.
//!
//! A message from a server is not masked, so its bytes are the same for everyone: they go from where they are held to the
//! system, many messages in one call, and are copied nowhere in between. A socket that waits for its next message holds
//! no buffer for it. Control frames, and all that the client sends, are left to tungstenite.
//!
//! Not for: what is sent and how long a client may take for it (the methods that subscribe).

use std::{
    collections::VecDeque,
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        handshake::derive_accept_key,
        protocol::{Role, WebSocketConfig},
    },
};

/// What is read from a client at once, in bytes.
const READ_BUFFER_BYTES: usize = 1024;
/// Largest message taken from a client, in bytes. There is nothing to say.
const CLIENT_MESSAGE_BYTES_MAX: usize = 4 * 1024;
/// Pieces handed to the system at once: a head and a payload for each message.
const PIECES_MAX: usize = 256;
/// Room for messages that is kept while none are waiting.
const UNSENT_KEPT: usize = 32;
/// Longest head of a message, in bytes.
const HEAD_BYTES_MAX: usize = 10;
/// First byte of a binary message in one frame.
const BINARY: u8 = 0x82;

/// The answer that turns a request into a websocket; `None` when it has no key.
pub(super) fn switching_protocols(headers: &HeaderMap) -> Option<Response> {
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?;
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok()?;
    let headers = [
        (header::CONNECTION, HeaderValue::from_static("upgrade")),
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::SEC_WEBSOCKET_ACCEPT, accept),
    ];
    Some((StatusCode::SWITCHING_PROTOCOLS, headers, Body::empty()).into_response())
}

/// A websocket after its handshake.
pub(super) struct Socket<S> {
    control: WebSocketStream<S>,
    /// Messages that have not gone out; the first may have begun to.
    unsent: VecDeque<Outgoing>,
}

struct Outgoing {
    head: [u8; HEAD_BYTES_MAX],
    head_len: usize,
    payload: Bytes,
    /// Bytes of head and payload that are out.
    sent: usize,
}

impl Outgoing {
    fn binary(payload: Bytes) -> Outgoing {
        let mut head = [0; HEAD_BYTES_MAX];
        head[0] = BINARY;
        let head_len = match payload.len() {
            len @ 0..126 => {
                head[1] = len as u8;
                2
            }
            len @ 126..0x1_0000 => {
                head[1] = 126;
                head[2..4].copy_from_slice(&(len as u16).to_be_bytes());
                4
            }
            len => {
                head[1] = 127;
                head[2..10].copy_from_slice(&(len as u64).to_be_bytes());
                10
            }
        };
        Outgoing { head, head_len, payload, sent: 0 }
    }

    fn rest(&self) -> (&[u8], &[u8]) {
        let head = &self.head[self.sent.min(self.head_len)..self.head_len];
        (head, &self.payload[self.sent.saturating_sub(self.head_len)..])
    }

    fn left(&self) -> usize {
        self.head_len + self.payload.len() - self.sent
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// Over a connection that has switched protocols.
    pub(super) async fn new(stream: S) -> Socket<S> {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(CLIENT_MESSAGE_BYTES_MAX))
            .max_frame_size(Some(CLIENT_MESSAGE_BYTES_MAX));
        let control = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
        Socket { control, unsent: VecDeque::new() }
    }

    /// Lines up binary messages for [`Socket::send_some`].
    pub(super) fn line_up(&mut self, messages: impl IntoIterator<Item = Bytes>) {
        self.unsent.extend(messages.into_iter().map(Outgoing::binary));
    }

    /// False when every message that was lined up is out.
    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Sends messages until at least one more is out whole. Cancelling loses nothing: what is left stays in its order.
    pub(super) async fn send_some(&mut self) -> Result<(), Error> {
        // A control frame that has begun has to end before anything else does.
        self.control.flush().await?;
        poll_fn(|context| self.poll_send_some(context)).await?;
        Ok(())
    }

    fn poll_send_some(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let before = self.unsent.len();
        while before > 0 && self.unsent.len() == before {
            let mut pieces = [IoSlice::new(&[]); PIECES_MAX];
            let mut count = 0;
            for outgoing in self.unsent.iter().take(PIECES_MAX / 2) {
                let (head, payload) = outgoing.rest();
                pieces[count] = IoSlice::new(head);
                pieces[count + 1] = IoSlice::new(payload);
                count += 2;
            }
            let stream = Pin::new(self.control.get_mut());
            match ready!(stream.poll_write_vectored(context, &pieces[..count]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.advance(written),
            }
        }
        if self.unsent.is_empty() {
            self.unsent.shrink_to(UNSENT_KEPT);
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(first) = self.unsent.front_mut() {
            let left = first.left();
            if written < left {
                first.sent += written;
                return;
            }
            written -= left;
            self.unsent.pop_front();
        }
    }

    /// What the client sends next; `None` when it has gone. Cancelling loses nothing. Nothing may be unsent.
    pub(super) async fn receive(&mut self) -> Option<Result<Message, Error>> {
        self.control.next().await
    }

    /// Sends a message by itself. A message that was lined up and has begun to go out is ended first; others are not
    /// sent any more.
    pub(super) async fn send_last(&mut self, message: Message) -> Result<(), Error> {
        self.unsent.truncate(usize::from(self.unsent.front().is_some_and(|first| first.sent > 0)));
        while self.has_unsent() {
            self.send_some().await?;
        }
        self.control.send(message).await
    }
}

#[cfg(test)]
mod tests;
