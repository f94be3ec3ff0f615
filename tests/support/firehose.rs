//! A client of `subscribeRepos`.

use std::time::Duration;

use atproto::event::Frame;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, http::Response},
};

use super::TestServer;

/// How long an event may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// An open subscription.
pub struct Subscription {
    socket: WebSocketStream<TcpStream>,
}

impl TestServer {
    /// Subscribes; `query` as it stands in the URL (`?cursor=0`).
    pub async fn subscribe(&self, query: &str) -> Subscription {
        self.try_subscribe(query, None).await.unwrap_or_else(|answer| panic!("{answer:?}"))
    }

    /// Subscribes with a receive buffer of `buffer_bytes`, or returns the HTTP answer that refused it.
    pub async fn try_subscribe(
        &self,
        query: &str,
        buffer_bytes: Option<u32>,
    ) -> Result<Subscription, Response<Option<Vec<u8>>>> {
        let address = self.url.strip_prefix("http://").unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(bytes) = buffer_bytes {
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        let stream = socket.connect(address.parse().unwrap()).await.unwrap();
        let url = format!("ws://{address}/xrpc/com.atproto.sync.subscribeRepos{query}");
        match timeout(PATIENCE, client_async(url, stream)).await.unwrap() {
            Ok((socket, _)) => Ok(Subscription { socket }),
            Err(Error::Http(answer)) => Err(*answer),
            Err(error) => panic!("{error}"),
        }
    }
}

impl Subscription {
    /// The next frame, as it was sent.
    pub async fn next_bytes(&mut self) -> Bytes {
        match self.next_message().await {
            Message::Binary(frame) => frame,
            other => panic!("{other:?}"),
        }
    }

    /// The next frame.
    pub async fn next(&mut self) -> Frame {
        Frame::decode(&self.next_bytes().await).unwrap()
    }

    /// The next `n` frames.
    pub async fn take(&mut self, n: usize) -> Vec<Frame> {
        let mut frames = Vec::new();
        for _ in 0..n {
            frames.push(self.next().await);
        }
        frames
    }

    /// Frames up to and with the event numbered `last`.
    pub async fn read_to(&mut self, last: i64) -> Vec<Frame> {
        let mut frames = Vec::new();
        while frames.last().and_then(seq).is_none_or(|seq| seq < last) {
            frames.push(self.next().await);
        }
        frames
    }

    /// Code and reason with which the server closes.
    pub async fn closed(&mut self) -> (u16, String) {
        match self.next_message().await {
            Message::Close(Some(frame)) => (frame.code.into(), frame.reason.to_string()),
            other => panic!("{other:?}"),
        }
    }

    /// Sends a message.
    pub async fn send(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    /// Waits for a ping.
    pub async fn pinged(&mut self) {
        let message = timeout(PATIENCE, self.socket.next()).await.unwrap().unwrap().unwrap();
        assert!(matches!(message, Message::Ping(_)), "{message:?}");
    }

    /// Waits for the connection to end.
    pub async fn gone(&mut self) {
        while let Some(Ok(_)) = timeout(PATIENCE, self.socket.next()).await.unwrap() {}
    }

    /// The next message that is no ping.
    pub async fn next_message(&mut self) -> Message {
        loop {
            let message = timeout(PATIENCE, self.socket.next()).await.expect("nothing came");
            match message.expect("the stream ended").unwrap() {
                Message::Ping(_) => (),
                message => return message,
            }
        }
    }
}

/// The number of an event; `None` for what has none.
pub fn seq(frame: &Frame) -> Option<i64> {
    match frame {
        Frame::Commit(commit) => Some(commit.seq),
        Frame::Sync(sync) => Some(sync.seq),
        Frame::Identity(identity) => Some(identity.seq),
        Frame::Account(account) => Some(account.seq),
        _ => None,
    }
}

/// The numbers of events.
pub fn seqs(frames: &[Frame]) -> Vec<i64> {
    frames.iter().filter_map(seq).collect()
}
