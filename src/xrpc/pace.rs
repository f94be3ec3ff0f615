//! Bodies of requests have to come in: who stalls or drips is answered 408 instead of waited for.
//!
//! A JSON body has a bound in all as well (`input`), an upload its own (`service::blob`).
//!
//! Not for: heads and answers (`server`).

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{Request, State},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::time::{Instant, Sleep, sleep};

use super::XrpcError;
use crate::{app::App, service::pace::Pace};

/// The body came too slowly.
#[derive(Debug, thiserror::Error)]
#[error("the request body does not arrive, or too slowly")]
struct TooSlow;

/// Gives the handler a body that fails when its client does not keep the pace, and tells the client so.
pub(super) async fn keep(State(app): State<App>, request: Request, next: Next) -> Response {
    if HttpBody::is_end_stream(request.body()) {
        return next.run(request).await;
    }
    let too_slow = Arc::new(AtomicBool::new(false));
    let pace = Pace::new(app.settings.client_patience);
    let flag = too_slow.clone();
    let paced = |body| Body::new(Paced { body, pace, waiting: None, too_slow: flag });
    let response = next.run(request.map(paced)).await;
    // Methods tell that a body broke off, and cannot know why.
    if too_slow.load(Ordering::Relaxed) && response.status().is_client_error() {
        return XrpcError::new(StatusCode::REQUEST_TIMEOUT, "RequestTimeout", TooSlow).into_response();
    }
    response
}

struct Paced {
    body: Body,
    pace: Pace,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
    too_slow: Arc<AtomicBool>,
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            if let Some((since, _)) = this.waiting.take() {
                let bytes = match &frame {
                    Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
                    _ => 0,
                };
                this.pace.moved(bytes, since.elapsed());
            }
            return Poll::Ready(frame);
        }
        let left = this.pace.left();
        let (_, until) = this.waiting.get_or_insert_with(|| (Instant::now(), Box::pin(sleep(left))));
        match until.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                this.too_slow.store(true, Ordering::Relaxed);
                Poll::Ready(Some(Err(axum::Error::new(TooSlow))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        HttpBody::is_end_stream(&self.body)
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        HttpBody::size_hint(&self.body)
    }
}
