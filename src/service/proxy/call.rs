//! Small calls of our own to another service, in an account's name: JSON there, JSON back, all of it in memory.

use hyper::{HeaderMap, Method, header, header::HeaderValue};
use serde_json::Value as Json;

use super::{
    Outgoing, Proxy, ProxyError, Target, TargetError, encoding, forward::RequestBody, target::configured,
};
use crate::store::account::Account;
use atproto::syntax::Did;
use futures::{StreamExt as _, stream};

/// Longest answer read, in bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Where a DID document lists a service that sends push notifications.
const NOTIFICATION_ID: &str = "bsky_notif";
/// Its type.
const NOTIFICATION_TYPE: &str = "BskyNotificationService";

impl Proxy {
    /// The AppView, when the operator has set one.
    pub fn appview(&self) -> Option<Target> {
        self.inner.settings.appview.as_ref().map(configured)
    }

    /// Where push notifications of the service `did` are ordered: the AppView's own, or as its DID document says.
    pub async fn notification_service(&self, did: &Did) -> Result<Target, TargetError> {
        match self.appview() {
            Some(appview) if appview.did == *did => Ok(appview),
            _ => self.resolve(did, NOTIFICATION_ID, Some(NOTIFICATION_TYPE)).await,
        }
    }

    /// The output of a query. Without an account, nobody in particular asks.
    pub async fn query(
        &self,
        target: &Target,
        account: Option<&Account>,
        nsid: &str,
        params: &[(&str, &str)],
    ) -> Result<Json, ProxyError> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
        let path_and_query = format!("/xrpc/{nsid}?{query}");
        let outgoing = Outgoing {
            method: Method::GET,
            path_and_query: &path_and_query,
            headers: HeaderMap::from_iter([plain()]),
            body: None,
        };
        let answer = self.call(target, account, nsid, outgoing).await?;
        answer.ok_or_else(|| ProxyError::Answer(format!("the service answered {nsid} with nothing")))
    }

    /// The output of a procedure; `None` when it has none. `query` is the client's own, if it sent one.
    pub async fn procedure(
        &self,
        target: &Target,
        account: &Account,
        nsid: &str,
        query: Option<&str>,
        input: &Json,
    ) -> Result<Option<Json>, ProxyError> {
        let path_and_query = match query {
            Some(query) => format!("/xrpc/{nsid}?{query}"),
            None => format!("/xrpc/{nsid}"),
        };
        let bytes = bytes::Bytes::from(input.to_string());
        let mut headers = HeaderMap::from_iter([plain()]);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        let body: RequestBody = stream::once(async move { Ok(bytes) }).boxed();
        let outgoing =
            Outgoing { method: Method::POST, path_and_query: &path_and_query, headers, body: Some(body) };
        self.call(target, Some(account), nsid, outgoing).await
    }

    async fn call(
        &self,
        target: &Target,
        account: Option<&Account>,
        nsid: &str,
        outgoing: Outgoing<'_>,
    ) -> Result<Option<Json>, ProxyError> {
        let token = match account {
            Some(account) => Some(self.token(account, target.did.as_str(), nsid).await?),
            None => None,
        };
        let mut upstream = self.send(target, token.as_deref(), outgoing).await?;
        let unusable = |why: &str| ProxyError::Answer(format!("the service answered {nsid} with {why}"));
        let too_long = || unusable(&format!("more than {ANSWER_BYTES_MAX} bytes, or broke off"));
        let bytes = upstream.peek(ANSWER_BYTES_MAX).await.ok_or_else(too_long)?;
        let bytes =
            encoding::decode(&upstream.headers, bytes, ANSWER_BYTES_MAX).await.ok_or_else(too_long)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        serde_json::from_slice(&bytes).map(Some).map_err(|_| unusable("what is not JSON"))
    }
}

/// Nothing to unpack.
fn plain() -> (header::HeaderName, HeaderValue) {
    (header::ACCEPT_ENCODING, HeaderValue::from_static("identity"))
}
