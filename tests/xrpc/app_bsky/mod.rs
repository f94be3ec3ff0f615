//! What a PDS does for the Bluesky app: an AppView that lags behind, and clients that do not notice.

mod actor;
mod feed;
mod notification;

use axum::response::Response;
use rookery::service::settings::Settings;
use serde_json::{Value as Json, json};

use crate::support::{
    TestAccount, TestServer,
    upstream::{Seen, Upstream, ok_at, server_with_appview},
};

const POST: &str = "app.bsky.feed.post";

/// A server, an account with a profile that the AppView has read, and what has been written since.
struct Lagging {
    server: TestServer,
    upstream: Upstream,
    alice: TestAccount,
    /// How far the AppView has read.
    rev: String,
}

impl Lagging {
    /// The AppView answers as `view` says; it is told who asks and how far it has read, by way of the query: the rev is
    /// known only after the server has started.
    async fn start(view: impl Fn(&Seen, &str) -> Response + Clone + Send + Sync + 'static) -> Lagging {
        Lagging::start_with(view, |_| {}).await
    }

    async fn start_with(
        view: impl Fn(&Seen, &str) -> Response + Clone + Send + Sync + 'static,
        change: impl FnOnce(&mut Settings),
    ) -> Lagging {
        let rev = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
        let told = rev.clone();
        let upstream = Upstream::start(move |seen| view(seen, told.get().map_or("", String::as_str))).await;
        let service = upstream.service();
        let server = TestServer::start_with(|settings| {
            settings.appview = Some(service);
            change(settings);
        })
        .await;
        let alice = server.create_account("alice").await;
        server.put_record(&alice, "com.example.note/old", json!({})).await;
        let profile = json!({ "$type": "app.bsky.actor.profile", "displayName": "Old" });
        let (_, seen_rev) = server.create_record(&alice, "self", profile).await;
        rev.set(seen_rev.clone()).unwrap();
        Lagging { server, upstream, alice, rev: seen_rev }
    }

    /// Writes a post that the AppView has not read; returns its URI.
    async fn post(&self, rkey: &str, mut fields: Json) -> String {
        fields["$type"] = json!(POST);
        fields["createdAt"] = json!("2024-01-02T03:04:05.678Z");
        fields["text"] = fields.get("text").cloned().unwrap_or(json!(rkey));
        self.server.create_record(&self.alice, rkey, fields).await.0
    }

    async fn new_profile(&self, mut fields: Json) {
        fields["$type"] = json!("app.bsky.actor.profile");
        self.server.create_record(&self.alice, "self", fields).await;
    }
}

/// The AppView's view of a post of somebody.
fn post_view(did: &str, rkey: &str, indexed_at: &str) -> Json {
    json!({
        "uri": format!("at://{did}/{POST}/{rkey}"),
        "cid": "bafyreiclp443lavogvhj3d2ob2cxbfuscni2k5jk7bebjzg7khl3esabwq",
        "author": { "did": did, "handle": "somebody.test", "displayName": "Stale", "avatar": "https://x.example/a" },
        "record": { "$type": POST, "text": rkey, "createdAt": indexed_at },
        "indexedAt": indexed_at,
    })
}

/// The URIs of a feed, without what they begin with.
fn rkeys(feed: &Json) -> Vec<&str> {
    let items = feed["feed"].as_array().unwrap().iter();
    items.map(|item| item["post"]["uri"].as_str().unwrap().rsplit('/').next().unwrap()).collect()
}

const LONG_AGO: &str = "2020-01-01T00:00:00.000Z";
const BOB: &str = "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb";

/// Whatever the AppView's answer is that cannot be completed, the client gets it byte for byte.
#[tokio::test]
async fn an_answer_that_cannot_be_completed_goes_out_untouched() {
    for (headers, body) in [
        // Not JSON, not of the method's form, a time that is none, no rev, another type.
        (vec![("content-type", "application/json")], "{ \"feed\" :"),
        (vec![("content-type", "application/json")], "{ \"feed\" : 3 }"),
        (
            vec![("content-type", "application/json")],
            r#"{ "feed": [{ "post": { "indexedAt": "yesterday" } }] }"#,
        ),
        (vec![("content-type", "text/plain")], r#"{ "feed": [] }"#),
        (vec![("content-type", "application/json"), ("content-encoding", "zstd")], "whatever"),
        (vec![("content-type", "application/json"), ("content-encoding", "gzip")], "not gzip"),
    ] {
        let lagging = Lagging::start(move |_, rev| {
            let mut headers = headers.clone();
            headers.push(("atproto-repo-rev", rev));
            headers.push(("content-language", "de"));
            crate::support::upstream::answer(200, &headers, body)
        })
        .await;
        lagging.post("new", json!({})).await;
        let answer = lagging.server.query("app.bsky.feed.getTimeline").auth(&lagging.alice).send().await;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, body));
        assert_eq!(answer.header("content-language"), Some("de"));
        assert_eq!(answer.header("atproto-repo-rev"), Some(lagging.rev.as_str()));
        assert_eq!(answer.header("atproto-upstream-lag"), None);
    }
}

/// A long answer is passed on as it comes instead of being held in memory.
#[tokio::test]
async fn an_answer_too_long_to_be_completed_goes_out_untouched() {
    let long = format!(r#"{{"feed":[],"cursor":"{}"}}"#, "x".repeat(3 << 20));
    let expected = long.clone();
    let lagging = Lagging::start(move |_, rev| {
        let headers = [("content-type", "application/json"), ("atproto-repo-rev", rev)];
        crate::support::upstream::answer(200, &headers, long.clone())
    })
    .await;
    lagging.post("new", json!({})).await;
    let answer = lagging.server.query("app.bsky.feed.getTimeline").auth(&lagging.alice).send().await;
    assert!(answer.text() == expected);
}

/// Checklist 58: an account that has just moved in has a repository that the AppView knows from elsewhere.
#[tokio::test]
async fn nothing_is_added_while_the_appview_has_seen_nothing_of_this_repository() {
    let upstream = Upstream::start(|_| ok_at("3aaaaaaaaaa22", json!({ "feed": [] }))).await;
    let server = server_with_appview(&upstream).await;
    let alice = server.create_account("alice").await;
    let post = json!({ "$type": POST, "text": "a", "createdAt": LONG_AGO });
    server.create_record(&alice, "a", post).await;
    let feed = server.query("app.bsky.feed.getTimeline").auth(&alice).send().await.ok();
    assert_eq!(feed["feed"], json!([]));
}

#[tokio::test]
async fn the_encoding_is_negotiated_so_that_both_sides_understand_it() {
    let lagging = Lagging::start(|_, _| crate::support::upstream::ok(json!({ "feed": [] }))).await;
    let get = async |accepted: &str| {
        let call = lagging.server.query("app.bsky.feed.getTimeline").auth(&lagging.alice);
        let answer = call.header("accept-encoding", accepted).send().await;
        let asked =
            lagging.upstream.seen().last().map(|seen| seen.header("accept-encoding").unwrap().to_owned());
        (answer, asked)
    };
    let (answer, asked) = get("gzip, *;q=0").await;
    assert_eq!((answer.status.as_u16(), asked.as_deref()), (200, Some("gzip;q=0.3,*;q=0")));
    let (answer, asked) = get("invalid").await;
    assert_eq!((answer.status.as_u16(), asked.as_deref()), (200, Some("identity;q=1")));
    let message = get("invalid, *;q=0").await.0.error(406, "NotAcceptable");
    assert_eq!(message, "this service does not support any of the requested encodings");
    let message = get(";q=1").await.0.error(400, "InvalidRequest");
    assert_eq!(message, "Invalid accept-encoding: \";q=1\"");
}

/// What the AppView has packed is unpacked, completed, and answered plainly: none of its headers fit any more.
#[tokio::test]
async fn a_packed_answer_is_unpacked_to_be_completed() {
    let packed: &[u8] = include_bytes!("feed.json.gz");
    let lagging = Lagging::start(move |_, rev| {
        let headers =
            [("content-type", "application/json"), ("content-encoding", "gzip"), ("atproto-repo-rev", rev)];
        crate::support::upstream::answer(200, &headers, packed.to_vec())
    })
    .await;
    lagging.post("new", json!({})).await;
    let answer = lagging.server.query("app.bsky.feed.getTimeline").auth(&lagging.alice).send().await;
    assert_eq!(rkeys(&answer.ok()), ["new"]);
    assert_eq!(answer.header("content-encoding"), None);
    assert_eq!(answer.header("atproto-repo-rev"), None);
}
