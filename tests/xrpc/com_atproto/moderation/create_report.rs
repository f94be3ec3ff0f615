use axum::response::Response;
use rookery::service::auth::Scope;
use serde_json::{Value as Json, json};

use crate::support::{
    TestServer,
    upstream::{SERVICE_DID, Seen, Upstream, answer, ok},
};

const METHOD: &str = "com.atproto.moderation.createReport";

fn report() -> Json {
    json!({
        "reasonType": "com.atproto.moderation.defs#reasonAppeal",
        "reason": "a mistake",
        "subject": { "$type": "com.atproto.admin.defs#repoRef", "did": "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb" },
    })
}

fn taken(seen: &Seen) -> Response {
    let mut output: Json = serde_json::from_slice(&seen.body).unwrap();
    output["id"] = json!(7);
    output["reportedBy"] = seen.claims()["iss"].clone();
    output["createdAt"] = json!("2024-01-02T03:04:05.678Z");
    ok(output)
}

async fn server_with_reports(upstream: &Upstream) -> TestServer {
    let service = upstream.service();
    TestServer::start_with(|settings| settings.report_service = Some(service)).await
}

#[tokio::test]
async fn a_report_is_handed_on_in_the_name_of_whoever_reports() {
    let upstream = Upstream::start(taken).await;
    let server = server_with_reports(&upstream).await;
    let alice = server.create_account("alice").await;
    let output = server.procedure(METHOD).auth(&alice).json(&report()).send().await.ok();
    assert_eq!((&output["id"], &output["reportedBy"]), (&json!(7), &json!(alice.did)));
    let seen = upstream.seen_once(METHOD);
    assert_eq!(serde_json::from_slice::<Json>(&seen.body).unwrap(), report());
    assert_eq!((&seen.claims()["aud"], &seen.claims()["lxm"]), (&json!(SERVICE_DID), &json!(METHOD)));
}

#[tokio::test]
async fn taken_down_accounts_can_appeal() {
    let upstream = Upstream::start(taken).await;
    let server = server_with_reports(&upstream).await;
    let alice = server.create_account("alice").await;
    server.take_down(&alice.did).await;
    let takendown = server.token(&alice, Scope::Takendown);
    server.procedure(METHOD).bearer(&takendown).json(&report()).send().await.ok();
}

#[tokio::test]
async fn the_header_chooses_another_service() {
    let upstream = Upstream::start(taken).await;
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let call = || server.procedure(METHOD).auth(&alice).json(&report());
    let message = call().send().await.error(400, "InvalidRequest");
    assert_eq!(message, format!("No service configured for {METHOD}"));
    let other = "did:plc:cccccccccccccccccccccccc";
    server.publish_services(other, &[("#atproto_labeler", "AtprotoLabeler", &upstream.url)]).await;
    call().header("atproto-proxy", &format!("{other}#atproto_labeler")).send().await.ok();
    assert_eq!(upstream.seen_once(METHOD).claims()["aud"], other);
}

#[tokio::test]
async fn what_the_service_says_is_what_the_reporter_hears() {
    for (status, expected) in [(400, 400), (500, 502), (503, 503)] {
        let upstream = Upstream::start(move |_| {
            let headers = [("content-type", "application/json")];
            answer(status, &headers, r#"{"error":"Custom","message":"why"}"#)
        })
        .await;
        let server = server_with_reports(&upstream).await;
        let alice = server.create_account("alice").await;
        let answer = server.procedure(METHOD).auth(&alice).json(&report()).send().await;
        assert_eq!(answer.error(expected, "Custom"), "why");
    }
}

#[tokio::test]
async fn a_report_without_a_subject_is_refused_here() {
    let upstream = Upstream::start(taken).await;
    let server = server_with_reports(&upstream).await;
    let alice = server.create_account("alice").await;
    let input = json!({ "reasonType": "com.atproto.moderation.defs#reasonSpam" });
    let message =
        server.procedure(METHOD).auth(&alice).json(&input).send().await.error(400, "InvalidRequest");
    assert!(message.contains("subject"), "{message}");
    server.procedure(METHOD).json(&report()).send().await.error(401, "AuthMissing");
    assert!(upstream.seen().is_empty());
}
