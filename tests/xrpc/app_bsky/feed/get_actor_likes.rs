use serde_json::json;

use crate::{
    app_bsky::{BOB, LONG_AGO, Lagging, post_view, rkeys},
    support::upstream::ok_at,
};

const METHOD: &str = "app.bsky.feed.getActorLikes";

#[tokio::test]
async fn ones_own_name_is_new_and_nothing_is_added() {
    let lagging = Lagging::start(|seen, rev| {
        let alice = seen.claims()["iss"].as_str().unwrap().to_owned();
        let own = json!({ "post": post_view(&alice, "own", LONG_AGO) });
        ok_at(rev, json!({ "feed": [own, { "post": post_view(BOB, "bobs", LONG_AGO) }] }))
    })
    .await;
    lagging.new_profile(json!({ "displayName": "New" })).await;
    lagging.post("new", json!({})).await;
    let call = lagging.server.query(METHOD).auth(&lagging.alice).param("actor", &lagging.alice.did);
    let answer = call.send().await;
    let feed = answer.ok();
    assert_eq!(rkeys(&feed), ["own", "bobs"]);
    assert_eq!(feed["feed"][0]["post"]["author"]["displayName"], "New");
    assert_eq!(feed["feed"][1]["post"]["author"]["displayName"], "Stale");
    assert!(answer.header("atproto-upstream-lag").is_some());
}
