use atproto::data::cid;
use serde_json::json;

use super::{Car, NOTHING, TakendownTokens, check_availability, check_bad_params};
use crate::support::TestServer;

const NSID: &str = "com.atproto.sync.getBlocks";

#[tokio::test]
async fn blocks_come_as_asked_for_without_roots() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let output = server.put_record(&alice, "com.example.note/a", json!({ "text": "hi" })).await;
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let (record, commit) = (text(&output["cid"]), text(&output["commit"]["cid"]));
    let whole = Car::of(&server.query("com.atproto.sync.getRepo").param("did", &alice.did).send().await);
    let node = whole.order[1].to_string();
    let asked = [&record, &commit, &node];
    let call =
        asked.iter().fold(server.query(NSID).param("did", &alice.did), |call, cid| call.param("cids", cid));
    let car = Car::of(&call.send().await);
    assert_eq!(car.roots, []);
    assert_eq!(car.order.iter().map(ToString::to_string).collect::<Vec<_>>(), [record, commit, node]);
    for (cid, block) in &car.blocks {
        assert_eq!(*cid, cid::for_cbor(block));
    }
}

#[tokio::test]
async fn all_or_nothing_and_the_missing_ones_are_named() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.create_account("alice").await, server.create_account("bob").await);
    let output = server.put_record(&alice, "com.example.note/a", json!({ "text": "hi" })).await;
    let held = output["cid"].as_str().unwrap();
    let call = server.query(NSID).param("did", &alice.did).param("cids", held).param("cids", NOTHING);
    let message = call.send().await.error(400, "InvalidRequest");
    assert!(message.contains(NOTHING) && !message.contains(held), "{message}");
    // A block of one repo is not a block of another.
    server.query(NSID).param("did", &bob.did).param("cids", held).send().await.error(400, "InvalidRequest");
    // What was deleted is gone.
    server.delete_record(&alice, "com.example.note/a").await;
    server.query(NSID).param("did", &alice.did).param("cids", held).send().await.error(400, "InvalidRequest");
}

#[tokio::test]
async fn bad_input_and_hidden_repos_are_refused() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let output = server.put_record(&alice, "com.example.note/a", json!({})).await;
    let call = || server.query(NSID).param("did", &alice.did);
    check_bad_params(
        call,
        &[("cids", "nonsense"), ("cids", "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7")],
    )
    .await;
    call().send().await.error(400, "InvalidRequest");
    let many = (0..501).fold(call(), |call, _| call.param("cids", NOTHING));
    assert!(many.send().await.error(400, "InvalidRequest").contains("at most 500"));
    let params = [("cids", output["cid"].as_str().unwrap())];
    check_availability(&server, NSID, &alice, &params, TakendownTokens::Refused).await;
}
