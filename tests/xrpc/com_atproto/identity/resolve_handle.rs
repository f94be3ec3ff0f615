use rookery::app::Settings;
use serde_json::json;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{method, path, query_param},
};

use crate::support::{TestServer, dns::DnsServer};

const NSID: &str = "com.atproto.identity.resolveHandle";
const DID: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";

#[tokio::test]
async fn a_handle_of_this_server_resolves_to_its_did_in_any_case() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    for handle in ["alice.test", "ALICE.test"] {
        let answer = server.query(NSID).param("handle", handle).send().await;
        assert_eq!(answer.ok()["did"], alice.did);
    }
    server.deactivate(&alice.did).await;
    server.query(NSID).param("handle", "alice.test").send().await.error(400, "HandleNotFound");
}

/// HN-5
#[tokio::test]
async fn a_handle_elsewhere_is_looked_up_in_the_dns() {
    let dns = DnsServer::start().await;
    let server = TestServer::start_with(|settings| settings.nameservers = vec![dns.address]).await;
    dns.txt("alice.elsewhere", &[&format!("did={DID}")]);
    let answer = server.query(NSID).param("handle", "Alice.elsewhere").send().await;
    assert_eq!(answer.ok(), json!({ "did": DID }));
}

/// HN-10
#[tokio::test]
async fn handles_that_cannot_be_resolved_are_400() {
    let dns = DnsServer::start().await;
    let server = TestServer::start_with(|settings| settings.nameservers = vec![dns.address]).await;
    for (handle, name) in [
        ("nobody.test", "HandleNotFound"),
        ("nobody.elsewhere", "InvalidRequest"),
        ("nobody.invalid", "InvalidRequest"),
        ("", "InvalidRequest"),
        ("nodots", "InvalidRequest"),
        ("-a.test", "InvalidRequest"),
        ("did:plc:abc", "InvalidRequest"),
    ] {
        server.query(NSID).param("handle", handle).send().await.error(400, name);
    }
    assert!(server.query(NSID).send().await.error(400, "InvalidRequest").contains("handle"));
}

#[tokio::test]
async fn an_appview_is_asked_before_anyone_else_and_its_failures_are_400() {
    let (dns, appview) = (DnsServer::start().await, MockServer::start().await);
    dns.txt("alice.elsewhere", &["did=did:web:dns.example.com"]);
    let configure = |settings: &mut Settings| {
        settings.nameservers = vec![dns.address];
        let (url, did) = (appview.uri(), "did:web:appview.example.com".parse().unwrap());
        settings.appview = Some(rookery::service::settings::Service { url, did });
    };
    let server = TestServer::start_with(configure).await;
    let alice = server.create_account("alice").await;
    let answers = async |answer: ResponseTemplate| {
        appview.reset().await;
        Mock::given(method("GET"))
            .and(path("/xrpc/com.atproto.identity.resolveHandle"))
            .and(query_param("handle", "alice.elsewhere"))
            .respond_with(answer)
            .mount(&appview)
            .await;
    };
    answers(ResponseTemplate::new(200).set_body_json(json!({ "did": DID }))).await;
    let resolve = |handle: &str| server.query(NSID).param("handle", handle).send();
    assert_eq!(resolve("alice.elsewhere").await.ok()["did"], DID);
    for broken in [
        ResponseTemplate::new(500),
        ResponseTemplate::new(200).set_body_string("not json"),
        ResponseTemplate::new(200).set_body_json(json!({ "did": "alice" })),
        ResponseTemplate::new(200).set_body_json(json!([])),
    ] {
        answers(broken).await;
        let message = resolve("alice.elsewhere").await.error(400, "InvalidRequest");
        assert_eq!(message, "Unable to resolve handle");
    }
    // What is ours is ours to say.
    appview.reset().await;
    assert_eq!(resolve("alice.test").await.ok()["did"], alice.did);
    resolve("nobody.test").await.error(400, "HandleNotFound");
    assert!(appview.received_requests().await.unwrap().is_empty());
}
