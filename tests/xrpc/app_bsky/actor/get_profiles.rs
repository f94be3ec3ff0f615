use serde_json::json;

use crate::{
    app_bsky::{BOB, Lagging},
    support::upstream::ok_at,
};

const METHOD: &str = "app.bsky.actor.getProfiles";

#[tokio::test]
async fn only_ones_own_profile_among_several_changes() {
    let lagging = Lagging::start(|seen, rev| {
        let alice = seen.claims()["iss"].clone();
        ok_at(
            rev,
            json!({ "profiles": [
                { "did": BOB, "handle": "bob.test", "displayName": "Bob" },
                { "did": alice, "handle": "alice.test", "displayName": "Old" },
            ]}),
        )
    })
    .await;
    lagging.new_profile(json!({ "displayName": "New", "description": "who" })).await;
    // Older clients write arrays with brackets.
    let call = lagging.server.query(METHOD).auth(&lagging.alice).param("actors[]", BOB);
    let output = call.param("actors[]", &lagging.alice.did).send().await.ok();
    assert_eq!(output["profiles"][0]["displayName"], "Bob");
    assert_eq!(output["profiles"][1]["displayName"], "New");
    assert_eq!(output["profiles"][1]["description"], "who");
}

#[tokio::test]
async fn more_than_25_actors_are_refused() {
    let lagging = Lagging::start(|_, rev| ok_at(rev, json!({ "profiles": [] }))).await;
    let mut call = lagging.server.query(METHOD).auth(&lagging.alice);
    for _ in 0..26 {
        call = call.param("actors", BOB);
    }
    let message = call.send().await.error(400, "InvalidRequest");
    assert!(message.contains("actors") && message.contains("25"), "{message}");
}
