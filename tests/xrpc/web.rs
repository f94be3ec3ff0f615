//! What is served beside XRPC, and the directory of the sandbox.

use atproto::{
    crypto::{Curve, SigningKey},
    plc::{Operation, PlcData},
    syntax::Handle,
};
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
