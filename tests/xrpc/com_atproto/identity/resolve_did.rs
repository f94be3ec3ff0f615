use atproto::plc::Operation;
use rookery::service::identity::PlcClient;
use serde_json::json;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::path};

use crate::support::TestServer;

const NSID: &str = "com.atproto.identity.resolveDid";

#[tokio::test]
async fn the_document_of_a_did_of_either_method_is_answered() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let output = server.query(NSID).param("did", &alice.did).send().await.ok();
    assert_eq!(output["didDoc"]["id"], alice.did);
    assert_eq!(output["didDoc"]["alsoKnownAs"], json!(["at://alice.test"]));

    let host = MockServer::start().await;
    let did = format!("did:web:localhost%3A{}", host.address().port());
    let document = json!({ "id": did });
    let answer = ResponseTemplate::new(200).set_body_json(&document);
    Mock::given(path("/.well-known/did.json")).respond_with(answer).mount(&host).await;
    assert_eq!(server.query(NSID).param("did", &did).send().await.ok(), json!({ "didDoc": document }));
}

/// DI-2: unknown, ended, and not to be resolved are told apart.
#[tokio::test]
async fn dids_without_a_document_are_400_by_name() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let (plc, did) = (PlcClient::new(&server.plc_url), alice.did.parse().unwrap());
    let last = plc.last_operation(&did).await.unwrap().unwrap();
    let key = server.app.keys.plc_rotation_key().await.unwrap();
    plc.submit(&did, &Operation::sign_tombstone(&last.cid(), &key)).await.unwrap();
    server.advance_secs(2 * 24 * 60 * 60);
    for (did, name) in [
        (&*alice.did, "DidDeactivated"),
        ("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "DidNotFound"),
        ("did:web:nobody.test", "DidNotFound"),
        ("did:web:example.com:user", "InvalidRequest"),
        ("did:web:printer.local", "InvalidRequest"),
        ("did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme", "InvalidRequest"),
        ("alice.test", "InvalidRequest"),
    ] {
        server.query(NSID).param("did", did).send().await.error(400, name);
    }
}
