use serde_json::json;

use super::{NOTE, put};
use crate::support::TestServer;

#[tokio::test]
async fn a_repo_tells_whose_it_is_and_what_is_in_it() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    put(&server, &alice, "a", "one").await;
    let describe = |repo: &str| server.query("com.atproto.repo.describeRepo").param("repo", repo);
    let output = describe(&alice.handle).send().await.ok();
    assert_eq!((&output["did"], &output["handle"]), (&json!(alice.did), &json!(alice.handle)));
    assert_eq!(output["handleIsCorrect"], true);
    assert_eq!(output["didDoc"]["id"], json!(alice.did));
    assert_eq!(output["collections"], json!([NOTE]));
    describe("nobody.test").send().await.error(400, "RepoNotFound");
}
