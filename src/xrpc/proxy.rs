//! Methods that this server does not have: sent on, in the caller's name, to the service that has them.
//!
//! The checks, in their order: verb, methods that are never sent on, the service, the caller, methods that the caller's
//! token is not good for. Bodies are neither read nor checked. What the methods of ours need that end at another service
//! is here too.

use atproto::syntax::Nsid;
use axum::{
    body::Body,
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use futures::{StreamExt, TryStreamExt};
use serde_json::json;

use super::{Caller, XrpcError, contract::Unchecked};
use crate::{
    app::App,
    service::{
        auth::method_sets,
        proxy::{
            Outgoing, ProxyError, Target, TargetError, Upstream, UpstreamError,
            encoding::{self, NegotiationError},
            forwarded_headers,
        },
    },
    store::account::Account,
};

/// Names the service that a request is for.
const PROXY_HEADER: &str = "atproto-proxy";

/// Any method without a handler.
pub(super) async fn catch_all(State(app): State<App>, request: Request) -> Result<Response, XrpcError> {
    let nsid = called_nsid(request.uri().path())?;
    if ![Method::GET, Method::HEAD, Method::POST].contains(request.method()) {
        return Err(XrpcError::invalid_request("XRPC requests only supports GET and POST"));
    }
    let bad_method = || XrpcError::bad_request("InvalidToken", "Bad token method");
    if method_sets::is_protected(nsid.as_str()) {
        return Err(bad_method());
    }
    let (mut parts, body) = request.into_parts();
    let target = app.proxy.target(nsid.as_str(), proxy_header(&parts.headers)?).await?;
    let caller: Caller = Caller::from_request_parts(&mut parts, &app).await?;
    // Its sessions have ended, but an access token lives on for two hours (PX-3).
    caller.require_not_takendown()?;
    if method_sets::is_privileged(nsid.as_str()) && !caller.scope.is_privileged() {
        return Err(bad_method());
    }
    let takes_body = parts.method == Method::POST;
    let body = Some(body).filter(|body| takes_body && !axum::body::HttpBody::is_end_stream(body));
    let mut headers = forwarded_headers(&parts.headers, takes_body);
    if takes_body && body.is_none() {
        // Some servers take a POST without a length for a mistake (411).
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    let outgoing = Outgoing {
        method: parts.method.clone(),
        path_and_query: path_and_query(&parts),
        headers,
        body: body.map(|body| body.into_data_stream().map_err(|error| error.into_inner()).boxed()),
    };
    let token = app.proxy.token(&caller.account, target.did.as_str(), nsid.as_str()).await?;
    pass_on(app.proxy.send(&target, Some(&token), outgoing).await)
}

/// The method that a path names.
fn called_nsid(path: &str) -> Result<Nsid, XrpcError> {
    let name = path.strip_prefix("/xrpc/").unwrap_or_default();
    let name = name.strip_suffix('/').unwrap_or(name);
    Nsid::parse(name).map_err(|_| XrpcError::invalid_request("invalid xrpc path"))
}

/// The header that names a service; bytes that are not text name none.
pub(super) fn proxy_header(headers: &HeaderMap) -> Result<Option<&str>, XrpcError> {
    let header = headers.get(PROXY_HEADER).map(|header| header.to_str());
    header.transpose().map_err(|_| TargetError::Format.into())
}

fn path_and_query(parts: &Parts) -> &str {
    parts.uri.path_and_query().map_or("/", |path| path.as_str())
}

/// For which service and which method of it a query is signed, when that is not plain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signature<'a> {
    /// In whose name.
    pub(super) account: &'a Account,
    /// The audience of the token.
    pub(super) audience: &'a str,
    /// The method that the token is good for.
    pub(super) nsid: &'a str,
}

/// Sends a query of ours on, as it came. We may have to read the answer, so the encodings are negotiated.
pub(super) async fn send_query(
    app: &App,
    parts: &Parts,
    target: &Target,
    signature: Option<Signature<'_>>,
) -> Result<Upstream, ProxyOrEncoding> {
    let mut headers = forwarded_headers(&parts.headers, false);
    let accepted: Vec<&str> = parts
        .headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .map(|value| value.to_str().unwrap_or("="))
        .collect();
    let accepted = encoding::negotiate(Some(&accepted.join(",")))?;
    let accepted = HeaderValue::from_str(&accepted).unwrap_or(HeaderValue::from_static("identity"));
    headers.insert(header::ACCEPT_ENCODING, accepted);
    let token = match signature {
        Some(Signature { account, audience, nsid }) => Some(app.proxy.token(account, audience, nsid).await?),
        None => None,
    };
    let outgoing =
        Outgoing { method: parts.method.clone(), path_and_query: path_and_query(parts), headers, body: None };
    Ok(app.proxy.send(target, token.as_deref(), outgoing).await?)
}

/// Why a query of ours was not answered.
#[derive(Debug)]
pub(super) enum ProxyOrEncoding {
    /// By the service.
    Proxy(ProxyError),
    /// Because the client takes no encoding that we know.
    Encoding(NegotiationError),
}

impl From<ProxyError> for ProxyOrEncoding {
    fn from(error: ProxyError) -> Self {
        ProxyOrEncoding::Proxy(error)
    }
}

impl From<NegotiationError> for ProxyOrEncoding {
    fn from(error: NegotiationError) -> Self {
        ProxyOrEncoding::Encoding(error)
    }
}

/// The answer of another service as ours: its status, its body as it comes, the headers that may pass. Refusals keep
/// their name and message.
pub(super) fn pass_on(answer: Result<Upstream, impl Into<ProxyOrEncoding>>) -> Result<Response, XrpcError> {
    match answer.map_err(Into::into) {
        Ok(upstream) => Ok(upstream.into_response()),
        Err(ProxyOrEncoding::Proxy(ProxyError::Upstream(error))) => Ok(error.into_response()),
        Err(ProxyOrEncoding::Proxy(error)) => Err(error.into()),
        Err(ProxyOrEncoding::Encoding(error)) => Err(error.into()),
    }
}

impl IntoResponse for Upstream {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from_stream(self.body.inspect_err(|error| {
            tracing::warn!(%error, "the answer of another service ended early");
        })));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response.extensions_mut().insert(Unchecked);
        response
    }
}

impl IntoResponse for UpstreamError {
    fn into_response(self) -> Response {
        let (status, name, message) = told(&self);
        let body = axum::Json(json!({ "error": name, "message": message }));
        (status, self.headers.clone(), body).into_response()
    }
}

/// What the client is told of a refusal. A 500 of another server is not ours: 502 (checklist 55).
fn told(refusal: &UpstreamError) -> (StatusCode, &str, &str) {
    let status = match refusal.status {
        StatusCode::INTERNAL_SERVER_ERROR => StatusCode::BAD_GATEWAY,
        status => status,
    };
    let (name, message) = default_error(status);
    (status, refusal.error.as_deref().unwrap_or(name), refusal.message.as_deref().unwrap_or(message))
}

/// Name and message of an error that came without.
fn default_error(status: StatusCode) -> (&'static str, &'static str) {
    match status.as_u16() {
        401 => ("AuthenticationRequired", "Authentication Required"),
        403 => ("Forbidden", "Forbidden"),
        404 => ("XRPCNotSupported", "XRPC Not Supported"),
        406 => ("NotAcceptable", "Not Acceptable"),
        413 => ("PayloadTooLarge", "Payload Too Large"),
        415 => ("UnsupportedMediaType", "Unsupported Media Type"),
        429 => ("RateLimitExceeded", "Rate Limit Exceeded"),
        501 => ("MethodNotImplemented", "Method Not Implemented"),
        502 => ("UpstreamFailure", "Upstream Failure"),
        503 => ("NotEnoughResources", "Not Enough Resources"),
        504 => ("UpstreamTimeout", "Upstream Timeout"),
        500.. => ("InternalServerError", "Internal Server Error"),
        _ => ("InvalidRequest", "Invalid Request"),
    }
}

impl From<TargetError> for XrpcError {
    fn from(error: TargetError) -> XrpcError {
        match error {
            TargetError::Unresolved(_) => XrpcError::upstream_failure(error),
            error => XrpcError::invalid_request(error),
        }
    }
}

impl From<ProxyError> for XrpcError {
    fn from(error: ProxyError) -> XrpcError {
        match error {
            ProxyError::Target(error) => error.into(),
            ProxyError::Key(error) => XrpcError::internal(error),
            ProxyError::RequestTooLong => {
                XrpcError::new(StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLarge", error)
            }
            ProxyError::Upstream(refusal) => {
                let (status, name, message) = told(&refusal);
                XrpcError::new(status, name, message)
            }
            error => XrpcError::upstream_failure(error),
        }
    }
}

impl From<NegotiationError> for XrpcError {
    fn from(error: NegotiationError) -> XrpcError {
        match error {
            NegotiationError::Malformed(_) => XrpcError::invalid_request(error),
            NegotiationError::NoneAcceptable => {
                XrpcError::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", error)
            }
        }
    }
}
