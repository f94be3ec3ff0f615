//! Asking a relay what it holds of this host and of its accounts (com.atproto.sync.getHostStatus and getRepoStatus).
//!
//! Not for: what that means ([`super::verdict`]).

use std::time::Duration;

use atproto::syntax::{Did, Tid};
use futures::future::join_all;
use reqwest::StatusCode;
use serde::Deserialize;

use super::{Relay, Relays};
use crate::service::http::{self, Answer, HttpError};

/// What a relay says of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostAnswer {
    /// It knows the host.
    Known(HostStatus),
    /// It has no such host.
    NeverHeard,
    /// It does not answer this question: not every service that takes requestCrawl is a relay.
    NotImplemented,
    /// It could not be asked, or its answer makes no sense.
    Failed(String),
}

/// Output of getHostStatus.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct HostStatus {
    /// `active`, `idle`, `offline`, `throttled`, `banned`, or something newer.
    pub status: Option<String>,
    /// The last event that it took from us, as of a few seconds ago; 0 and below: none yet.
    pub seq: Option<i64>,
    /// Accounts that it counts as ours.
    pub account_count: Option<i64>,
}

/// What a relay says of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepoAnswer {
    /// It knows the account.
    Known(RepoStatus),
    /// It has no such account.
    NotFound,
    /// It does not answer this question.
    NotImplemented,
    /// It could not be asked, or its answer makes no sense.
    Failed(String),
}

/// Output of getRepoStatus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepoStatus {
    /// It passes on what the account does.
    pub active: bool,
    /// Why not: `takendown`, `suspended`, `deleted`, `deactivated`, `desynchronized`, `throttled`, or something newer.
    pub status: Option<String>,
    /// The newest commit that it took.
    pub rev: Option<Tid>,
}

#[derive(Deserialize)]
struct RepoOutput {
    active: bool,
    status: Option<String>,
    rev: Option<String>,
}

#[derive(Default, Deserialize)]
struct ErrorOutput {
    #[serde(default)]
    error: String,
}

impl Relays {
    /// Asks a relay about this host.
    pub async fn host_status(&self, relay: &Relay) -> HostAnswer {
        let answer = match get(relay, "com.atproto.sync.getHostStatus", ("hostname", self.hostname())).await {
            Ok(answer) => answer,
            Err(error) => return HostAnswer::Failed(error.to_string()),
        };
        match Read::of(&answer) {
            Read::Output(status) => HostAnswer::Known(status),
            Read::Error(name) if name == "HostNotFound" => HostAnswer::NeverHeard,
            Read::NotImplemented => HostAnswer::NotImplemented,
            Read::Error(_) | Read::Nonsense => HostAnswer::Failed(format!("it answered {}", answer.status)),
        }
    }

    /// Asks all relays about this host at once, for `patience` at most; in the order of the settings.
    pub async fn host_statuses(&self, patience: Duration) -> Vec<(&Relay, HostAnswer)> {
        let ask = |relay| async move {
            let answer = tokio::time::timeout(patience, self.host_status(relay)).await;
            let late = |_| HostAnswer::Failed(format!("no answer within {} seconds", patience.as_secs()));
            (relay, answer.unwrap_or_else(late))
        };
        join_all(self.iter().map(ask)).await
    }

    /// Asks a relay about an account.
    pub async fn repo_status(&self, relay: &Relay, did: &Did) -> RepoAnswer {
        let answer = match get(relay, "com.atproto.sync.getRepoStatus", ("did", did.as_str())).await {
            Ok(answer) => answer,
            Err(error) => return RepoAnswer::Failed(error.to_string()),
        };
        match Read::<RepoOutput>::of(&answer) {
            Read::Output(RepoOutput { active, status, rev }) => {
                let rev = rev.and_then(|rev| Tid::parse(&rev).ok());
                RepoAnswer::Known(RepoStatus { active, status, rev })
            }
            Read::Error(name) if name == "RepoNotFound" => RepoAnswer::NotFound,
            Read::NotImplemented => RepoAnswer::NotImplemented,
            Read::Error(_) | Read::Nonsense => RepoAnswer::Failed(format!("it answered {}", answer.status)),
        }
    }
}

async fn get(relay: &Relay, nsid: &str, parameter: (&str, &str)) -> Result<Answer, HttpError> {
    let query =
        form_urlencoded::Serializer::new(String::new()).append_pair(parameter.0, parameter.1).finish();
    let url = format!("{}/xrpc/{nsid}?{query}", relay.url);
    http::send(relay.http.client()?.get(url)).await
}

/// An answer, sorted.
enum Read<T> {
    Output(T),
    /// The name of an XRPC error that says something about what was asked.
    Error(String),
    NotImplemented,
    Nonsense,
}

impl<T: for<'de> Deserialize<'de>> Read<T> {
    fn of(answer: &Answer) -> Read<T> {
        if answer.status.is_success() {
            return serde_json::from_slice(&answer.body).map_or(Read::Nonsense, Read::Output);
        }
        let ErrorOutput { error } = serde_json::from_slice(&answer.body).unwrap_or_default();
        match (answer.status, error.as_str()) {
            (_, "MethodNotImplemented" | "XRPCNotSupported")
            | (StatusCode::NOT_IMPLEMENTED | StatusCode::METHOD_NOT_ALLOWED, _)
            | (StatusCode::NOT_FOUND, "") => Read::NotImplemented,
            (_, "") => Read::Nonsense,
            _ => Read::Error(error),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use serde_json::json;
    use wiremock::{
        Mock, MockServer, ResponseTemplate,
        matchers::{path, query_param},
    };

    use super::*;

    async fn answering(method: &str, parameter: (&str, &str), response: ResponseTemplate) -> MockServer {
        let relay = MockServer::start().await;
        Mock::given(path(format!("/xrpc/com.atproto.sync.{method}")))
            .and(query_param(parameter.0, parameter.1))
            .respond_with(response)
            .mount(&relay)
            .await;
        relay
    }

    fn error(status: u16, name: &str) -> ResponseTemplate {
        ResponseTemplate::new(status).set_body_json(json!({ "error": name, "message": "m" }))
    }

    #[tokio::test]
    async fn each_answer_about_the_host_is_understood() {
        let known = |status: &str, seq| {
            HostAnswer::Known(HostStatus {
                status: Some(status.into()),
                seq: Some(seq),
                account_count: Some(2),
            })
        };
        let output = |status: &str, seq: i64| {
            let body =
                json!({ "hostname": "localhost:2583", "seq": seq, "accountCount": 2, "status": status });
            ResponseTemplate::new(200).set_body_json(body)
        };
        for (response, expected) in [
            (output("active", 17), known("active", 17)),
            (output("idle", -1), known("idle", -1)),
            (
                ResponseTemplate::new(200).set_body_json(json!({ "hostname": "x", "more": [] })),
                HostAnswer::Known(HostStatus::default()),
            ),
            (error(404, "HostNotFound"), HostAnswer::NeverHeard),
            (error(400, "HostNotFound"), HostAnswer::NeverHeard),
            (error(501, "MethodNotImplemented"), HostAnswer::NotImplemented),
            (ResponseTemplate::new(404).set_body_string("<html>"), HostAnswer::NotImplemented),
            (
                error(500, "DatabaseError"),
                HostAnswer::Failed("it answered 500 Internal Server Error".to_owned()),
            ),
            (
                ResponseTemplate::new(200).set_body_string("{\"seq\":\"x\"}"),
                HostAnswer::Failed("it answered 200 OK".to_owned()),
            ),
        ] {
            let relay = answering("getHostStatus", ("hostname", "localhost:2583"), response).await;
            let relays = Relays::named("localhost:2583".into(), &[relay.uri()]);
            let answers = relays.host_statuses(Duration::from_secs(20)).await;
            assert_eq!(answers.into_iter().map(|(_, answer)| answer).collect::<Vec<_>>(), [expected]);
        }
    }

    #[tokio::test]
    async fn each_answer_about_an_account_is_understood() {
        let did = Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap();
        let rev = "3mloni2j7hu2c";
        let known = |active, status: Option<&str>, rev: Option<&str>| {
            let rev = rev.map(|rev| Tid::parse(rev).unwrap());
            RepoAnswer::Known(RepoStatus { active, status: status.map(str::to_owned), rev })
        };
        let output = |body| ResponseTemplate::new(200).set_body_json(body);
        for (response, expected) in [
            (
                output(json!({ "did": did.as_str(), "active": true, "rev": rev })),
                known(true, None, Some(rev)),
            ),
            (output(json!({ "did": did.as_str(), "active": true, "rev": "?" })), known(true, None, None)),
            (
                output(json!({ "did": did.as_str(), "active": false, "status": "throttled" })),
                known(false, Some("throttled"), None),
            ),
            (error(404, "RepoNotFound"), RepoAnswer::NotFound),
            (error(501, "MethodNotImplemented"), RepoAnswer::NotImplemented),
            (error(502, "x"), RepoAnswer::Failed("it answered 502 Bad Gateway".to_owned())),
        ] {
            let relay = answering("getRepoStatus", ("did", did.as_str()), response).await;
            let relays = Relays::named("pds.example.com".into(), &[relay.uri()]);
            let asked = relays.iter().next().unwrap();
            assert_eq!(relays.repo_status(asked, &did).await, expected);
        }
    }

    #[tokio::test]
    async fn a_relay_that_does_not_answer_costs_the_patience_and_no_more() {
        let slow = ResponseTemplate::new(200).set_delay(Duration::from_secs(3600));
        let slow = answering("getHostStatus", ("hostname", "h.example"), slow).await;
        let relays = Relays::named("h.example".into(), &[slow.uri(), "http://127.0.0.1:1".into()]);
        let answers = relays.host_statuses(Duration::from_millis(100)).await;
        let failed = |(_, answer): &(&Relay, HostAnswer)| matches!(answer, HostAnswer::Failed(_));
        assert!(answers.len() == 2 && answers.iter().all(failed));
    }
}
