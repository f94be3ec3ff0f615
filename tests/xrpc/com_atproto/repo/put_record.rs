use serde_json::{Value as Json, json};

use super::{NOTE, call, put};
use crate::support::TestServer;

#[tokio::test]
async fn identical_content_makes_no_commit_xr_16() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let first = put(&server, &alice, "a", "one").await;
    let again = put(&server, &alice, "a", "one").await;
    assert!(first["commit"].is_object() && again.get("commit").is_none());
    assert_eq!((&first["uri"], &first["cid"]), (&again["uri"], &again["cid"]));
    let second = put(&server, &alice, "a", "two").await;
    assert!(second["commit"]["rev"].as_str() > first["commit"]["rev"].as_str());
}

/// RP-16: absent, null and a CID are three different conditions.
#[tokio::test]
async fn swap_record_is_absent_null_or_a_cid() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let first = put(&server, &alice, "a", "one").await;
    let with = |rkey: &str, swap: Json| json!({ "collection": NOTE, "rkey": rkey, "record": { "text": "x" }, "swapRecord": swap });
    call(&server, &alice, "putRecord", with("a", Json::Null)).await.error(400, "InvalidSwap");
    call(&server, &alice, "putRecord", with("b", first["cid"].clone())).await.error(400, "InvalidSwap");
    call(&server, &alice, "putRecord", with("b", Json::Null)).await.ok();
    call(&server, &alice, "putRecord", with("a", first["cid"].clone())).await.ok();
}
