use super::{NOTE, put};
use crate::support::{Answer, TestServer};

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
