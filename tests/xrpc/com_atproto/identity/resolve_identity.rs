use serde_json::json;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::path};

use crate::support::{TestServer, dns::DnsServer};

const NSID: &str = "com.atproto.identity.resolveIdentity";

#[tokio::test]
async fn a_handle_and_its_did_give_the_same_identity() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let resolve =
        async |identifier: &str| server.query(NSID).param("identifier", identifier).send().await.ok();
    let identity = resolve(&alice.did).await;
    assert_eq!(identity["did"], alice.did);
    assert_eq!(identity["handle"], "alice.test");
    assert_eq!(identity["didDoc"]["id"], alice.did);
    assert_eq!(resolve("alice.test").await, identity);
}

/// HN-4, HN-9
#[tokio::test]
async fn a_handle_counts_when_document_and_handle_name_each_other() {
    let (dns, host) = (DnsServer::start().await, MockServer::start().await);
    let server = TestServer::start_with(|settings| settings.nameservers = vec![dns.address]).await;
    let did = format!("did:web:localhost%3A{}", host.address().port());
    let document = json!({ "id": did, "alsoKnownAs": ["at://alice.elsewhere", "at://other.elsewhere"] });
    let answer = ResponseTemplate::new(200).set_body_json(document);
    Mock::given(path("/.well-known/did.json")).respond_with(answer).mount(&host).await;
    let handle = async |identifier: &str| {
        server.query(NSID).param("identifier", identifier).send().await.ok()["handle"].clone()
    };

    assert_eq!(handle(&did).await, "handle.invalid", "the handle does not know it");
    dns.txt("alice.elsewhere", &["did=did:plc:ewvi7nxzyoun6zhxrhs64oiz"]);
    assert_eq!(handle(&did).await, "handle.invalid", "the handle is somebody else's");
    dns.txt("alice.elsewhere", &[&format!("did={did}")]);
    assert_eq!(handle(&did).await, "alice.elsewhere");
    assert_eq!(handle("alice.elsewhere").await, "alice.elsewhere");
    // A handle that only points there is not the identity's.
    dns.txt("other.elsewhere", &[&format!("did={did}")]);
    assert_eq!(handle("other.elsewhere").await, "alice.elsewhere");
}

#[tokio::test]
async fn what_is_not_there_is_400_by_name() {
    let dns = DnsServer::start().await;
    let server = TestServer::start_with(|settings| settings.nameservers = vec![dns.address]).await;
    for (identifier, name) in [
        ("nobody.test", "HandleNotFound"),
        ("nobody.elsewhere", "HandleNotFound"),
        ("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "DidNotFound"),
        ("x", "InvalidRequest"),
    ] {
        server.query(NSID).param("identifier", identifier).send().await.error(400, name);
    }
}
