//! com.atproto.admin.getAccountInfo and getAccountInfos.

use serde_json::{Value as Json, json};

use super::NOBODY;
use crate::support::{Answer, TestServer};

async fn info(server: &TestServer, did: &str) -> Answer {
    server.query("com.atproto.admin.getAccountInfo").admin().param("did", did).send().await
}

async fn infos(server: &TestServer, dids: &[&str]) -> Vec<Json> {
    let call = server.query("com.atproto.admin.getAccountInfos").admin();
    let call = dids.iter().fold(call, |call, did| call.param("dids", did));
    call.send().await.ok()["infos"].as_array().unwrap().clone()
}

#[tokio::test]
async fn an_account_is_shown_with_its_address_and_its_invites() {
    let server = TestServer::start_with(|settings| settings.invite_required = true).await;
    let code = async |input: Json| {
        let call = server.procedure("com.atproto.server.createInviteCode").admin().json(&input);
        call.send().await.ok()["code"].as_str().unwrap().to_owned()
    };
    let code_used = code(json!({ "useCount": 1 })).await;
    let mut sign_up = server.sign_up("alice");
    sign_up["inviteCode"] = json!(code_used);
    let alice = server.procedure("com.atproto.server.createAccount").json(&sign_up).send().await.ok();
    let did = alice["did"].as_str().unwrap();
    let code_given = code(json!({ "useCount": 2, "forAccount": did })).await;

    let shown = info(&server, did).await.ok();
    assert_eq!(shown["did"], did);
    assert_eq!(shown["handle"], "alice.test");
    assert_eq!(shown["email"], sign_up["email"]);
    assert_eq!(shown["invitesDisabled"], false);
    assert_eq!(shown["invitedBy"]["code"], code_used.as_str());
    assert_eq!(shown["invitedBy"]["uses"][0]["usedBy"], did);
    assert_eq!(shown["invites"].as_array().unwrap().len(), 1);
    assert_eq!(shown["invites"][0]["code"], code_given.as_str());
    assert_eq!(shown["invites"][0]["available"], 2);
    assert!(shown["indexedAt"].is_string());
    for absent in ["deactivatedAt", "emailConfirmedAt"] {
        assert_eq!(shown.get(absent), None, "{absent}");
    }
}

#[tokio::test]
async fn accounts_are_shown_whatever_their_status() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.create_account("alice").await, server.create_account("bob").await);
    server.deactivate(&alice.did).await;
    server.take_down(&bob.did).await;
    assert!(info(&server, &alice.did).await.ok()["deactivatedAt"].is_string());
    assert_eq!(info(&server, &bob.did).await.ok()["handle"], "bob.test");
}

#[tokio::test]
async fn one_unknown_account_is_an_error_and_among_several_it_is_left_out() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.create_account("alice").await, server.create_account("bob").await);
    info(&server, NOBODY).await.error(400, "NotFound");
    let shown = infos(&server, &[&bob.did, NOBODY, &alice.did, &bob.did]).await;
    let dids: Vec<_> = shown.iter().map(|info| info["did"].as_str().unwrap()).collect();
    assert_eq!(dids, [&bob.did, &alice.did]);
    assert_eq!(shown[1], info(&server, &alice.did).await.ok());
    assert!(infos(&server, &[NOBODY]).await.is_empty());
}

#[tokio::test]
async fn bad_input_is_refused() {
    let server = TestServer::start().await;
    info(&server, "nonsense").await.error(400, "InvalidRequest");
    server.query("com.atproto.admin.getAccountInfo").admin().send().await.error(400, "InvalidRequest");
    let infos = || server.query("com.atproto.admin.getAccountInfos").admin();
    infos().send().await.error(400, "InvalidRequest");
    infos().param("dids", NOBODY).param("dids", "nonsense").send().await.error(400, "InvalidRequest");
}
