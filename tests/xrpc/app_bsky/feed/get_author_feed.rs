use serde_json::{Value as Json, json};

use crate::{
    app_bsky::{BOB, LONG_AGO, Lagging, post_view, rkeys},
    support::upstream::ok_at,
};

const METHOD: &str = "app.bsky.feed.getAuthorFeed";

async fn feed(lagging: &Lagging, filter: &str) -> Json {
    let call = lagging.server.query(METHOD).auth(&lagging.alice).param("actor", &lagging.alice.did);
    call.param("filter", filter).send().await.ok()
}

/// An AppView whose feed begins with a post of this author, or with a repost by them.
async fn lagging(first: &'static str) -> Lagging {
    Lagging::start(move |seen, rev| {
        let alice = seen.claims()["iss"].as_str().unwrap().to_owned();
        let first = match first {
            "own" => json!({ "post": post_view(&alice, "own", LONG_AGO) }),
            "repost" => json!({
                "post": post_view(BOB, "reposted", LONG_AGO),
                "reason": { "$type": "app.bsky.feed.defs#reasonRepost", "by": { "did": alice } },
            }),
            _ => json!({ "post": post_view(BOB, "other", LONG_AGO) }),
        };
        let second = json!({ "post": post_view(&alice, "second", LONG_AGO) });
        ok_at(rev, json!({ "feed": [first, second] }))
    })
    .await
}

#[tokio::test]
async fn ones_own_feed_has_the_new_posts_and_the_new_name() {
    for first in ["own", "repost"] {
        let lagging = lagging(first).await;
        lagging.new_profile(json!({ "displayName": "New" })).await;
        lagging.post("new", json!({})).await;
        let feed = feed(&lagging, "").await;
        assert_eq!(rkeys(&feed)[0], "new");
        assert_eq!(feed["feed"][0]["post"]["author"]["displayName"], "New");
        let second = &feed["feed"][2]["post"]["author"];
        assert_eq!((&second["displayName"], second.get("avatar")), (&json!("New"), None));
        if first == "repost" {
            assert_eq!(feed["feed"][1]["post"]["author"]["displayName"], "Stale");
        }
    }
}

#[tokio::test]
async fn the_feed_of_somebody_else_stays_as_it_is() {
    let lagging = lagging("other").await;
    lagging.new_profile(json!({ "displayName": "New" })).await;
    lagging.post("new", json!({})).await;
    let feed = feed(&lagging, "").await;
    assert_eq!(rkeys(&feed), ["other", "second"]);
    assert_eq!(feed["feed"][1]["post"]["author"]["displayName"], "Stale");
}

/// The reference adds every post whatever was asked for.
#[tokio::test]
async fn a_new_post_is_added_only_when_the_filter_lets_it_through() {
    let lagging = lagging("own").await;
    let own = lagging.post("plain", json!({})).await;
    let cid = "bafyreiclp443lavogvhj3d2ob2cxbfuscni2k5jk7bebjzg7khl3esabwq";
    let reply =
        |uri: &str| json!({ "root": { "uri": uri, "cid": cid }, "parent": { "uri": uri, "cid": cid } });
    lagging.post("toself", json!({ "reply": reply(&own) })).await;
    let bobs = format!("at://{BOB}/app.bsky.feed.post/a");
    lagging.post("tobob", json!({ "reply": reply(&bobs) })).await;
    let image = lagging.server.upload(&lagging.alice, "image/png", b"\x89PNG\r\n\x1a\n x".to_vec()).await;
    let images = json!({ "$type": "app.bsky.embed.images", "images": [{ "alt": "", "image": image }] });
    lagging.post("picture", json!({ "embed": images })).await;
    for (filter, expected) in [
        ("", ["picture", "tobob", "toself", "plain"].as_slice()),
        ("posts_with_replies", &["picture", "tobob", "toself", "plain"]),
        ("posts_no_replies", &["picture", "plain"]),
        ("posts_with_media", &["picture"]),
        ("posts_with_video", &[]),
        ("posts_and_author_threads", &["picture", "toself", "plain"]),
    ] {
        let feed = feed(&lagging, filter).await;
        let mut found = rkeys(&feed);
        found.truncate(found.len() - 2);
        // Posts of one millisecond have no order of their own.
        found.sort_unstable();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(found, expected, "{filter}");
    }
}
