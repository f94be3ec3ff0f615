//! Telling relays that there is something new here, so that they come and read the firehose
//! (com.atproto.sync.requestCrawl). A relay that is connected needs no telling; one that lost us comes back.
//!
//! Each relay has a turn of its own: one that is slow, or refuses, keeps no other waiting. Nothing stays untold: what
//! happens in a pause is told at its end, and a relay that could not be told is asked again until it takes it.

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value as Json, json};
use tokio::sync::watch;

use super::{Relay, Relays};
use crate::service::http::{self, HttpError};

/// Longest message of a relay that is passed on, in characters.
const MESSAGE_CHARS_MAX: usize = 200;

/// How often relays are told.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// At least this long from one success to the next call.
    pub pause: Duration,
    /// From the first failure to the next try; each further failure doubles it.
    pub retry_first: Duration,
    /// Longest time from one failure to the next try.
    pub retry_max: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            pause: Duration::from_secs(20 * 60),
            retry_first: Duration::from_secs(30),
            retry_max: Duration::from_secs(60 * 60),
        }
    }
}

impl Pace {
    /// How long to wait after so many failures in a row, at least one.
    fn after_failures(&self, n_failures: u32) -> Duration {
        let doubled = 2_u32.checked_pow(n_failures.saturating_sub(1)).unwrap_or(u32::MAX);
        self.retry_first.saturating_mul(doubled).min(self.retry_max)
    }
}

/// Why a relay was not told.
#[derive(Debug, thiserror::Error)]
pub enum TellError {
    /// There is no answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// It says no.
    #[error("it answered {status}{message}")]
    Refused {
        /// Its status.
        status: reqwest::StatusCode,
        /// What it says about it; empty, or with ": " before it.
        message: String,
    },
}

impl Relays {
    /// Tells every relay when `last_seq` changes, and at once if there has ever been an event: a relay that could not
    /// reach this server while it was down does not try for ever. Ends with the sender of `last_seq`.
    pub async fn tell_of(&self, last_seq: watch::Receiver<i64>, pace: Pace) {
        join_all(self.iter().map(|relay| self.tell_one(relay, last_seq.clone(), pace))).await;
    }

    /// Asks every relay once to come now; in the order of the settings.
    pub async fn request_crawls(&self) -> Vec<(&str, Result<(), TellError>)> {
        join_all(self.iter().map(|relay| async { (relay.url(), self.request_crawl(relay).await) })).await
    }

    async fn tell_one(&self, relay: &Relay, mut last_seq: watch::Receiver<i64>, pace: Pace) {
        let mut n_failures = 0_u32;
        let mut untold = *last_seq.borrow_and_update() > 0;
        loop {
            if !untold && last_seq.changed().await.is_err() {
                return;
            }
            // What comes from here on may be too late for this call, and is told with the next.
            last_seq.borrow_and_update();
            let wait = match self.request_crawl(relay).await {
                Ok(()) => {
                    if n_failures > 0 {
                        tracing::info!(
                            relay = relay.url,
                            "a relay took the news that there is something new"
                        );
                    }
                    (n_failures, untold) = (0, false);
                    pace.pause
                }
                Err(error) => {
                    if n_failures == 0 {
                        tracing::warn!(relay = relay.url, %error, "a relay could not be told that there is something new; \
                                       it will be asked again, at least once an hour");
                    } else {
                        tracing::debug!(relay = relay.url, %error, n_failures, "a relay still cannot be told");
                    }
                    n_failures = n_failures.saturating_add(1);
                    untold = true;
                    pace.after_failures(n_failures)
                }
            };
            tokio::time::sleep(wait).await;
            if last_seq.has_changed().is_err() {
                return;
            }
        }
    }

    async fn request_crawl(&self, relay: &Relay) -> Result<(), TellError> {
        let url = format!("{}/xrpc/com.atproto.sync.requestCrawl", relay.url);
        let request = relay.http.client()?.post(url).json(&json!({ "hostname": self.hostname() }));
        let answer = http::send(request).await?;
        if answer.status.is_success() {
            return Ok(());
        }
        Err(TellError::Refused { status: answer.status, message: message(&answer.body) })
    }
}

/// What an error of XRPC says, made short.
fn message(body: &[u8]) -> String {
    let error: Json = serde_json::from_slice(body).unwrap_or_default();
    let words = [&error["error"], &error["message"]].into_iter().filter_map(Json::as_str);
    let text = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(", ");
    if text.is_empty() {
        return text;
    }
    format!(": {}", text.chars().filter(|c| !c.is_control()).take(MESSAGE_CHARS_MAX).collect::<String>())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use tokio::sync::mpsc;
    use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::path};

    use super::*;

    const PACE: Pace = Pace {
        pause: Duration::from_millis(50),
        retry_first: Duration::from_millis(5),
        retry_max: Duration::from_millis(20),
    };

    /// A relay that answers call `n`, counted from 0, with the status that `answer` says; the receiver gets each call.
    async fn relay(
        answer: impl Fn(u32) -> u16 + Send + Sync + 'static,
    ) -> (MockServer, mpsc::UnboundedReceiver<Json>) {
        let (told, calls) = mpsc::unbounded_channel();
        let relay = MockServer::start().await;
        let n_calls = Arc::new(AtomicU32::new(0));
        Mock::given(path("/xrpc/com.atproto.sync.requestCrawl"))
            .respond_with(move |request: &Request| {
                // The test may have seen enough.
                let _ = told.send(request.body_json().unwrap());
                ResponseTemplate::new(answer(n_calls.fetch_add(1, Ordering::SeqCst)))
            })
            .mount(&relay)
            .await;
        (relay, calls)
    }

    fn start(relays: &[String], last_seq: &watch::Sender<i64>, pace: Pace) -> tokio::task::JoinHandle<()> {
        let relays = Relays::named("pds.example.com".into(), relays);
        let last_seq = last_seq.subscribe();
        tokio::spawn(async move { relays.tell_of(last_seq, pace).await })
    }

    /// Unlike the reference, which forgets what happens between two rounds.
    #[tokio::test]
    async fn the_first_event_is_told_at_once_and_what_follows_at_the_end_of_the_pause() {
        let (relay, mut calls) = relay(|_| 200).await;
        let events = watch::Sender::new(0);
        let running = start(&[relay.uri()], &events, PACE);
        events.send(1).unwrap();
        assert_eq!(calls.recv().await.unwrap(), json!({ "hostname": "pds.example.com" }));
        let first = std::time::Instant::now();
        for seq in 2..20 {
            events.send(seq).unwrap();
        }
        calls.recv().await.unwrap();
        assert!(first.elapsed() >= PACE.pause);
        drop(events);
        running.await.unwrap();
        assert!(calls.try_recv().is_err(), "all events of one pause are one call");
    }

    /// SY-22.
    #[tokio::test]
    async fn a_server_that_starts_again_tells_before_anything_new_happens() {
        let (relay, mut calls) = relay(|_| 200).await;
        let events = watch::Sender::new(7);
        let running = start(&[relay.uri()], &events, PACE);
        calls.recv().await.unwrap();
        drop(events);
        running.await.unwrap();
        assert!(calls.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_relay_that_refuses_is_asked_again_without_another_event() {
        let (relay, mut calls) = relay(|n| [503, 400, 401, 200][n.min(3) as usize]).await;
        let events = watch::Sender::new(0);
        let running = start(&[relay.uri()], &events, PACE);
        events.send(1).unwrap();
        for _ in 0..4 {
            calls.recv().await.unwrap();
        }
        // A pause after the success, and silence after it.
        let silence = tokio::time::timeout(PACE.pause * 2, calls.recv());
        assert!(silence.await.is_err(), "it was told, and nothing happened since");
        events.send(2).unwrap();
        calls.recv().await.unwrap();
        drop(events);
        running.await.unwrap();
    }

    #[tokio::test]
    async fn a_relay_that_is_slow_or_gone_keeps_no_other_waiting() {
        let slow = MockServer::start().await;
        let never = ResponseTemplate::new(200).set_delay(Duration::from_secs(3600));
        Mock::given(path("/xrpc/com.atproto.sync.requestCrawl")).respond_with(never).mount(&slow).await;
        let (quick, mut calls) = relay(|_| 200).await;
        let events = watch::Sender::new(0);
        let running = start(&["http://127.0.0.1:1".into(), slow.uri(), quick.uri()], &events, PACE);
        for seq in 1..4 {
            events.send(seq).unwrap();
            calls.recv().await.unwrap();
        }
        running.abort();
        assert!(running.await.unwrap_err().is_cancelled(), "nothing keeps it from ending");
    }

    #[test]
    fn the_time_between_two_tries_doubles_and_has_a_limit() {
        let pace = Pace::default();
        let secs: Vec<u64> = (1..9).map(|n| pace.after_failures(n).as_secs()).collect();
        assert_eq!(secs, [30, 60, 120, 240, 480, 960, 1920, 3600]);
        assert_eq!(pace.after_failures(u32::MAX), pace.retry_max);
    }

    #[test]
    fn a_refusal_says_what_the_relay_said() {
        let body = br#"{"error":"DomainBan","message":"host domain is banned"}"#;
        assert_eq!(message(body), ": DomainBan, host domain is banned");
        assert_eq!(message(b"<html>"), "");
        assert_eq!(message(br#"{"error":"X","message":"a\nb"}"#), ": X, ab");
    }
}
