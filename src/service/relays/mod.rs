//! Tells relays that there is something new here, so that they come and read the firehose
//! (com.atproto.sync.requestCrawl). A relay that is connected needs no telling; one that lost us comes back.
//!
//! Not for: the firehose itself.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use reqwest::Url;
use serde_json::json;
use tokio::sync::watch;

use super::{
    http::{self, Http, HttpError},
    settings::Settings,
};

/// At least this long between two rounds.
pub const ROUND_EVERY: Duration = Duration::from_secs(20 * 60);

/// The relays that the operator has named.
pub struct Relays {
    hostname: String,
    relays: Vec<Relay>,
}

struct Relay {
    url: String,
    http: Http,
}

/// Why a relay was not told.
#[derive(Debug, thiserror::Error)]
enum TellError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("it answered {0}")]
    Refused(reqwest::StatusCode),
}

impl Relays {
    /// Those of `settings`.
    pub fn new(settings: &Arc<Settings>) -> Relays {
        let relays = settings.relays.iter();
        Relays {
            hostname: hostname(settings),
            relays: relays.map(|url| Relay { http: Http::new(url), url: url.clone() }).collect(),
        }
    }

    /// Tells all relays when `last_seq` has changed, at the first event at once and then every `pause` at most: what
    /// happens in a pause is told at its end. Ends with the sender of `last_seq`.
    pub async fn run(self, mut last_seq: watch::Receiver<i64>, pause: Duration) {
        while !self.relays.is_empty() && last_seq.changed().await.is_ok() {
            join_all(self.relays.iter().map(|relay| self.tell(relay))).await;
            tokio::time::sleep(pause).await;
        }
    }

    async fn tell(&self, relay: &Relay) {
        match self.request_crawl(relay).await {
            Ok(()) => tracing::debug!(relay = relay.url, "a relay was told that there is something new"),
            Err(error) => {
                tracing::warn!(relay = relay.url, %error, "a relay could not be told that there is something new");
            }
        }
    }

    async fn request_crawl(&self, relay: &Relay) -> Result<(), TellError> {
        let url = format!("{}/xrpc/com.atproto.sync.requestCrawl", relay.url);
        let request = relay.http.client()?.post(url).json(&json!({ "hostname": self.hostname }));
        let answer = http::send(request).await?;
        if answer.status.is_success() { Ok(()) } else { Err(TellError::Refused(answer.status)) }
    }
}

/// The host that relays connect to, with its port when that is not the usual one (sandboxes).
fn hostname(settings: &Settings) -> String {
    let url = Url::parse(&settings.public_url).ok();
    match url.as_ref().and_then(|url| Some((url.host_str()?, url.port()?))) {
        Some((host, port)) => format!("{host}:{port}"),
        None => settings.hostname.clone(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use tokio::sync::mpsc;
    use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::path};

    use super::*;

    fn settings(public_url: &str, relays: &[&str]) -> Arc<Settings> {
        let mut settings =
            Settings::sandbox(public_url, "did:web:localhost".parse().unwrap(), "http://localhost");
        settings.hostname = "pds.example.com".to_owned();
        settings.relays = relays.iter().map(|relay| (*relay).to_owned()).collect();
        Arc::new(settings)
    }

    #[test]
    fn relays_are_told_the_port_only_when_it_is_unusual() {
        for (public_url, expected) in [
            ("http://localhost:2583", "localhost:2583"),
            ("https://pds.example.com", "pds.example.com"),
            ("https://pds.example.com:443", "pds.example.com"),
        ] {
            assert_eq!(hostname(&settings(public_url, &[])), expected);
        }
    }

    /// Unlike the reference, which forgets what happens between two rounds.
    #[tokio::test]
    async fn the_first_event_is_told_at_once_and_what_follows_at_the_end_of_the_pause() {
        let (told, mut rounds) = mpsc::unbounded_channel();
        let relay = MockServer::start().await;
        Mock::given(path("/xrpc/com.atproto.sync.requestCrawl"))
            .respond_with(move |request: &Request| {
                told.send(request.body_json::<serde_json::Value>().unwrap()).unwrap();
                ResponseTemplate::new(200)
            })
            .mount(&relay)
            .await;
        // A relay that is not there keeps nobody waiting.
        let settings = settings("https://pds.example.com", &["http://127.0.0.1:1", &relay.uri()]);
        let (events, last_seq) = watch::channel(7);
        let pause = Duration::from_millis(50);
        let running = tokio::spawn(Relays::new(&settings).run(last_seq, pause));

        events.send(8).unwrap();
        assert_eq!(rounds.recv().await.unwrap(), json!({ "hostname": "pds.example.com" }));
        let first = std::time::Instant::now();
        for seq in 9..20 {
            events.send(seq).unwrap();
        }
        rounds.recv().await.unwrap();
        assert!(first.elapsed() >= pause);
        drop(events);
        running.await.unwrap();
        assert!(rounds.try_recv().is_err(), "eleven events in one pause are one round");
    }
}
