use serde_json::json;

use super::{TakendownTokens, check_availability};
use crate::support::TestServer;

const NSID: &str = "com.atproto.sync.getLatestCommit";

#[tokio::test]
async fn cid_and_rev_are_those_that_the_writer_was_told() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    for n in 0..3 {
        let output = server.put_record(&alice, "com.example.note/a", json!({ "n": n })).await;
        let head = server.query(NSID).param("did", &alice.did).send().await.ok();
        assert_eq!(head, output["commit"]);
    }
    check_availability(&server, NSID, &alice, &[], TakendownTokens::Refused).await;
}
