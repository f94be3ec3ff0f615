use serde_json::json;

use super::{TakendownTokens, check_availability};
use crate::support::TestServer;

const NSID: &str = "com.atproto.sync.getHead";

#[tokio::test]
async fn the_root_is_the_latest_commit() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let output = server.put_record(&alice, "com.example.note/a", json!({})).await;
    let head = server.query(NSID).param("did", &alice.did).send().await.ok();
    assert_eq!(head, json!({ "root": output["commit"]["cid"] }));
    check_availability(&server, NSID, &alice, &[], TakendownTokens::Refused).await;
}
