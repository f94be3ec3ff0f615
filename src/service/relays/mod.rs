//! Relays: servers that read the firehoses of many hosts and make one of them. Without one, nobody else hears of us.
//!
//! | | |
//! |---|---|
//! | telling them that there is something new | [`tell`] |
//! | asking what they think of this host and its accounts | [`ask`] |
//! | what their answers mean, in plain words, and what to do | [`verdict`] |
//! | the two together, once | [`check`] |
//! | now and then while the server runs | [`watch`] |
//!
//! Not for: the firehose itself, and its numbers (`service::sequence`).

pub mod ask;
pub mod check;
pub mod tell;
pub mod verdict;
pub mod watch;

use std::sync::Arc;

use reqwest::Url;

use super::{http::Http, settings::Settings};

/// The relays that the operator has named. Cheap to clone.
#[derive(Clone)]
pub struct Relays {
    hostname: Arc<str>,
    relays: Arc<[Relay]>,
}

/// One of them.
pub struct Relay {
    url: String,
    http: Http,
}

impl Relay {
    /// Its base URL, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Relays {
    /// Those of `settings`.
    pub fn new(settings: &Settings) -> Relays {
        Relays::named(hostname(settings), &settings.relays)
    }

    /// The relays at `urls`, which know this server as `hostname`.
    pub fn named(hostname: String, urls: &[String]) -> Relays {
        let relays = urls.iter().map(|url| Relay { http: Http::new(url), url: url.clone() });
        Relays { hostname: hostname.into(), relays: relays.collect() }
    }

    /// The name that relays know this server by.
    pub fn hostname(&self) -> &str {
        &self.hostname
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Relay> {
        self.relays.iter()
    }
}

/// The host that relays connect to, with its port when that is not the usual one (sandboxes). Lower case, as relays
/// keep it.
pub fn hostname(settings: &Settings) -> String {
    let url = Url::parse(&settings.public_url).ok();
    match url.as_ref().and_then(|url| Some((url.host_str()?, url.port()?))) {
        Some((host, port)) => format!("{host}:{port}"),
        None => settings.hostname.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn relays_are_told_the_port_only_when_it_is_unusual() {
        for (public_url, expected) in [
            ("http://localhost:2583", "localhost:2583"),
            ("https://PDS.example.com", "pds.example.com"),
            ("https://pds.example.com:443", "pds.example.com"),
        ] {
            let did = "did:web:localhost".parse().unwrap();
            let mut settings = Settings::sandbox(public_url, did, "http://localhost");
            settings.hostname = "PDS.example.com".to_owned();
            assert_eq!(hostname(&settings), expected);
        }
    }
}
