use serde_json::json;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::path};

use crate::support::TestServer;

const NSID: &str = "com.atproto.identity.refreshIdentity";

/// DI-12
#[tokio::test]
async fn a_refresh_asks_again_for_what_is_cached() {
    let (server, host) = (TestServer::start().await, MockServer::start().await);
    let alice = server.create_account("alice").await;
    let did = format!("did:web:localhost%3A{}", host.address().port());
    let says = async |marker: &str| {
        host.reset().await;
        let answer = ResponseTemplate::new(200).set_body_json(json!({ "id": did, "marker": marker }));
        Mock::given(path("/.well-known/did.json")).respond_with(answer).mount(&host).await;
    };
    let cached = async || {
        let answer = server.query("com.atproto.identity.resolveDid").param("did", &did).send().await;
        answer.ok()["didDoc"]["marker"].clone()
    };
    says("one").await;
    assert_eq!(cached().await, "one");
    says("two").await;
    assert_eq!(cached().await, "one");
    let call = server.procedure(NSID).auth(&alice).json(&json!({ "identifier": did }));
    let refreshed = call.send().await.ok();
    assert_eq!(refreshed["didDoc"]["marker"], "two");
    assert_eq!(refreshed["handle"], "handle.invalid");
    assert_eq!(cached().await, "two");
}

/// It makes this server send requests, so not everybody may.
#[tokio::test]
async fn only_who_is_signed_in_may_refresh() {
    let server = TestServer::start().await;
    let input = json!({ "identifier": "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa" });
    server.procedure(NSID).json(&input).send().await.error(401, "AuthMissing");
    let alice = server.create_account("alice").await;
    server.procedure(NSID).auth(&alice).json(&input).send().await.error(400, "DidNotFound");
    server.procedure(NSID).auth(&alice).json(&json!({})).send().await.error(400, "InvalidRequest");
}
