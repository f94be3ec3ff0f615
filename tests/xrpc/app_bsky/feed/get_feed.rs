use serde_json::json;

use crate::support::upstream::{Upstream, answer, ok, server_with_appview};

const METHOD: &str = "app.bsky.feed.getFeed";
const FEED: &str = "at://did:plc:bbbbbbbbbbbbbbbbbbbbbbbb/app.bsky.feed.generator/cats";

#[tokio::test]
async fn the_token_is_for_the_generator_that_the_appview_will_ask() {
    let upstream = Upstream::start(|seen| match seen.names("com.atproto.repo.getRecord") {
        true => ok(json!({ "uri": FEED, "value": { "did": "did:web:feeds.example.com" } })),
        false => ok(json!({ "feed": [] })),
    })
    .await;
    let server = server_with_appview(&upstream).await;
    let alice = server.create_account("alice").await;
    let call = server.query(METHOD).auth(&alice).param("feed", FEED).param("limit", 10);
    assert_eq!(call.send().await.ok(), json!({ "feed": [] }));
    let record = upstream.seen_once("com.atproto.repo.getRecord");
    assert_eq!(record.header("authorization"), None);
    let claims = upstream.seen_once(METHOD).claims();
    assert_eq!(claims["aud"], "did:web:feeds.example.com");
    assert_eq!(claims["lxm"], "app.bsky.feed.getFeedSkeleton");
    assert_eq!(claims["iss"], alice.did);
}

#[tokio::test]
async fn a_feed_without_a_generator_is_unknown() {
    let upstream = Upstream::start(|_| ok(json!({ "value": { "did": 5 } }))).await;
    let server = server_with_appview(&upstream).await;
    let alice = server.create_account("alice").await;
    let call = server.query(METHOD).auth(&alice).param("feed", FEED);
    assert_eq!(call.send().await.error(400, "UnknownFeed"), "could not resolve feed did");
    server.query(METHOD).auth(&alice).param("feed", "cats").send().await.error(400, "InvalidRequest");
}

#[tokio::test]
async fn what_the_appview_says_of_the_record_is_what_the_client_hears() {
    let upstream = Upstream::start(|_| {
        let headers = [("content-type", "application/json")];
        answer(400, &headers, r#"{"error":"RecordNotFound","message":"gone"}"#)
    })
    .await;
    let server = server_with_appview(&upstream).await;
    let alice = server.create_account("alice").await;
    let call = server.query(METHOD).auth(&alice).param("feed", FEED);
    assert_eq!(call.send().await.error(400, "RecordNotFound"), "gone");
}
