//! One exchange with another service: which headers go and come back, how long it may take and how long it may be.
//!
//! Bodies are streamed both ways; whoever hangs up takes the other side with them. Not for: which service (`target`).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use futures::{
    Stream, StreamExt as _,
    stream::{self, BoxStream},
};
use hyper::{HeaderMap, Method, StatusCode, header, header::HeaderName};
use reqwest::{Client, Response};

use super::{Proxy, Target, TargetError, encoding, target::Reach};
use crate::{
    service::{http, keys::KeyError, outbound::OutboundError},
    store::account::Account,
};

/// From the end of the request to the head of the answer, in seconds.
const HEAD_SECS_MAX: u64 = 10;
/// Between two pieces of a body, in seconds.
const IDLE_SECS_MAX: u64 = 30;
/// Longest body sent on, in bytes.
pub const REQUEST_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// Longest answer passed back, in bytes, as they come over the wire.
pub const RESPONSE_BYTES_MAX: u64 = 10 * 1024 * 1024;
/// Longest error answer that is read for its name and message, in bytes; also unpacked.
const ERROR_BYTES_MAX: usize = 64 * 1024;
/// Idle connections kept to one service.
const IDLE_CONNECTIONS_MAX: usize = 32;

/// What a request may carry to the other service. The client's own token, cookies and address stay here (PX-4).
const REQUEST_HEADERS: [&str; 4] =
    ["accept-encoding", "accept-language", "atproto-accept-labelers", "x-bsky-topics"];
/// Those of a request with a body.
const BODY_HEADERS: [&str; 3] = ["content-type", "content-encoding", "content-length"];
/// Names that clients and services may agree on among themselves.
const REQUEST_HEADER_PREFIX: &str = "x-atproto-";
/// What an answer may carry back (PX-5).
const RESPONSE_HEADERS: [&str; 4] =
    ["content-length", "content-encoding", "content-type", "content-language"];
/// What also an error answer carries back; it has a body of its own.
const ERROR_HEADERS: [&str; 3] = ["atproto-repo-rev", "atproto-content-labelers", "retry-after"];

/// A request to be sent on.
pub struct Outgoing<'a> {
    /// GET, HEAD or POST.
    pub method: Method,
    /// As the client wrote them.
    pub path_and_query: &'a str,
    /// Of [`forwarded_headers`].
    pub headers: HeaderMap,
    /// Of a POST.
    pub body: Option<RequestBody>,
}

/// A body that has not been read yet.
pub type RequestBody = BoxStream<'static, Result<Bytes, Box<dyn std::error::Error + Send + Sync>>>;

/// An answer below 400 whose body has not been read yet.
pub struct Upstream {
    /// As the service gave it.
    pub status: StatusCode,
    /// Those that are passed back.
    pub headers: HeaderMap,
    /// Bounded in length; each piece arrives in time or is an error.
    pub body: BoxStream<'static, Result<Bytes, BodyError>>,
}

/// An answer of 400 or above.
#[derive(Clone, Debug)]
pub struct UpstreamError {
    /// As the service gave it.
    pub status: StatusCode,
    /// `error` of its JSON.
    pub error: Option<String>,
    /// `message` of its JSON.
    pub message: Option<String>,
    /// Those that are passed back with an error.
    pub headers: HeaderMap,
}

/// Why the body of an answer ended early. The client sees its connection broken off: a short answer must not look whole.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Nothing came for a while.
    #[error("the service sent nothing for {IDLE_SECS_MAX} seconds")]
    Idle,
    /// It goes on and on.
    #[error("the answer is longer than {RESPONSE_BYTES_MAX} bytes")]
    TooLong,
    /// The connection broke.
    #[error("the service broke off: {0}")]
    Broken(String),
}

/// Why there is no answer to pass back.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// No service to ask.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// No token could be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Not connected, no answer in time, an answer that is too long or none of HTTP.
    #[error("Upstream service unreachable")]
    Unreachable,
    /// The client sends too much.
    #[error("the request body is longer than {REQUEST_BYTES_MAX} bytes, the most that is sent on")]
    RequestTooLong,
    /// The service refused.
    #[error("the service answered {}", .0.status)]
    Upstream(Box<UpstreamError>),
    /// The service's answer is not what the method promises.
    #[error("{0}")]
    Answer(String),
}

/// The headers of a client's request that go on to a service. Without `Accept-Encoding`, none is asked for: what comes
/// back is passed on as it is.
pub fn forwarded_headers(client: &HeaderMap, carries_body: bool) -> HeaderMap {
    let wanted = |name: &HeaderName| {
        let name = name.as_str();
        REQUEST_HEADERS.contains(&name)
            || name.starts_with(REQUEST_HEADER_PREFIX)
            || (carries_body && BODY_HEADERS.contains(&name))
    };
    let mut headers = HeaderMap::new();
    for (name, value) in client.iter().filter(|(name, _)| wanted(name)) {
        headers.append(name, value.clone());
    }
    headers.entry(header::ACCEPT_ENCODING).or_insert(header::HeaderValue::from_static("identity"));
    headers
}

/// How far a request body has come.
#[derive(Default)]
struct Progress {
    bytes: AtomicU64,
    ended: AtomicBool,
    too_long: AtomicBool,
}

impl Proxy {
    /// A token that lets `account` call `nsid` of the service `audience`.
    pub async fn token(&self, account: &Account, audience: &str, nsid: &str) -> Result<String, ProxyError> {
        Ok(self.inner.tokens.issue(account, audience, Some(nsid), None).await?)
    }

    /// Sends a request on, with `token` when there is one, and waits for the head of the answer. Redirects are passed
    /// back, not followed.
    pub async fn send(
        &self,
        target: &Target,
        token: Option<&str>,
        outgoing: Outgoing<'_>,
    ) -> Result<Upstream, ProxyError> {
        let url = format!("{}{}", target.url, outgoing.path_and_query);
        let announced = outgoing.headers.get(header::CONTENT_LENGTH);
        let announced = announced.and_then(|bytes| bytes.to_str().ok()?.parse().ok());
        if announced.is_some_and(|bytes| bytes > REQUEST_BYTES_MAX) {
            return Err(ProxyError::RequestTooLong);
        }
        let mut request = self.client(target)?.request(outgoing.method, url).headers(outgoing.headers);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let progress = Arc::new(Progress::default());
        match outgoing.body {
            Some(body) => {
                let body = counted(body, announced, progress.clone());
                request = request.body(reqwest::Body::wrap_stream(body));
            }
            None => progress.ended.store(true, Ordering::Relaxed),
        }
        let response = match in_time(request.send(), &progress).await {
            Ok(response) => response,
            Err(_) if progress.too_long.load(Ordering::Relaxed) => return Err(ProxyError::RequestTooLong),
            Err(why) => return Err(unreachable(target, &why)),
        };
        if response.status().as_u16() >= 400 {
            return Err(ProxyError::Upstream(Box::new(read_error(response).await)));
        }
        if response.content_length().is_some_and(|bytes| bytes > RESPONSE_BYTES_MAX) {
            return Err(unreachable(target, &BodyError::TooLong));
        }
        let headers = returned_headers(response.headers(), &[&RESPONSE_HEADERS[..], &ERROR_HEADERS[..]]);
        Ok(Upstream { status: response.status(), headers, body: pieces(response).boxed() })
    }

    fn client(&self, target: &Target) -> Result<&Client, ProxyError> {
        match target.reach {
            Reach::Any => self.direct().map_err(|error| unreachable(target, &error)),
            Reach::Public => {
                self.inner.outbound.client().map_err(|error: OutboundError| unreachable(target, &error))
            }
        }
    }

    /// Two callers at once may each make one; the first stays.
    fn direct(&self) -> Result<&Client, reqwest::Error> {
        if let Some(client) = self.inner.direct.get() {
            return Ok(client);
        }
        let services = &self.inner.settings;
        let services = [&services.appview, &services.mod_service, &services.report_service];
        let is_plain = services.into_iter().flatten().all(|service| service.url.starts_with("http://"));
        let mut builder = http::builder().pool_max_idle_per_host(IDLE_CONNECTIONS_MAX);
        // Without TLS no certificates are loaded.
        if is_plain {
            builder = builder.tls_certs_only(std::iter::empty());
        }
        let client = builder.build()?;
        Ok(self.inner.direct.get_or_init(|| client))
    }
}

/// The log is told why; the client is not, because addresses are nobody's business.
fn unreachable(target: &Target, why: &dyn std::error::Error) -> ProxyError {
    let mut text = why.to_string();
    let mut source = why.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    tracing::warn!(service = %target.did, error = text, "another service cannot be reached");
    ProxyError::Unreachable
}

/// Counts a body against its limit and tells how far it has come.
fn counted(
    body: RequestBody,
    bytes_announced: Option<u64>,
    progress: Arc<Progress>,
) -> impl Stream<Item = Result<Bytes, Box<dyn std::error::Error + Send + Sync>>> + Send + 'static {
    let end = progress.clone();
    body.map(move |piece| {
        let piece = piece?;
        let before = progress.bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
        let sent = before + piece.len() as u64;
        if sent > REQUEST_BYTES_MAX {
            progress.too_long.store(true, Ordering::Relaxed);
            return Err(ProxyError::RequestTooLong.into());
        }
        if bytes_announced == Some(sent) {
            progress.ended.store(true, Ordering::Relaxed);
        }
        Ok(piece)
    })
    .chain(stream::poll_fn(move |_| {
        end.ended.store(true, Ordering::Relaxed);
        Poll::Ready(None)
    }))
}

/// Why no head came.
#[derive(Debug, thiserror::Error)]
enum NoHead {
    #[error("{0}")]
    Failed(#[source] reqwest::Error),
    #[error("no answer within {HEAD_SECS_MAX} seconds")]
    Late,
}

/// Waits for the head of an answer: [`HEAD_SECS_MAX`] after the end of the request, and as long before it as the client
/// keeps sending.
async fn in_time(
    sending: impl Future<Output = Result<Response, reqwest::Error>>,
    progress: &Progress,
) -> Result<Response, NoHead> {
    tokio::pin!(sending);
    loop {
        let (bytes, ended) = (progress.bytes.load(Ordering::Relaxed), progress.ended.load(Ordering::Relaxed));
        let patience = if ended { HEAD_SECS_MAX } else { IDLE_SECS_MAX };
        match tokio::time::timeout(Duration::from_secs(patience), &mut sending).await {
            Ok(outcome) => return outcome.map_err(|error| NoHead::Failed(error.without_url())),
            Err(_) => {
                let moved = progress.bytes.load(Ordering::Relaxed) != bytes
                    || progress.ended.load(Ordering::Relaxed) != ended;
                if !moved {
                    return Err(NoHead::Late);
                }
            }
        }
    }
}

fn returned_headers(from: &HeaderMap, wanted: &[&[&str]]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in from {
        if wanted.iter().any(|names| names.contains(&name.as_str())) {
            headers.append(name, value.clone());
        }
    }
    headers
}

/// The body, piece by piece, until its end, its limit or its deadline.
fn pieces(response: Response) -> impl Stream<Item = Result<Bytes, BodyError>> + Send + 'static {
    stream::try_unfold((response, 0_u64), |(mut response, read)| async move {
        let piece = tokio::time::timeout(Duration::from_secs(IDLE_SECS_MAX), response.chunk()).await;
        let piece = piece
            .map_err(|_| BodyError::Idle)?
            .map_err(|error| BodyError::Broken(error.without_url().to_string()))?;
        let Some(piece) = piece else { return Ok(None) };
        let read = read + piece.len() as u64;
        if read > RESPONSE_BYTES_MAX {
            return Err(BodyError::TooLong);
        }
        Ok(Some((piece, (response, read))))
    })
}

/// Name and message of an error answer; what is not JSON is not looked at.
async fn read_error(response: Response) -> UpstreamError {
    let (status, all) = (response.status(), response.headers().clone());
    let headers = returned_headers(&all, &[&ERROR_HEADERS[..]]);
    let mut error = UpstreamError { status, error: None, message: None, headers };
    if !may_be_json(&all) {
        return error;
    }
    let Some(bytes) = collect(pieces(response).boxed(), ERROR_BYTES_MAX).await.ok() else { return error };
    let Some(bytes) = encoding::decode(&all, bytes, ERROR_BYTES_MAX).await else { return error };
    if let Ok(json) = serde_json::from_slice::<serde_json::Value>(&bytes) {
        let text = |field: &str| json.get(field).and_then(|value| value.as_str()).map(str::to_owned);
        error.error = text("error");
        error.message = text("message");
    }
    error
}

/// True for a JSON type, and when there is no type at all.
pub(crate) fn may_be_json(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(header::CONTENT_TYPE) else { return true };
    let Ok(content_type) = content_type.to_str() else { return false };
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// The whole body, or what came of it and the rest.
async fn collect(
    mut body: BoxStream<'static, Result<Bytes, BodyError>>,
    bytes_max: usize,
) -> Result<Bytes, BoxStream<'static, Result<Bytes, BodyError>>> {
    let mut pieces = Vec::new();
    let mut read = 0;
    while let Some(piece) = body.next().await {
        read += piece.as_ref().map_or(0, Bytes::len);
        let over = piece.is_err() || read > bytes_max;
        pieces.push(piece);
        if over {
            return Err(stream::iter(pieces).chain(body).boxed());
        }
    }
    let mut whole = bytes::BytesMut::with_capacity(read);
    pieces.iter().flatten().for_each(|piece| whole.extend_from_slice(piece));
    Ok(whole.freeze())
}

impl Upstream {
    /// Reads the whole body, at most `bytes_max`, and leaves the answer as it was: it can still be passed on, with every
    /// byte that came. `None` when the body is longer or breaks off.
    pub async fn peek(&mut self, bytes_max: usize) -> Option<Bytes> {
        let body = std::mem::replace(&mut self.body, stream::empty().boxed());
        match collect(body, bytes_max).await {
            Ok(whole) => {
                let again = whole.clone();
                self.body = stream::once(async move { Ok(again) }).boxed();
                Some(whole)
            }
            Err(body) => {
                self.body = body;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    /// PX-4, PX-5, checklist 56
    #[test]
    fn only_listed_headers_go_on() {
        let client = headers(&[
            ("authorization", "Bearer secret"),
            ("cookie", "secret"),
            ("dpop", "secret"),
            ("x-forwarded-for", "192.0.2.1"),
            ("user-agent", "app"),
            ("host", "pds.example"),
            ("accept-language", "de"),
            ("atproto-accept-labelers", "did:web:l.example"),
            ("x-bsky-topics", "a"),
            ("x-atproto-new", "b"),
            ("content-type", "application/json"),
            ("content-length", "2"),
        ]);
        let names = |headers: HeaderMap| {
            let mut names: Vec<_> = headers.keys().map(|name| name.as_str().to_owned()).collect();
            names.sort();
            names
        };
        assert_eq!(
            names(forwarded_headers(&client, false)),
            [
                "accept-encoding",
                "accept-language",
                "atproto-accept-labelers",
                "x-atproto-new",
                "x-bsky-topics"
            ]
        );
        assert!(names(forwarded_headers(&client, true)).contains(&"content-length".to_owned()));
        assert_eq!(forwarded_headers(&client, false)["accept-encoding"], "identity");
    }

    #[test]
    fn json_is_told_by_its_type() {
        for (content_type, is_json) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/problem+json", true),
            ("text/html", false),
            ("application/jsonl", false),
        ] {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, content_type.parse().unwrap())]);
            assert_eq!(may_be_json(&headers), is_json, "{content_type}");
        }
        assert!(may_be_json(&HeaderMap::new()));
    }

    fn upstream(pieces: Vec<Result<Bytes, BodyError>>) -> Upstream {
        Upstream { status: StatusCode::OK, headers: HeaderMap::new(), body: stream::iter(pieces).boxed() }
    }

    #[tokio::test]
    async fn an_answer_that_was_looked_at_is_still_whole() {
        let piece = |text: &'static str| Ok(Bytes::from_static(text.as_bytes()));
        let mut whole = upstream(vec![piece("ab"), piece("cd")]);
        assert_eq!(whole.peek(4).await.unwrap(), "abcd");
        assert_eq!(collect(whole.body, 9).await.ok().unwrap(), "abcd");

        let mut long = upstream(vec![piece("ab"), piece("cd"), piece("ef")]);
        assert_eq!(long.peek(3).await, None);
        assert_eq!(collect(long.body, 9).await.ok().unwrap(), "abcdef");

        let mut broken = upstream(vec![piece("ab"), Err(BodyError::Idle), piece("never")]);
        assert_eq!(broken.peek(9).await, None);
        let seen: Vec<_> = broken.body.take(2).collect().await;
        assert!(matches!(seen.as_slice(), [Ok(_), Err(BodyError::Idle)]));
    }
}
