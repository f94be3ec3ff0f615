use super::{NOTE, put};
use crate::support::TestServer;

#[tokio::test]
async fn pages_run_from_the_greatest_key_down_or_back_xr_8() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    for rkey in ["a", "b", "c", "d", "e"] {
        put(&server, &alice, rkey, rkey).await;
    }
    for (reverse, expected) in [("", "edcba"), ("true", "abcde")] {
        let (mut found, mut cursor) = (String::new(), String::new());
        loop {
            let query = server
                .query("com.atproto.repo.listRecords")
                .param("repo", &alice.handle)
                .param("collection", NOTE);
            let page =
                query.param("limit", 2).param("cursor", &cursor).param("reverse", reverse).send().await.ok();
            for record in page["records"].as_array().unwrap() {
                found.push_str(record["value"]["text"].as_str().unwrap());
            }
            let Some(next) = page["cursor"].as_str() else { break };
            cursor = next.to_owned();
        }
        assert_eq!(found, expected);
    }
    let query = server.query("com.atproto.repo.listRecords").param("collection", NOTE);
    query.param("repo", "nobody.test").send().await.error(400, "InvalidRequest");
}
