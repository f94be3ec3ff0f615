//! app.bsky.*: the few methods of the Bluesky app that a PDS answers itself, or completes.
//!
//! Preferences are kept here. The others ask the AppView, and are there only when the operator has set one: without it
//! they are methods like any other that we do not have.

mod actor;
mod feed;
mod notification;

use axum::{
    Json, Router,
    http::{HeaderName, HeaderValue, request::Parts},
    response::{IntoResponse, Response},
};

use super::{
    XrpcError,
    proxy::{ProxyOrEncoding, Signature, pass_on, proxy_header, send_query},
};
use crate::{
    app::App,
    service::{
        auth,
        proxy::Upstream,
        read_after_write::{Answer, Completed, Method},
    },
};

/// How far the AppView is behind, in milliseconds, on answers that were completed.
const LAG_HEADER: HeaderName = HeaderName::from_static("atproto-upstream-lag");

/// The methods that need nobody else.
pub(super) fn routes() -> Router<App> {
    actor::preferences_routes()
}

/// The methods that end at an AppView.
pub(super) fn routes_with_appview() -> Router<App> {
    Router::new().merge(actor::routes()).merge(feed::routes()).merge(notification::routes())
}

/// Sends a query on in the caller's name and completes the answer with the caller's newest records.
async fn read_after_write(
    app: &App,
    caller: &auth::Caller,
    parts: &Parts,
    nsid: &str,
    method: &Method,
) -> Result<Response, XrpcError> {
    match ask(app, caller, parts, nsid).await? {
        Ok(upstream) => Ok(complete(app, caller, method, upstream).await),
        Err(error) => pass_on(Err::<Upstream, _>(error)),
    }
}

/// The answer to a query that is sent on in the caller's name.
async fn ask(
    app: &App,
    caller: &auth::Caller,
    parts: &Parts,
    nsid: &str,
) -> Result<Result<Upstream, ProxyOrEncoding>, XrpcError> {
    let target = app.proxy.target(nsid, proxy_header(&parts.headers)?).await?;
    let signature = Signature { account: &caller.account, audience: target.did.as_str(), nsid };
    Ok(send_query(app, parts, &target, Some(signature)).await)
}

async fn complete(app: &App, caller: &auth::Caller, method: &Method, upstream: Upstream) -> Response {
    match app.read_after_write.complete(&caller.account, method, upstream).await {
        Answer::Untouched(upstream) => upstream.into_response(),
        Answer::Completed(completed) => completed.into_response(),
    }
}

impl IntoResponse for Completed {
    fn into_response(self) -> Response {
        let mut response = Json(self.output).into_response();
        if let Some(lag) = self.lag_millis {
            response.headers_mut().insert(LAG_HEADER, HeaderValue::from(lag));
        }
        response
    }
}
