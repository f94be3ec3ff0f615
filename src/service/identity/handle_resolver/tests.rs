#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    future,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::*;
use crate::service::outbound::Reach;

#[path = "../../../../tests/support/dns.rs"]
mod dns;

use dns::DnsServer;

const DNS_DID: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";
const WEB_DID: &str = "did:web:example.com";

fn handle(text: &str) -> Handle {
    Handle::parse(text).unwrap()
}

fn settings(nameserver: SocketAddr) -> Settings {
    let mut settings = Settings::sandbox("http://localhost", "did:web:localhost".parse().unwrap(), "");
    settings.nameservers = vec![nameserver];
    settings
}

/// A resolver that asks `dns`; each web server has `file`.
fn resolver(dns: &DnsServer, file: Option<&'static str>) -> HandleResolver {
    HandleResolver::with_fetch(&settings(dns.address), move |url| {
        assert_eq!(url.path(), "/.well-known/atproto-did");
        assert_eq!(url.scheme(), "https");
        Box::pin(future::ready(file.map(|file| file.as_bytes().to_vec())))
    })
}

async fn resolve(resolver: &HandleResolver, name: &str) -> Result<String, HandleLookupError> {
    resolver.resolve(&handle(name)).await.map(|did| did.to_string())
}

/// HN-5, HN-6, HN-8
#[tokio::test]
async fn the_dns_wins_over_the_web_server_which_is_asked_when_the_dns_has_nothing() {
    let dns = DnsServer::start().await;
    dns.txt("both.example.com", &[&format!("did={DNS_DID}")]);
    let with_file = resolver(&dns, Some(WEB_DID));
    assert_eq!(resolve(&with_file, "both.example.com").await.unwrap(), DNS_DID);
    assert_eq!(resolve(&with_file, "web.example.com").await.unwrap(), WEB_DID);
    let without = resolver(&dns, None);
    assert_eq!(resolve(&without, "both.example.com").await.unwrap(), DNS_DID);
    assert_eq!(resolve(&without, "web.example.com").await, Err(HandleLookupError::NotFound));
}

/// A web server that never answers does not keep a handle waiting that the DNS knows.
#[tokio::test]
async fn an_answer_of_the_dns_is_not_kept_waiting() {
    let dns = DnsServer::start().await;
    dns.txt("both.example.com", &[&format!("did={DNS_DID}")]);
    let hanging = HandleResolver::with_fetch(&settings(dns.address), |_| Box::pin(future::pending()));
    assert_eq!(resolve(&hanging, "both.example.com").await.unwrap(), DNS_DID);
}

/// HN-5
#[tokio::test]
async fn exactly_one_record_has_to_begin_with_did() {
    let dns = DnsServer::start().await;
    let did = format!("did={DNS_DID}");
    let resolver = resolver(&dns, None);
    dns.txt("one.example.com", &["v=spf1 -all", &did, "something else", "DID=no"]);
    assert_eq!(resolve(&resolver, "one.example.com").await.unwrap(), DNS_DID);
    let (front, back) = did.split_at(10);
    dns.txt_in_strings("split.example.com", &[vec![front, back]]);
    assert_eq!(resolve(&resolver, "split.example.com").await.unwrap(), DNS_DID);

    let other = format!("did={WEB_DID}");
    for (name, records) in [
        ("two.example.com", vec![&*did, &*other]),
        ("twice.example.com", vec![&*did, &*did]),
        ("blank.example.com", vec![" did=did:plc:ewvi7nxzyoun6zhxrhs64oiz"]),
        ("nothing.example.com", vec!["did="]),
        ("no-did.example.com", vec!["did=alice"]),
        ("comment.example.com", vec!["did=did:plc:ewvi7nxzyoun6zhxrhs64oiz (mine)"]),
    ] {
        dns.txt(name, &records);
        assert_eq!(resolve(&resolver, name).await, Err(HandleLookupError::NotFound), "{name}");
    }
}

#[tokio::test]
async fn an_alias_is_followed_and_a_ring_of_aliases_ends() {
    let dns = DnsServer::start().await;
    dns.txt("real.example.com", &[&format!("did={DNS_DID}")]);
    dns.alias("_atproto.alias.example.com", "_atproto.real.example.com");
    let resolver = resolver(&dns, None);
    assert_eq!(resolve(&resolver, "alias.example.com").await.unwrap(), DNS_DID);

    dns.alias("_atproto.ring.example.com", "_atproto.gnir.example.com");
    dns.alias("_atproto.gnir.example.com", "_atproto.ring.example.com");
    let before = dns.asked();
    assert_eq!(resolve(&resolver, "ring.example.com").await, Err(HandleLookupError::NotFound));
    assert!(dns.asked() - before <= 32, "{} questions", dns.asked() - before);
}

#[tokio::test]
async fn answers_without_end_are_no_answers() {
    let dns = DnsServer::start().await;
    let resolver = resolver(&dns, None);
    let filler: Vec<String> = (0..RECORDS_MAX).map(|n| format!("{n:0200}")).collect();
    let mut records: Vec<&str> = filler.iter().map(String::as_str).collect();
    let did = format!("did={DNS_DID}");
    // Twenty kilobytes come over TCP.
    *records.last_mut().unwrap() = &did;
    dns.txt("long.example.com", &records);
    assert_eq!(resolve(&resolver, "long.example.com").await.unwrap(), DNS_DID);
    records.push("one too many");
    dns.txt("long.example.com", &records);
    assert_eq!(resolve(&resolver, "long.example.com").await, Err(HandleLookupError::NotFound));

    let text = "a".repeat(255);
    let mut huge = vec!["did=did:web:"];
    huge.extend(std::iter::repeat_n(text.as_str(), 100));
    dns.txt_in_strings("huge.example.com", &[huge]);
    assert_eq!(resolve(&resolver, "huge.example.com").await, Err(HandleLookupError::NotFound));
}

/// The two ways run side by side: a lookup that nothing answers ends after one timeout, not after their sum.
#[tokio::test]
async fn name_servers_that_say_nothing_are_given_up() {
    let dns = DnsServer::start().await;
    dns.silence("silent.example.com");
    let with_file = resolver(&dns, Some(WEB_DID));
    let begin = std::time::Instant::now();
    assert_eq!(resolve(&with_file, "silent.example.com").await.unwrap(), WEB_DID);
    assert!(begin.elapsed() <= Duration::from_secs(LOOKUP_SECS_MAX + 2), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn backup_name_servers_are_asked_last() {
    let (dns, backup) = (DnsServer::start().await, DnsServer::start().await);
    backup.txt("hidden.example.com", &[&format!("did={DNS_DID}")]);
    let mut settings = settings(dns.address);
    settings.backup_nameservers = vec![backup.address];
    let resolver = |file: Option<&'static str>| {
        HandleResolver::with_fetch(&settings, move |_| {
            Box::pin(future::ready(file.map(|file| file.as_bytes().to_vec())))
        })
    };
    assert_eq!(resolve(&resolver(Some(WEB_DID)), "hidden.example.com").await.unwrap(), WEB_DID);
    assert_eq!(backup.asked(), 0);
    assert_eq!(resolve(&resolver(None), "hidden.example.com").await.unwrap(), DNS_DID);
}

/// HN-6
#[tokio::test]
async fn the_first_line_of_the_file_is_the_did() {
    let dns = DnsServer::start().await;
    for file in ["did:web:example.com", "did:web:example.com\n", "  did:web:example.com \r\nmore\n"] {
        assert_eq!(resolve(&resolver(&dns, Some(file)), "a.example.com").await.unwrap(), WEB_DID, "{file:?}");
    }
    for file in ["", "\ndid:web:example.com", "<html>", "did:web:", "did:web:a b", "DID:web:example.com"] {
        let refused = resolve(&resolver(&dns, Some(file)), "a.example.com").await;
        assert_eq!(refused, Err(HandleLookupError::NotFound), "{file:?}");
    }
}

/// HN-3
#[tokio::test]
async fn domains_that_nobody_has_are_not_looked_up() {
    let dns = DnsServer::start().await;
    let resolver = resolver(&dns, Some(WEB_DID));
    for name in ["alice.local", "alice.onion", "handle.invalid"] {
        assert_eq!(resolve(&resolver, name).await, Err(HandleLookupError::Tld), "{name}");
    }
    assert_eq!(dns.asked(), 0);
}

/// HN-5: there is no room for `_atproto.` before so long a name.
#[tokio::test]
async fn the_longest_handles_are_asked_over_https_only() {
    let dns = DnsServer::start().await;
    let long = format!("{}com", format!("{}.", "a".repeat(49)).repeat(5));
    assert_eq!(long.len(), 253);
    assert_eq!(resolve(&resolver(&dns, Some(WEB_DID)), &long).await.unwrap(), WEB_DID);
    assert_eq!(dns.asked(), 0);
}

/// PX-6: the web server of a handle is a host that a user names.
#[tokio::test]
async fn a_handle_that_leads_into_the_local_network_is_not_fetched() {
    let dns = DnsServer::start().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let outbound = Outbound::with_lookup(Reach::Public, move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Ok(vec![std::net::IpAddr::from([127, 0, 0, 1])]) })
    });
    let resolver = HandleResolver::new(&settings(dns.address), outbound);
    assert_eq!(resolve(&resolver, "inside.example.com").await, Err(HandleLookupError::NotFound));
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}
