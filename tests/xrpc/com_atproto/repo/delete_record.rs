use serde_json::json;

use super::{NOTE, call, put};
use crate::support::TestServer;

#[tokio::test]
async fn deleting_nothing_succeeds_without_a_commit_xr_16() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let cid = put(&server, &alice, "a", "one").await["cid"].clone();
    let input = |rkey: &str| json!({ "collection": NOTE, "rkey": rkey });
    assert_eq!(call(&server, &alice, "deleteRecord", input("b")).await.ok(), json!({}));
    let mut swapped = input("a");
    swapped["swapRecord"] = json!("bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm");
    call(&server, &alice, "deleteRecord", swapped.clone()).await.error(400, "InvalidSwap");
    swapped["swapRecord"] = cid;
    assert!(call(&server, &alice, "deleteRecord", swapped).await.ok()["commit"].is_object());
}
