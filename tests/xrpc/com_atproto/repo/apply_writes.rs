use serde_json::{Value as Json, json};

use super::{NOTE, call};
use crate::support::TestServer;

fn write(kind: &str, rkey: &str) -> Json {
    let mut write =
        json!({ "$type": format!("com.atproto.repo.applyWrites#{kind}"), "collection": NOTE, "rkey": rkey });
    if kind != "delete" {
        write["value"] = json!({ "text": kind });
    }
    write
}

#[tokio::test]
async fn writes_are_one_commit_and_results_are_in_order_xr_17() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let writes = [write("create", "a"), write("create", "b"), write("update", "a"), write("delete", "b")];
    let output = call(&server, &alice, "applyWrites", json!({ "writes": writes })).await.ok();
    let kinds: Vec<_> = output["results"].as_array().unwrap().iter().map(|result| &result["$type"]).collect();
    let named = |kind: &str| json!(format!("com.atproto.repo.applyWrites#{kind}Result"));
    assert_eq!(kinds, [&named("create"), &named("create"), &named("update"), &named("delete")]);
    assert_eq!(output["results"][3].as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn one_bad_write_undoes_all_rp_17() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    for bad in [
        write("update", "x"),
        write("delete", "x"),
        write("create", "a"),
        json!({ "$type": "com.atproto.repo.applyWrites#other", "collection": NOTE }),
    ] {
        let writes = json!({ "writes": [write("create", "a"), bad] });
        call(&server, &alice, "applyWrites", writes).await.error(400, "InvalidRequest");
    }
    let many: Vec<Json> = (0..201).map(|n| write("create", &format!("n{n}"))).collect();
    let message =
        call(&server, &alice, "applyWrites", json!({ "writes": many })).await.error(400, "InvalidRequest");
    assert!(message.contains("Max: 200"), "{message}");
    let list =
        server.query("com.atproto.repo.listRecords").param("repo", &alice.did).param("collection", NOTE);
    assert_eq!(list.send().await.ok()["records"], json!([]));
}
