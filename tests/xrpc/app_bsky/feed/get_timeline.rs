use serde_json::json;

use crate::{
    app_bsky::{BOB, LONG_AGO, Lagging, post_view, rkeys},
    support::upstream::ok_at,
};

const METHOD: &str = "app.bsky.feed.getTimeline";
const FUTURE: &str = "2999-01-01T00:00:00.000Z";

#[tokio::test]
async fn a_new_post_is_in_the_timeline_at_once_and_at_its_place() {
    let lagging = Lagging::start(|_, rev| {
        let feed = [post_view(BOB, "future", FUTURE), post_view(BOB, "old", LONG_AGO)];
        let feed: Vec<_> = feed.iter().map(|post| json!({ "post": post })).collect();
        ok_at(rev, json!({ "feed": feed, "cursor": "c", "other": 1 }))
    })
    .await;
    let get = async || lagging.server.query(METHOD).auth(&lagging.alice).send().await;
    assert_eq!(rkeys(&get().await.ok()), ["future", "old"]);

    lagging.post("first", json!({})).await;
    lagging.server.advance_secs(1);
    let second = lagging.post("second", json!({ "text": "hello" })).await;
    let feed = get().await.ok();
    assert_eq!(rkeys(&feed), ["future", "second", "first", "old"]);
    assert_eq!((&feed["cursor"], &feed["other"]), (&json!("c"), &json!(1)));
    let post = &feed["feed"][1]["post"];
    assert_eq!(post["uri"], second);
    assert_eq!(post["record"]["text"], "hello");
    assert_eq!(
        post["author"],
        json!({ "did": lagging.alice.did, "handle": lagging.alice.handle, "displayName": "Old" })
    );
    for count in ["likeCount", "replyCount", "repostCount", "quoteCount"] {
        assert_eq!(post[count], 0);
    }
}

#[tokio::test]
async fn posts_older_than_the_page_belong_to_the_next_page_and_no_post_is_shown_twice() {
    let lagging = Lagging::start(|seen, rev| {
        let did = seen.claims()["iss"].as_str().unwrap().to_owned();
        let feed = match seen.path_and_query.contains("cursor") {
            true => {
                vec![post_view(BOB, "older", LONG_AGO), post_view(BOB, "oldest", "2019-01-01T00:00:00.000Z")]
            }
            // The AppView has the post although its rev says that it does not.
            false => vec![post_view(&did, "known", FUTURE), post_view(BOB, "future", FUTURE)],
        };
        let feed: Vec<_> = feed.iter().map(|post| json!({ "post": post })).collect();
        ok_at(rev, json!({ "feed": feed }))
    })
    .await;
    lagging.post("known", json!({})).await;
    let call = || lagging.server.query(METHOD).auth(&lagging.alice);
    assert_eq!(rkeys(&call().send().await.ok()), ["known", "future"]);
    assert_eq!(rkeys(&call().param("cursor", "c").send().await.ok()), ["older", "oldest"]);
}

/// At most ten records are looked at, of any collection, oldest first.
#[tokio::test]
async fn only_the_ten_oldest_new_records_count() {
    let lagging = Lagging::start(|_, rev| ok_at(rev, json!({ "feed": [] }))).await;
    for n in 0..9 {
        lagging.server.put_record(&lagging.alice, &format!("com.example.note/{n}"), json!({})).await;
    }
    lagging.post("tenth", json!({})).await;
    lagging.post("eleventh", json!({})).await;
    let feed = lagging.server.query(METHOD).auth(&lagging.alice).send().await.ok();
    assert_eq!(rkeys(&feed), ["tenth"]);
}

/// What is new says nothing that this method shows: no lag is told.
#[tokio::test]
async fn records_of_other_kinds_have_no_lag() {
    let lagging = Lagging::start(|_, rev| ok_at(rev, json!({ "feed": [] }))).await;
    lagging.server.put_record(&lagging.alice, "com.example.note/a", json!({})).await;
    let answer = lagging.server.query(METHOD).auth(&lagging.alice).send().await;
    assert_eq!(answer.ok(), json!({ "feed": [] }));
    assert_eq!(answer.header("atproto-upstream-lag"), None);
}

#[tokio::test]
async fn bad_parameters_do_not_reach_the_appview() {
    let lagging = Lagging::start(|_, rev| ok_at(rev, json!({ "feed": [] }))).await;
    let call = lagging.server.query(METHOD).auth(&lagging.alice).param("limit", 101);
    assert!(call.send().await.error(400, "InvalidRequest").contains("limit"));
    assert!(lagging.upstream.seen().is_empty());
}
