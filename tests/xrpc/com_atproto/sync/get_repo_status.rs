use serde_json::json;

use super::NOBODY;
use crate::support::TestServer;

const NSID: &str = "com.atproto.sync.getRepoStatus";

#[tokio::test]
async fn the_status_is_public_and_the_rev_is_there_while_active_ac_3() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let output = server.put_record(&alice, "com.example.note/a", json!({})).await;
    let status = async || server.query(NSID).param("did", &alice.did).send().await.ok();
    assert_eq!(status().await, json!({ "did": alice.did, "active": true, "rev": output["commit"]["rev"] }));
    server.deactivate(&alice.did).await;
    assert_eq!(status().await, json!({ "did": alice.did, "active": false, "status": "deactivated" }));
    server.take_down(&alice.did).await;
    assert_eq!(status().await, json!({ "did": alice.did, "active": false, "status": "takendown" }));
}

#[tokio::test]
async fn it_asks_for_no_authorization_and_looks_at_none() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    server.query(NSID).param("did", &alice.did).bearer("nonsense").send().await.ok();
}

#[tokio::test]
async fn bad_input_is_refused() {
    let server = TestServer::start().await;
    server.query(NSID).param("did", NOBODY).send().await.error(400, "RepoNotFound");
    server.query(NSID).param("did", "nonsense").send().await.error(400, "InvalidRequest");
    server.query(NSID).send().await.error(400, "InvalidRequest");
    server.procedure(NSID).json(&json!({})).send().await.error(400, "InvalidRequest");
}
