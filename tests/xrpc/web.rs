//! What is served beside XRPC, and the directory of the sandbox.

use atproto::{
    crypto::{Curve, SigningKey},
    identity::DidDocument,
    plc::{Operation, PlcData},
    syntax::Handle,
};
use rookery::service::account::{create::SignUp, handle_policy::Asker};
use serde_json::json;

use crate::support::TestServer;

#[tokio::test]
async fn the_front_page_and_its_neighbours_answer() {
    let server = TestServer::start().await;
    let page = server.get("/").await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    assert!(page.text().contains("localhost") && !page.text().contains("{{"), "{}", page.text());
    assert!(server.get("/robots.txt").await.text().contains("Allow: /"));
    assert_eq!(server.get("/xrpc/_health").await.ok(), json!({ "version": env!("CARGO_PKG_VERSION") }));
    assert_eq!(server.get("/no/such/page").await.status, 404);
}

#[tokio::test]
async fn health_is_503_when_the_database_is_gone() {
    let server = TestServer::start().await;
    server.get("/xrpc/_health").await.ok();
    // From here on nothing can be written, though reads would still go through.
    server.app.store.close().await;
    let answer = server.get("/xrpc/_health").await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    let body: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
    assert_eq!(body["error"], "Service Unavailable");
}

/// DI-11
#[tokio::test]
async fn the_server_serves_its_own_did_document() {
    let server = TestServer::start().await;
    let document = server.get("/.well-known/did.json").await.ok();
    assert_eq!(document["id"], "did:web:localhost");
    let service = &document["service"][0];
    assert_eq!(service["id"], "#atproto_pds");
    assert_eq!(service["type"], "AtprotoPersonalDataServer");
    assert_eq!(service["serviceEndpoint"], server.url);
}

/// HN-7
#[tokio::test]
async fn the_did_of_a_handle_is_plain_text_under_its_host() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let get = async |host: &str| {
        let url = format!("{}/.well-known/atproto-did", server.url);
        let response = server.http.get(url).header("host", host).send().await.unwrap();
        let content_type = response.headers()["content-type"].to_str().unwrap().to_owned();
        (response.status().as_u16(), content_type, response.text().await.unwrap())
    };
    for host in ["alice.test", "ALICE.test:2583"] {
        let (status, content_type, body) = get(host).await;
        assert_eq!((status, body.as_str()), (200, alice.did.as_str()));
        assert!(content_type.starts_with("text/plain"));
    }
    for host in ["nobody.test", "test", "alice.example.com", "localhost"] {
        assert_eq!(get(host).await.0, 404, "{host}");
    }
}

/// What `path` answers under a host: status and text.
async fn under_host(server: &TestServer, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let mut request = server.http.get(format!("{}{path}", server.url));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

/// AC-2: neither well-known document says anything of who is not served.
#[tokio::test]
async fn handles_of_deactivated_and_taken_down_accounts_are_not_found() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.create_account("alice").await, server.create_account("bob").await);
    server.deactivate(&alice.did).await;
    server.take_down(&bob.did).await;
    for host in ["alice.test", "bob.test", "nobody.test"] {
        for path in ["/.well-known/atproto-did", "/.well-known/did.json"] {
            assert_eq!(under_host(&server, path, &[("host", host)]).await.0, 404, "{host}{path}");
        }
    }
}

/// DI-3: an identity that lives here is a host name, a document and an account, and needs nobody else.
#[tokio::test]
async fn a_did_web_of_this_server_is_served_under_its_host_while_its_account_is_active() {
    let server = TestServer::start().await;
    let sign_up = SignUp {
        handle: "alice.test".parse().unwrap(),
        email: None,
        password: Some(crate::support::PASSWORD.to_owned().into()),
        invite_code: None,
        recovery_key: None,
        asker: Asker::Operator,
    };
    let session = server.app.accounts.sign_up_hosted(sign_up).await.unwrap();
    let did = session.account.did.to_string();
    assert_eq!(did, "did:web:alice.test");
    let get = async |path: &str| under_host(&server, path, &[("host", "alice.test:2583")]).await;
    assert_eq!(get("/.well-known/atproto-did").await, (200, did.clone()));
    let (status, document) = get("/.well-known/did.json").await;
    assert_eq!(status, 200);
    let document = DidDocument::from_json(serde_json::from_str(&document).unwrap()).unwrap();
    assert_eq!(document.id().as_str(), did);
    assert_eq!(document.handle().unwrap().as_str(), "alice.test");
    assert_eq!(document.pds_endpoint().unwrap(), server.url);
    let key = server.app.keys.signing_key(&session.account.did).await.unwrap().public_key();
    assert_eq!(document.signing_key().unwrap().unwrap(), key);

    // The server itself sees the same, without a request to itself.
    server.app.identities.check_validity(&session.account).await.unwrap();
    let repo = server.query("com.atproto.repo.describeRepo").param("repo", &did).send().await.ok();
    assert_eq!((&repo["didDoc"], &repo["handleIsCorrect"]), (document.json(), &json!(true)));
    let update = server.procedure("com.atproto.identity.updateHandle").bearer(&session.access_jwt);
    assert_eq!(update.json(&json!({ "handle": "bob.test" })).send().await.status, 200);
    assert!(get("/.well-known/did.json").await.1.contains("at://bob.test"));
    // The name stays the identity's: nobody else may answer under its host.
    let taken = server.procedure("com.atproto.server.createAccount").json(&server.sign_up("alice"));
    taken.send().await.error(400, "InvalidRequest");

    server.deactivate(&did).await;
    assert_eq!(get("/.well-known/did.json").await.0, 404);
}

/// Behind a proxy the host that counts is the one that the client asked for; nobody else may name one.
#[tokio::test]
async fn a_forwarded_host_counts_from_a_trusted_proxy_only() {
    let path = "/.well-known/atproto-did";
    let headers = [("host", "pds.internal.example.com"), ("x-forwarded-host", "alice.test")];
    for (trusted, expected) in [(vec!["127.0.0.0/8".parse().unwrap()], 200), (vec![], 404)] {
        let server = TestServer::start_with(|settings| settings.trusted_proxies = trusted).await;
        server.create_account("alice").await;
        assert_eq!(under_host(&server, path, &headers).await.0, expected);
        assert_eq!(under_host(&server, path, &[("host", "alice.test")]).await.0, 200);
    }
}

/// DI-4, PL-7 to PL-15
#[tokio::test]
async fn the_sandbox_directory_answers_as_the_public_one() {
    let server = TestServer::start().await;
    let key = SigningKey::from_bytes(Curve::K256, &[9; 32]).unwrap();
    let handle = Handle::parse("alice.test").unwrap();
    let data = |rotation: &SigningKey| {
        PlcData::for_account(
            vec![rotation.public_key().did_key()],
            &key.public_key(),
            &handle,
            "https://pds.example",
        )
    };
    let genesis = Operation::sign(data(&key), None, &key);
    let did = genesis.did().unwrap();
    let get = async |path: &str| {
        let response = server.http.get(format!("{}/{did}{path}", server.plc_url)).send().await.unwrap();
        (response.status().as_u16(), response.json::<serde_json::Value>().await.unwrap())
    };
    let post = async |body: serde_json::Value| {
        let request = server.http.post(format!("{}/{did}", server.plc_url)).json(&body);
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.text().await.unwrap())
    };

    let (status, body) = get("").await;
    assert_eq!(status, 404);
    assert!(body["message"].as_str().unwrap().contains(did.as_str()));
    for bad in [json!({}), json!([]), json!("x"), {
        let mut tampered = genesis.to_json();
        tampered["alsoKnownAs"] = json!(["at://mallory.test"]);
        tampered
    }] {
        let (status, message) = post(bad).await;
        assert_eq!(status, 400, "{message}");
        assert!(message.contains("message"));
    }

    assert_eq!(post(genesis.to_json()).await.0, 200);
    assert_eq!(get("").await.1["alsoKnownAs"], json!(["at://alice.test"]));
    assert_eq!(get("/data").await.1["did"], did.as_str());
    assert_eq!(get("/log/last").await.1, genesis.to_json());
    assert_eq!(get("/log").await.1, json!([genesis.to_json()]));
    assert_eq!(get("/log/audit").await.1[0]["cid"], genesis.cid().to_string());
    assert_eq!(post(genesis.to_json()).await.0, 400, "twice");
    let stranger = SigningKey::from_bytes(Curve::K256, &[8; 32]).unwrap();
    let stolen = Operation::sign(data(&stranger), Some(&genesis.cid()), &stranger);
    assert_eq!(post(stolen.to_json()).await.0, 400, "not a rotation key");

    assert_eq!(post(Operation::sign_tombstone(&genesis.cid(), &key).to_json()).await.0, 200);
    assert_eq!(get("").await.0, 410);
    assert_eq!(get("/data").await.0, 410);
    assert_eq!(get("/log/audit").await.1.as_array().unwrap().len(), 2);
    let health = server.http.get(format!("{}/_health", server.plc_url)).send().await.unwrap();
    assert_eq!(health.status(), 200);
}
