//! From a handle to the DID that it names, asked directly (HN-5, HN-6, HN-8): a TXT record in the DNS, and a file on the
//! handle's own web server, both at once. The DNS wins; backup name servers are asked when neither knows the handle.
//!
//! Nothing is kept here: the name servers do that, and who has just set up a handle wants to see it work. That the DID
//! claims the handle too (HN-9) is for the caller to see.
//!
//! Not for: handles of this server ([`super::Identities::resolve_handle`]).

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use atproto::syntax::{Did, Handle};
use futures::future::BoxFuture;
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::runtime::TokioRuntimeProvider,
    proto::rr::{Name, RData, RecordType},
};
use reqwest::Url;
use tokio::sync::Semaphore;

use crate::service::{outbound::Outbound, settings::Settings};

/// For each of the ways to resolve a handle, in seconds.
const LOOKUP_SECS_MAX: u64 = 3;
/// For one question to one name server, in seconds. Two fit into a lookup.
const QUERY_SECS_MAX: u64 = 1;
/// Lookups at a time; more are refused.
const LOOKUPS_MAX: usize = 64;
/// TXT records looked at; a name with more of them is no handle.
const RECORDS_MAX: usize = 100;
/// Longest value of a TXT record that could be a DID, in bytes.
const VALUE_BYTES_MAX: usize = 4 + 2048;

/// Why a handle leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandleLookupError {
    /// Neither way gives a DID.
    #[error("Unable to resolve handle")]
    NotFound,
    /// HN-3
    #[error("Handle TLD is invalid or disallowed")]
    Tld,
    /// As many lookups as this server makes at a time are under way.
    #[error("too many handles are being looked up; try again in a moment")]
    Busy,
}

/// Gets the body of a URL; `None` for anything but a 2xx.
type Fetch = dyn Fn(Url) -> BoxFuture<'static, Option<Vec<u8>>> + Send + Sync;

/// Resolves handles. Cheap to clone.
#[derive(Clone)]
pub struct HandleResolver {
    inner: Arc<Inner>,
}

struct Inner {
    dns: Dns,
    backup: Option<Dns>,
    fetch: Box<Fetch>,
    lookups: Semaphore,
}

impl HandleResolver {
    /// Asks the name servers of the settings, and web servers through `outbound`.
    pub fn new(settings: &Settings, outbound: Outbound) -> HandleResolver {
        HandleResolver::with_fetch(settings, move |url| {
            let outbound = outbound.clone();
            Box::pin(async move {
                match outbound.get(&url, Duration::from_secs(LOOKUP_SECS_MAX)).await {
                    Ok(answer) if answer.status.is_success() => Some(answer.body),
                    Ok(_) => None,
                    Err(error) => {
                        tracing::debug!(%url, %error, "a handle's web server was not asked or does not answer");
                        None
                    }
                }
            })
        })
    }

    /// As [`HandleResolver::new`], with web servers asked by `fetch` (tests).
    fn with_fetch(
        settings: &Settings,
        fetch: impl Fn(Url) -> BoxFuture<'static, Option<Vec<u8>>> + Send + Sync + 'static,
    ) -> HandleResolver {
        let backup = &settings.backup_nameservers;
        HandleResolver {
            inner: Arc::new(Inner {
                dns: Dns::new(&settings.nameservers),
                backup: (!backup.is_empty()).then(|| Dns::new(backup)),
                fetch: Box::new(fetch),
                lookups: Semaphore::new(LOOKUPS_MAX),
            }),
        }
    }

    /// The DID that `handle` names. Takes 6 seconds at most.
    pub async fn resolve(&self, handle: &Handle) -> Result<Did, HandleLookupError> {
        if handle.has_disallowed_tld() {
            return Err(HandleLookupError::Tld);
        }
        let _permit = self.inner.lookups.try_acquire().map_err(|_| HandleLookupError::Busy)?;
        let web = self.well_known(handle);
        tokio::pin!(web);
        // The web server is asked meanwhile; its answer counts only when the DNS has none.
        let mut from_web = None;
        let from_dns = self.inner.dns.did_of(handle);
        tokio::pin!(from_dns);
        let from_dns = loop {
            tokio::select! {
                biased;
                found = &mut from_dns => break found,
                found = &mut web, if from_web.is_none() => from_web = Some(found),
            }
        };
        if let Some(did) = from_dns {
            return Ok(did);
        }
        let from_web = match from_web {
            Some(found) => found,
            None => web.await,
        };
        match (from_web, &self.inner.backup) {
            (Some(did), _) => Ok(did),
            (None, Some(backup)) => backup.did_of(handle).await.ok_or(HandleLookupError::NotFound),
            (None, None) => Err(HandleLookupError::NotFound),
        }
    }

    /// HN-6: the first line of the file is the DID.
    async fn well_known(&self, handle: &Handle) -> Option<Did> {
        let url = Url::parse(&format!("https://{handle}/.well-known/atproto-did")).ok()?;
        let body = (self.inner.fetch)(url).await?;
        let text = String::from_utf8_lossy(&body);
        Did::parse(text.lines().next()?.trim()).ok()
    }
}

/// One set of name servers.
struct Dns {
    nameservers: Vec<SocketAddr>,
    /// Made on first use: reads the system's configuration when there are no name servers in ours.
    resolver: OnceLock<Option<TokioResolver>>,
}

impl Dns {
    fn new(nameservers: &[SocketAddr]) -> Dns {
        Dns { nameservers: nameservers.to_vec(), resolver: OnceLock::new() }
    }

    /// HN-5: exactly one record of `_atproto.<handle>` begins with `did=`, and a DID follows.
    async fn did_of(&self, handle: &Handle) -> Option<Did> {
        let resolver = self.resolver.get_or_init(|| self.build()).as_ref()?;
        // Ends in a dot, so that no search domain is tried. Too long a name for the DNS is no name (HN-5).
        let name = Name::from_ascii(format!("_atproto.{handle}.")).ok()?;
        let lookup = resolver.lookup(name, RecordType::TXT);
        let answer = match tokio::time::timeout(Duration::from_secs(LOOKUP_SECS_MAX), lookup).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                tracing::debug!(%handle, %error, "no TXT record");
                return None;
            }
            Err(_) => {
                tracing::debug!(%handle, "the name servers do not answer in time");
                return None;
            }
        };
        let values: Vec<String> = answer
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::TXT(txt) => Some(txt.txt_data.concat()),
                _ => None,
            })
            .take(RECORDS_MAX + 1)
            .map(|value| {
                String::from_utf8_lossy(value.get(..VALUE_BYTES_MAX + 1).unwrap_or(&value)).into_owned()
            })
            .collect();
        (values.len() <= RECORDS_MAX).then(|| did_in(&values)).flatten()
    }

    fn build(&self) -> Option<TokioResolver> {
        let mut builder = if self.nameservers.is_empty() {
            match TokioResolver::builder_tokio() {
                Ok(builder) => builder,
                Err(error) => {
                    tracing::warn!(%error, "the system names no DNS servers: set identity.nameservers");
                    return None;
                }
            }
        } else {
            let servers = self.nameservers.iter().map(nameserver).collect();
            let config = ResolverConfig::from_name_servers(servers);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        set_limits(builder.options_mut());
        match builder.build() {
            Ok(resolver) => Some(resolver),
            Err(error) => {
                tracing::warn!(%error, "no DNS client can be made");
                None
            }
        }
    }
}

fn nameserver(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

fn set_limits(options: &mut ResolverOpts) {
    options.timeout = Duration::from_secs(QUERY_SECS_MAX);
    options.attempts = 1;
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
}

/// The DID of the only value that begins with `did=`.
fn did_in(values: &[String]) -> Option<Did> {
    let mut dids = values.iter().filter_map(|value| value.strip_prefix("did="));
    match (dids.next(), dids.next()) {
        (Some(did), None) => Did::parse(did).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
