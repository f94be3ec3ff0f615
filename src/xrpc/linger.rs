//! Reads on, for a while, when a request is answered before its end (413, 401, …).
//!
//! A connection that is closed with unread input is reset, and the reset takes the answer with it: the client would
//! see a broken upload where it should see why it was refused.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http::header,
    middleware::Next,
    response::Response,
};
use http_body_util::BodyExt;
use tokio::{runtime::Handle, time::timeout};

use crate::task;

/// How much is read and thrown away, in bytes.
const LINGER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// For how long.
const LINGER_SECS_MAX: u64 = 10;

/// Gives the handler a body that is read to its end after the handler has dropped it.
pub(super) async fn linger(request: Request, next: Next) -> Response {
    // A client that waits to be asked for its body has sent nothing that could be lost; reading would ask for it.
    if HttpBody::is_end_stream(request.body()) || request.headers().contains_key(header::EXPECT) {
        return next.run(request).await;
    }
    next.run(request.map(|body| Body::new(Lingering { body, ended: false }))).await
}

struct Lingering {
    body: Body,
    ended: bool,
}

impl HttpBody for Lingering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        self.ended = !matches!(frame, Some(Ok(_)));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        HttpBody::is_end_stream(&self.body)
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        HttpBody::size_hint(&self.body)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        if self.ended || HttpBody::is_end_stream(&self.body) {
            return;
        }
        if Handle::try_current().is_ok() {
            let rest = std::mem::take(&mut self.body);
            task::spawn(async move {
                let _ = timeout(Duration::from_secs(LINGER_SECS_MAX), throw_away(rest)).await;
            });
        }
    }
}

async fn throw_away(mut body: Body) {
    let mut bytes = 0;
    while bytes < LINGER_BYTES_MAX {
        match body.frame().await {
            Some(Ok(frame)) => bytes += frame.data_ref().map_or(0, Bytes::len),
            _ => return,
        }
    }
}
