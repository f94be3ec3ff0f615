//! deactivateAccount, activateAccount and checkAccountStatus over HTTP.

use atproto::syntax::Did;
use rookery::service::account::create::Adoption;
use serde_json::json;
use zeroize::Zeroizing;

use crate::support::{PASSWORD, TestServer};

#[tokio::test]
async fn a_deactivated_account_rests_and_comes_back_ac_4_ac_5() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    server.put_record(&alice, "com.example.thing/1", json!({})).await;
    server
        .procedure("com.atproto.server.deactivateAccount")
        .auth(&alice)
        .json(&json!({}))
        .send()
        .await
        .empty();

    let session = server.query("com.atproto.server.getSession").auth(&alice).send().await.ok();
    assert_eq!((&session["active"], &session["status"]), (&json!(false), &json!("deactivated")));
    let sign_in = json!({ "identifier": "alice.test", "password": PASSWORD });
    let session = server.procedure("com.atproto.server.createSession").json(&sign_in).send().await.ok();
    assert_eq!(session["status"], "deactivated");
    let input = json!({ "repo": alice.did, "collection": "com.example.thing", "record": { "$type": "com.example.thing" } });
    let write = server.procedure("com.atproto.repo.createRecord").auth(&alice).json(&input).send().await;
    write.error(401, "AccountDeactivated");
    let status = server.query("com.atproto.sync.getRepoStatus").param("did", &alice.did).send().await.ok();
    assert_eq!(status, json!({ "did": alice.did, "active": false, "status": "deactivated" }));
    let gone = server.query("com.atproto.identity.resolveHandle").param("handle", "alice.test").send().await;
    assert_eq!(gone.status, 400);

    server.procedure("com.atproto.server.activateAccount").auth(&alice).send().await.empty();
    server.procedure("com.atproto.repo.createRecord").auth(&alice).json(&input).send().await.ok();
    server.query("com.atproto.identity.resolveHandle").param("handle", "alice.test").send().await.ok();
    // Once more is fine, and tells the world again.
    server.procedure("com.atproto.server.activateAccount").auth(&alice).send().await.empty();
}

#[tokio::test]
async fn deactivation_asks_for_a_body_and_a_date_is_a_date() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let call = || server.procedure("com.atproto.server.deactivateAccount").auth(&alice);
    call().send().await.error(400, "InvalidRequest");
    let message =
        call().json(&json!({ "deleteAfter": "tomorrow" })).send().await.error(400, "InvalidRequest");
    assert!(message.contains("deleteAfter"), "{message}");
    call().json(&json!({ "deleteAfter": "2039-01-01T00:00:00.000Z" })).send().await.empty();
}

#[tokio::test]
async fn who_is_taken_down_may_deactivate_but_not_activate() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let did = Did::parse(&alice.did).unwrap();
    server.app.accounts.set_takedown(&did, Some("reason".into())).await.unwrap();
    let sign_in = json!({ "identifier": "alice.test", "password": PASSWORD, "allowTakendown": true });
    let session = server.procedure("com.atproto.server.createSession").json(&sign_in).send().await.ok();
    let token = session["accessJwt"].as_str().unwrap();
    let call = |method: &str| server.procedure(&format!("com.atproto.server.{method}"));
    call("deactivateAccount").bearer(token).json(&json!({})).send().await.empty();
    call("activateAccount").bearer(token).send().await.error(400, "InvalidToken");
    call("activateAccount").auth(&alice).send().await.error(400, "AccountNotFound");
    call("requestAccountDelete").auth(&alice).send().await.error(401, "AccountTakedown");
}

#[tokio::test]
async fn activation_insists_on_a_did_that_names_this_server_ac_10() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let moved = server.restart_with(|settings| settings.public_url = "http://elsewhere.test".into()).await;
    let answer = moved.procedure("com.atproto.server.activateAccount").auth(&alice).send().await;
    let message = answer.error(400, "InvalidRequest");
    assert_eq!(message, "DID document atproto_pds service endpoint does not match PDS public url");
    let status = moved.query("com.atproto.server.checkAccountStatus").auth(&alice).send().await.ok();
    assert_eq!(status["validDid"], false);
}

#[tokio::test]
async fn the_status_counts_what_is_here_mg_6() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let status =
        async || server.query("com.atproto.server.checkAccountStatus").auth(&alice).send().await.ok();
    let empty = status().await;
    // An empty repository has two blocks: the commit and the root of its tree.
    assert_eq!((&empty["repoBlocks"], &empty["indexedRecords"]), (&json!(2), &json!(0)));
    assert_eq!((&empty["activated"], &empty["validDid"]), (&json!(true), &json!(true)));

    let used = server.upload(&alice, "text/plain", "used").await;
    server.upload(&alice, "text/plain", "waits for its record").await;
    // Two records with the same bytes are one block.
    for rkey in ["1", "2"] {
        server.put_record(&alice, &format!("com.example.thing/{rkey}"), json!({ "blob": used })).await;
    }
    let latest = server.query("com.atproto.sync.getLatestCommit").param("did", &alice.did).send().await.ok();
    let filled = status().await;
    assert_eq!((&filled["repoCommit"], &filled["repoRev"]), (&latest["cid"], &latest["rev"]));
    assert_eq!(filled["indexedRecords"], 2);
    assert!(filled["repoBlocks"] == 3 || filled["repoBlocks"] == 4, "{filled}");
    assert_eq!((&filled["expectedBlobs"], &filled["importedBlobs"]), (&json!(1), &json!(2)));
    assert_eq!(filled["privateStateValues"], 0);

    server
        .procedure("com.atproto.server.deactivateAccount")
        .auth(&alice)
        .json(&json!({}))
        .send()
        .await
        .empty();
    assert_eq!(status().await["activated"], false);
}

#[tokio::test]
async fn an_account_that_moves_in_is_told_whether_its_did_has_followed() {
    let server = TestServer::start().await;
    let did = Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap();
    let adoption = Adoption {
        did: did.clone(),
        handle: None,
        email: None,
        password: Some(Zeroizing::new(PASSWORD.into())),
    };
    server.app.accounts.adopt(adoption).await.unwrap();
    let sign_in = json!({ "identifier": did.as_str(), "password": PASSWORD });
    let session = server.procedure("com.atproto.server.createSession").json(&sign_in).send().await.ok();
    let token = session["accessJwt"].as_str().unwrap();
    let call = server.procedure("com.atproto.server.activateAccount").bearer(token).send().await;
    let message = call.error(400, "InvalidRequest");
    assert!(message.contains("did:plc:ewvi7nxzyoun6zhxrhs64oiz"), "{message}");
}
