use crate::support::TestServer;

const NSID: &str = "com.atproto.identity.resolveHandle";

#[tokio::test]
async fn a_handle_of_this_server_resolves_to_its_did_in_any_case() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    for handle in ["alice.test", "ALICE.test"] {
        let answer = server.query(NSID).param("handle", handle).send().await;
        assert_eq!(answer.ok()["did"], alice.did);
    }
}

/// HN-10
#[tokio::test]
async fn handles_that_cannot_be_resolved_are_400() {
    let server = TestServer::start().await;
    for (handle, name) in [
        ("nobody.test", "HandleNotFound"),
        ("nobody.example.com", "InvalidRequest"),
        ("", "InvalidRequest"),
        ("nodots", "InvalidRequest"),
        ("-a.test", "InvalidRequest"),
        ("did:plc:abc", "InvalidRequest"),
    ] {
        server.query(NSID).param("handle", handle).send().await.error(400, name);
    }
    assert!(server.query(NSID).send().await.error(400, "InvalidRequest").contains("handle"));
}
