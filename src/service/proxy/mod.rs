//! Sending people's requests on to other services, in their name (PX-1 to PX-7).
//!
//! | question | file |
//! |---|---|
//! | which service | `target` |
//! | what goes there, what comes back, how long and how much | `forward` |
//! | which content encodings we ask for and can undo | `encoding` |
//! | reading one small JSON answer for ourselves | `call` |
//!
//! Not for: who may send what (`xrpc::proxy`), and making answers whole (`read_after_write`).

mod call;
pub mod encoding;
mod forward;
mod target;

use std::sync::{Arc, OnceLock};

use reqwest::Client;

pub(crate) use self::forward::may_be_json;
pub use self::{
    forward::{
        BodyError, Outgoing, ProxyError, REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX, RequestBody, Upstream,
        UpstreamError, forwarded_headers,
    },
    target::{APPVIEW_ID, LABELER_ID, Target, TargetError},
};
use crate::service::{
    auth::service_token::ServiceTokens, identity::DidResolver, outbound::Outbound, settings::Settings,
};

/// Sends requests on. Cheap to clone.
#[derive(Clone)]
pub struct Proxy {
    inner: Arc<Shared>,
}

struct Shared {
    settings: Arc<Settings>,
    tokens: ServiceTokens,
    did_resolver: DidResolver,
    /// For addresses out of DID documents.
    outbound: Outbound,
    /// For addresses that the operator wrote. Made on first use: certificates take memory.
    direct: OnceLock<Client>,
}

impl Proxy {
    /// Services and limits are those of `settings`; tokens are issued by `tokens`.
    pub fn new(
        settings: Arc<Settings>,
        tokens: ServiceTokens,
        did_resolver: DidResolver,
        outbound: Outbound,
    ) -> Proxy {
        let direct = OnceLock::new();
        Proxy { inner: Arc::new(Shared { settings, tokens, did_resolver, outbound, direct }) }
    }
}
