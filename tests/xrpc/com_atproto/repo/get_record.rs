use serde_json::json;

use super::{NOTE, put};
use crate::support::{
    Answer, TestServer,
    upstream::{Upstream, ok, server_with_appview},
};

async fn get(server: &TestServer, repo: &str, rkey: &str, cid: &str) -> Answer {
    let query = server.query("com.atproto.repo.getRecord").param("repo", repo).param("collection", NOTE);
    query.param("rkey", rkey).param("cid", cid).send().await
}

#[tokio::test]
async fn anyone_reads_a_record_by_did_or_handle() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let first = put(&server, &alice, "a", "one").await;
    for repo in [&alice.did, &alice.handle] {
        let output = get(&server, repo, "a", "").await.ok();
        assert_eq!((&output["uri"], &output["cid"]), (&first["uri"], &first["cid"]));
        assert_eq!(output["value"]["text"], "one");
        assert_eq!(output["value"]["$type"], NOTE);
    }
    put(&server, &alice, "a", "two").await;
    let old = first["cid"].as_str().unwrap();
    get(&server, &alice.did, "a", old).await.error(400, "RecordNotFound");
    get(&server, &alice.did, "b", "").await.error(400, "RecordNotFound");
    get(&server, "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "a", "").await.error(400, "InvalidRequest");
}

/// Checklist 60
#[tokio::test]
async fn a_record_of_another_server_or_of_an_inactive_account_is_the_appviews_to_show() {
    let upstream = Upstream::start(|_| {
        ok(json!({ "uri": "at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/x.y.z/a", "value": { "text": "from afar" } }))
    })
    .await;
    let server = server_with_appview(&upstream).await;
    let alice = server.create_account("alice").await;
    put(&server, &alice, "a", "one").await;
    server.deactivate(&alice.did).await;
    for repo in ["did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "bob.example.com", &alice.did] {
        assert_eq!(get(&server, repo, "a", "").await.ok()["value"]["text"], "from afar");
    }
    assert_eq!(upstream.seen().len(), 3);
    for seen in upstream.seen() {
        assert_eq!(seen.header("authorization"), None);
        assert!(seen.path_and_query.starts_with("/xrpc/com.atproto.repo.getRecord?repo="));
    }
}

#[tokio::test]
async fn without_an_appview_records_of_other_servers_are_not_found() {
    let server = TestServer::start().await;
    let message = get(&server, "bob.example.com", "a", "").await.error(400, "InvalidRequest");
    assert_eq!(message, "Could not locate record");
}
