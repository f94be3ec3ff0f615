//! Around every request: one log line, the cache headers of answers that depend on the caller, and the net that turns
//! a panic into a 500.
//!
//! Never logged: queries, bodies, headers. They hold secrets.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use atproto::syntax::Did;
use axum::{
    extract::Request,
    http::{HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::FutureExt;

use super::XrpcError;

/// What extractors tell the outer layer about the request.
#[derive(Clone, Debug, Default)]
pub(in crate::xrpc) struct RequestNotes(Arc<Notes>);

#[derive(Debug, Default)]
struct Notes {
    did: OnceLock<Did>,
    private: AtomicBool,
}

impl RequestNotes {
    /// Who called.
    pub(in crate::xrpc) fn set_did(&self, did: &Did) {
        // Only the first name counts: a request has one caller.
        let _ = self.0.did.set(did.clone());
    }

    /// Who called, when that is known.
    pub(in crate::xrpc) fn did(&self) -> Option<&Did> {
        self.0.did.get()
    }

    /// The answer depends on `Authorization`.
    pub(in crate::xrpc) fn set_private(&self) {
        self.0.private.store(true, Ordering::Relaxed);
    }
}

/// The outermost layer of XRPC.
pub(super) async fn trace(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let notes = RequestNotes::default();
    request.extensions_mut().insert(notes.clone());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let has_credentials = request.headers().contains_key(header::AUTHORIZATION);

    let mut response = AssertUnwindSafe(next.run(request)).catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!(%path, "a handler panicked");
        XrpcError::panicked().into_response()
    });
    // What anybody is told may say itself how long it may be kept (`cache`).
    let is_public = !has_credentials && response.headers().contains_key(header::CACHE_CONTROL);
    if notes.0.private.load(Ordering::Relaxed) && !is_public {
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private"));
        headers.append(header::VARY, HeaderValue::from_static("Authorization"));
    }

    let nsid = path.strip_prefix("/xrpc/").unwrap_or(&path);
    tracing::info!(
        %method,
        nsid = &nsid[..nsid.floor_char_boundary(NSID_BYTES_LOGGED_MAX)],
        status = response.status().as_u16(),
        duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        did = notes.0.did.get().map(Did::as_str),
        "request"
    );
    response
}

/// How much of a path that nobody checked goes to the log, in bytes.
const NSID_BYTES_LOGGED_MAX: usize = 320;
