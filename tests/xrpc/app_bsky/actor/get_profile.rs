use serde_json::json;

use crate::{
    app_bsky::{BOB, Lagging},
    support::upstream::ok_at,
};

const METHOD: &str = "app.bsky.actor.getProfile";

#[tokio::test]
async fn ones_own_profile_shows_what_was_just_written() {
    let pattern = "https://cdn.example.com/%s/plain/%s/%s@jpeg";
    let lagging = Lagging::start_with(
        |seen, rev| {
            let did = seen.path_and_query.split_once("actor=").unwrap().1.replace("%3A", ":");
            ok_at(rev, json!({
                "did": did, "handle": "alice.test", "displayName": "Old", "description": "old", "banner": "https://b",
                "followersCount": 7,
            }))
        },
        |settings| settings.appview_cdn_url_pattern = Some(pattern.to_owned()),
    )
    .await;
    let (server, alice) = (&lagging.server, &lagging.alice);
    let get = async |did: &str| server.query(METHOD).auth(alice).param("actor", did).send().await;

    let untouched = get(&alice.did).await;
    assert_eq!(untouched.ok()["displayName"], "Old");
    assert_eq!(untouched.header("atproto-repo-rev"), Some(lagging.rev.as_str()));

    let avatar = server.upload(alice, "image/png", b"\x89PNG\r\n\x1a\n avatar".to_vec()).await;
    let cid = avatar["ref"]["$link"].as_str().unwrap().to_owned();
    lagging.new_profile(json!({ "displayName": "New", "avatar": avatar })).await;
    server.advance_secs(5);
    let answer = get(&alice.did).await;
    let profile = answer.ok();
    assert_eq!(profile["displayName"], "New");
    assert_eq!(profile["avatar"], format!("https://cdn.example.com/avatar/plain/{}/{cid}@jpeg", alice.did));
    // What the record leaves out disappears; what it knows nothing of stays.
    assert_eq!((profile.get("description"), profile.get("banner")), (None, None));
    assert_eq!(profile["followersCount"], 7);
    let lag: i64 = answer.header("atproto-upstream-lag").unwrap().parse().unwrap();
    assert!(lag >= 5_000, "{lag}");
    assert_eq!(answer.header("atproto-repo-rev"), None);

    assert_eq!(get(BOB).await.ok()["displayName"], "Old");
}

#[tokio::test]
async fn the_parameters_come_before_the_caller_and_the_caller_before_the_appview() {
    let lagging = Lagging::start(|_, rev| ok_at(rev, json!({}))).await;
    let server = &lagging.server;
    let message = server.query(METHOD).send().await.error(400, "InvalidRequest");
    assert!(message.contains("actor"), "{message}");
    server.query(METHOD).param("actor", BOB).send().await.error(401, "AuthMissing");
    assert!(lagging.upstream.seen().is_empty());
}
