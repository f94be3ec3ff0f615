use serde_json::json;

use crate::support::{Answer, TestServer, dns::DnsServer};

const NSID: &str = "com.atproto.admin.updateAccountHandle";

async fn update(server: &TestServer, did: &str, handle: &str) -> Answer {
    server.procedure(NSID).admin().json(&json!({ "did": did, "handle": handle })).send().await
}

#[tokio::test]
async fn the_operator_gives_out_reserved_names_and_nothing_that_breaks_other_rules() {
    let dns = DnsServer::start().await;
    let server = TestServer::start_with(|settings| settings.nameservers = vec![dns.address]).await;
    let alice = server.create_account("alice").await;
    server.create_account("bob").await;
    assert_eq!(update(&server, &alice.did, "admin.test").await.status, 200);
    let session = server.query("com.atproto.server.getSession").auth(&alice).send().await.ok();
    assert_eq!(session["handle"], "admin.test");
    for (handle, name) in [
        ("al.test", "InvalidHandle"),
        ("alice.local", "InvalidHandle"),
        ("bob.test", "HandleNotAvailable"),
        ("alice.elsewhere", "InvalidRequest"),
        ("alice", "InvalidRequest"),
    ] {
        update(&server, &alice.did, handle).await.error(400, name);
    }
    update(&server, "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "carol.test").await.error(400, "InvalidRequest");
}

#[tokio::test]
async fn only_the_operator_may() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let input = json!({ "did": alice.did, "handle": "admin.test" });
    server.procedure(NSID).json(&input).send().await.error(401, "AuthenticationRequired");
    server.procedure(NSID).auth(&alice).json(&input).send().await.error(401, "AuthenticationRequired");
}
