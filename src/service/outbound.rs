//! Requests to servers that users or DID documents name: handles, did:web, proxied calls. None of them reaches a
//! machine that only this server can see (PX-6).
//!
//! A URL is checked before it is used: https, no private literal address, no name of a local network. The name's
//! addresses are checked when the connection is made, by the client's own resolver: what is checked is what is
//! connected to, so a name that changes its mind in between (DNS rebinding) gains nothing. Redirects are not followed.
//!
//! Not for: servers that the operator has named (`service::http`).

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures::future::BoxFuture;
use reqwest::{
    Client, Url,
    dns::{Addrs, Name, Resolve, Resolving},
};

use super::http::{self, Answer, HttpError};

/// Top-level names that mean this machine or this network, or that nobody has.
const LOCAL_TLDS: [&str; 9] =
    ["test", "local", "localhost", "invalid", "example", "internal", "lan", "home", "arpa"];

/// Where requests may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Public addresses over https.
    Public,
    /// Everywhere, also over plain http: a sandbox, whose other servers are on this machine.
    Anywhere,
}

/// Why a request is not made, or has no answer.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// Not a URL that this server fetches.
    #[error("this server does not fetch {0}: it must be an https URL of a public host")]
    Forbidden(String),
    /// No answer.
    #[error(transparent)]
    Http(#[from] HttpError),
}

/// From a host name to its addresses.
type Lookup = dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync;

/// Fetches what others name. Cheap to clone.
#[derive(Clone)]
pub struct Outbound {
    inner: Arc<Inner>,
}

struct Inner {
    reach: Reach,
    lookup: Arc<Lookup>,
    /// Made on first use: certificates take memory that an idle server does not need.
    client: OnceLock<Client>,
}

impl Outbound {
    /// Names are looked up by the system.
    pub fn new(reach: Reach) -> Outbound {
        Outbound::with_lookup(reach, |host| {
            Box::pin(async move {
                Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect())
            })
        })
    }

    /// Names are looked up by `lookup` (tests).
    pub fn with_lookup(
        reach: Reach,
        lookup: impl Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync + 'static,
    ) -> Outbound {
        Outbound { inner: Arc::new(Inner { reach, lookup: Arc::new(lookup), client: OnceLock::new() }) }
    }

    /// Whether `url` may be fetched, as far as it can be told without asking anyone.
    pub fn check(&self, url: &Url) -> Result<(), OutboundError> {
        let allowed = match self.inner.reach {
            Reach::Anywhere => matches!(url.scheme(), "http" | "https") && url.has_host(),
            Reach::Public => url.scheme() == "https" && url.host_str().is_some_and(is_public_host),
        };
        let has_credentials = !url.username().is_empty() || url.password().is_some();
        if allowed && !has_credentials {
            return Ok(());
        }
        Err(OutboundError::Forbidden(url.origin().ascii_serialization()))
    }

    /// The client, for answers that are streamed: addresses are checked when it connects, which takes 3 seconds at most;
    /// the rest of the exchange is the caller's to limit. It does not check URLs: call [`Outbound::check`] first.
    pub fn client(&self) -> Result<&Client, OutboundError> {
        if let Some(client) = self.inner.client.get() {
            return Ok(client);
        }
        let resolver = Checked { reach: self.inner.reach, lookup: self.inner.lookup.clone() };
        let client = http::builder()
            .dns_resolver(resolver)
            .build()
            .map_err(|error| HttpError::Client(error.to_string()))?;
        Ok(self.inner.client.get_or_init(|| client))
    }

    /// Fetches `url` within `timeout`; an answer longer than 512 KiB is an error.
    pub async fn get(&self, url: &Url, timeout: Duration) -> Result<Answer, OutboundError> {
        self.check(url)?;
        Ok(http::send(self.client()?.get(url.clone()).timeout(timeout)).await?)
    }
}

/// The resolver inside the client: refuses a name when any of its addresses is not public.
struct Checked {
    reach: Reach,
    lookup: Arc<Lookup>,
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let (reach, found) = (self.reach, (self.lookup)(name.as_str().to_owned()));
        Box::pin(async move {
            let addresses = found.await?;
            if reach == Reach::Public && !addresses.iter().copied().all(is_public) {
                return Err("the host has an address that is not public".into());
            }
            // The port is replaced by that of the URL.
            let addresses: Addrs = Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

fn is_public_host(host: &str) -> bool {
    if let Some(v6) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return v6.parse().is_ok_and(|address| is_public(IpAddr::V6(address)));
    }
    if let Ok(v4) = host.parse() {
        return is_public(IpAddr::V4(v4));
    }
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    host.rsplit_once('.').is_some_and(|(front, tld)| !front.is_empty() && !LOCAL_TLDS.contains(&tld))
}

/// True for addresses of the public internet that name one machine.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// All but the special-purpose blocks of the IANA registry (RFC 6890 and after).
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = match a {
        0 | 10 | 127 => true,
        100 => b & 0xc0 == 64,
        169 => b == 254,
        172 => b & 0xf0 == 16,
        192 => matches!((b, c), (168, _) | (0, 0 | 2) | (88, 99)),
        198 => matches!(b, 18 | 19) || (b, c) == (51, 100),
        203 => (b, c) == (0, 113),
        224.. => true,
        _ => false,
    };
    !special
}

/// Global unicast (2000::/3) without what stands in it for tunnels and documentation. An IPv4 address in IPv6 clothes
/// is what it is underneath.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let last_32_bits = || {
        let [.., a, b, c, d] = address.octets();
        Ipv4Addr::new(a, b, c, d)
    };
    match segments {
        // IPv4-mapped, and NAT64.
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => is_public_v4(last_32_bits()),
        [0x2001, second, ..] => second >= 0x200 && second != 0xdb8,
        [0x2002, ..] => false,
        [0x3fff, second, ..] => second >= 0x1000,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::sync::atomic::{AtomicUsize, Ordering};

    use wiremock::{Mock, MockServer, ResponseTemplate, matchers::method};

    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn only_https_urls_of_public_hosts_are_fetched() {
        let outbound = Outbound::new(Reach::Public);
        for good in [
            "https://example.com/x?y",
            "https://a.b.example.org:8443/",
            "https://8.8.8.8/",
            "https://[2606:4700::1]/",
        ] {
            assert!(outbound.check(&url(good)).is_ok(), "{good}");
        }
        for bad in [
            "http://example.com/",
            "ftp://example.com/",
            "https://localhost/",
            "https://intranet/",
            "https://printer.local/",
            "https://host.test/",
            "https://host.internal./",
            "https://127.0.0.1/",
            "https://127.1/",
            "https://0x7f000001/",
            "https://2130706433/",
            "https://169.254.169.254/latest/meta-data",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://user:secret@example.com/",
        ] {
            let error = outbound.check(&url(bad)).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn special_addresses_are_not_public() {
        for public in
            ["1.1.1.1", "100.128.0.1", "172.32.0.1", "192.1.0.1", "198.20.0.1", "2001:4860::8888", "2a00::1"]
        {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for special in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.1.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "fc00::1",
            "fe80::1",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
        ] {
            assert!(!is_public(special.parse().unwrap()), "{special}");
        }
    }

    /// PX-6: what is checked is what is connected to, at every connection.
    #[tokio::test]
    async fn a_name_that_turns_into_a_private_address_is_not_connected_to() {
        let inside = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        inside.set_nonblocking(true).unwrap();
        let there = url(&format!("https://example.com:{}/", inside.local_addr().unwrap().port()));
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let outbound = Outbound::with_lookup(Reach::Public, move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            // One address that is not public spoils the others.
            Box::pin(async { Ok(vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from([8, 8, 8, 8])]) })
        });
        for _ in 0..2 {
            let error = outbound.get(&there, Duration::from_secs(1)).await.unwrap_err();
            assert!(matches!(error, OutboundError::Http(HttpError::Exchange(_))), "{error}");
        }
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        assert_eq!(inside.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock, "somebody connected");
    }

    #[tokio::test]
    async fn redirects_are_answers_and_long_answers_are_errors() {
        let server = MockServer::start().await;
        let outbound = Outbound::new(Reach::Anywhere);
        let there = url(&server.uri());
        let redirect = ResponseTemplate::new(302).insert_header("location", "http://127.0.0.1:1/");
        Mock::given(method("GET")).respond_with(redirect).mount(&server).await;
        assert_eq!(outbound.get(&there, Duration::from_secs(5)).await.unwrap().status, 302);
        server.reset().await;
        let long = ResponseTemplate::new(200).set_body_bytes(vec![b' '; 600 * 1024]);
        Mock::given(method("GET")).respond_with(long).mount(&server).await;
        let error = outbound.get(&there, Duration::from_secs(5)).await.unwrap_err();
        assert!(matches!(error, OutboundError::Http(HttpError::TooLong)), "{error}");
    }
}
