use atproto::{
    crypto::{Curve, SigningKey},
    plc::Operation,
};
use serde_json::{Value as Json, json};

use super::{gated, operations, plc_data};
use crate::support::{Answer, PASSWORD, TestAccount, TestServer, plc_gate::Gate};

const REQUEST: &str = "com.atproto.identity.requestPlcOperationSignature";
const SIGN: &str = "com.atproto.identity.signPlcOperation";

/// Asks for a code and reads it from the mail.
async fn code(server: &TestServer, account: &TestAccount) -> String {
    let answer = server.procedure(REQUEST).auth(account).send().await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, ""));
    server.mailed_code(account).await
}

async fn sign(server: &TestServer, account: &TestAccount, input: Json) -> Answer {
    server.procedure(SIGN).auth(account).json(&input).send().await
}

fn other_key() -> String {
    SigningKey::from_bytes(Curve::P256, &[2; 32]).unwrap().public_key().did_key()
}

/// MG-13: signed and not submitted; whoever holds it may submit it, here or elsewhere.
#[tokio::test]
async fn the_mailed_code_buys_one_signed_operation() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let token = code(&server, &alice).await;
    let before = plc_data(&server, &alice.did).await;
    let keys = json!([other_key(), before["rotationKeys"][0]]);
    let output = sign(&server, &alice, json!({ "token": token, "rotationKeys": keys })).await.ok();
    let operation = Operation::from_json(&output["operation"]).unwrap();
    let own_key = server.app.keys.plc_rotation_key().await.unwrap().public_key().did_key();
    operation.signer(&[own_key]).unwrap();
    assert_eq!(operations(&server, &alice.did).await, 1, "nothing is submitted");
    // What is not named stays.
    assert_eq!(output["operation"]["rotationKeys"], keys);
    for field in ["alsoKnownAs", "verificationMethods", "services"] {
        assert_eq!(output["operation"][field], before[field], "{field}");
    }
    sign(&server, &alice, json!({ "token": token })).await.error(400, "InvalidToken");

    let submit = server.procedure("com.atproto.identity.submitPlcOperation").auth(&alice);
    assert_eq!(submit.json(&json!({ "operation": output["operation"] })).send().await.status, 200);
    assert_eq!(plc_data(&server, &alice.did).await["rotationKeys"], keys);
}

/// MG-13: an operation that leads to another server, which is where it is submitted.
#[tokio::test]
async fn every_field_can_be_replaced_and_null_is_no_change() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let pds = json!({ "type": "AtprotoPersonalDataServer", "endpoint": "https://elsewhere.example.com" });
    let changes = json!({
        "rotationKeys": null,
        "alsoKnownAs": ["at://alice.elsewhere"],
        "verificationMethods": { "atproto": other_key() },
        "services": { "atproto_pds": pds },
    });
    let mut input = changes.clone();
    input["token"] = code(&server, &alice).await.to_lowercase().into();
    let output = sign(&server, &alice, input).await.ok();
    for field in ["alsoKnownAs", "verificationMethods", "services"] {
        assert_eq!(output["operation"][field], changes[field], "{field}");
    }
    assert_eq!(output["operation"]["rotationKeys"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn without_a_good_code_nothing_is_signed() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let message = sign(&server, &alice, json!({})).await.error(400, "InvalidRequest");
    assert_eq!(message, "email confirmation token required to sign PLC operations");
    sign(&server, &alice, json!({ "token": "ABCDE-FGHIJ" })).await.error(400, "InvalidToken");
    let late = code(&server, &alice).await;
    server.advance_secs(16 * 60);
    sign(&server, &alice, json!({ "token": late })).await.error(400, "ExpiredToken");
}

/// Checklist 49: a directory that fails does not give the code back.
#[tokio::test]
async fn the_code_is_used_up_before_the_directory_is_asked() {
    let (server, gate) = gated().await;
    let alice = server.create_account("alice").await;
    let token = code(&server, &alice).await;
    gate.set(Gate::Shut);
    sign(&server, &alice, json!({ "token": token })).await.error(502, "UpstreamFailure");
    gate.set(Gate::Open);
    sign(&server, &alice, json!({ "token": token })).await.error(400, "InvalidToken");
}

/// What no directory would take is refused by its field, before anybody sends it there.
#[tokio::test]
async fn an_operation_that_no_directory_takes_is_not_signed() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    for (field, value) in [
        ("rotationKeys", json!([])),
        ("rotationKeys", json!(["did:web:example.com"])),
        ("alsoKnownAs", json!(["at://a.example.com", "at://a.example.com"])),
        ("verificationMethods", json!({ "atproto": "x" })),
    ] {
        let mut input = json!({ "token": code(&server, &alice).await });
        input[field] = value;
        let message = sign(&server, &alice, input).await.error(400, "InvalidRequest");
        assert!(message.contains(field), "{field}: {message}");
    }
    // The form of the input is checked first: a mistake does not cost the code.
    let token = code(&server, &alice).await;
    for wrong in [json!({ "services": { "atproto_pds": "x" } }), json!({ "rotationKeys": "x" })] {
        let mut input = wrong;
        input["token"] = token.clone().into();
        sign(&server, &alice, input).await.error(400, "InvalidRequest");
    }
    assert_eq!(sign(&server, &alice, json!({ "token": token })).await.status, 200);
}

#[tokio::test]
async fn a_tombstoned_did_is_at_its_end() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let plc = rookery::service::identity::PlcClient::new(&server.plc_url);
    let did = alice.did.parse().unwrap();
    let last = plc.last_operation(&did).await.unwrap().unwrap();
    let key = server.app.keys.plc_rotation_key().await.unwrap();
    plc.submit(&did, &Operation::sign_tombstone(&last.cid(), &key)).await.unwrap();
    let token = code(&server, &alice).await;
    let message = sign(&server, &alice, json!({ "token": token })).await.error(400, "InvalidRequest");
    assert_eq!(message, "Did is tombstoned");
}

/// MG-14: whoever holds an app password must not take the identity away; who is taken down may.
#[tokio::test]
async fn app_passwords_may_not_and_taken_down_accounts_may() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let made = server.procedure("com.atproto.server.createAppPassword").auth(&alice);
    let made = made.json(&json!({ "name": "app", "privileged": true })).send().await.ok();
    let login = json!({ "identifier": alice.did, "password": made["password"] });
    let session = server.procedure("com.atproto.server.createSession").json(&login).send().await.ok();
    let token = session["accessJwt"].as_str().unwrap();
    server.procedure(REQUEST).bearer(token).send().await.error(400, "InvalidToken");
    server
        .procedure(SIGN)
        .bearer(token)
        .json(&json!({ "token": "x" }))
        .send()
        .await
        .error(400, "InvalidToken");

    server.take_down(&alice.did).await;
    let login = json!({ "identifier": alice.did, "password": PASSWORD, "allowTakendown": true });
    let session = server.procedure("com.atproto.server.createSession").json(&login).send().await.ok();
    let token = session["accessJwt"].as_str().unwrap();
    assert_eq!(server.procedure(REQUEST).bearer(token).send().await.status, 200);
    let token = server.mailed_code(&alice).await;
    let call = server.procedure(SIGN).bearer(session["accessJwt"].as_str().unwrap());
    assert_eq!(call.json(&json!({ "token": token })).send().await.status, 200);
}

#[tokio::test]
async fn the_caller_has_to_be_signed_in_and_have_an_address() {
    let server = TestServer::start().await;
    server.procedure(REQUEST).send().await.error(401, "AuthMissing");
    server.procedure(SIGN).json(&json!({})).send().await.error(401, "AuthMissing");
    let alice = server.create_account("alice").await;
    let sql = "UPDATE account SET email = NULL";
    let update =
        server.app.store.write(move |tx| Ok::<_, rookery::store::StoreError>(tx.execute_batch(sql)?));
    update.await.unwrap();
    let message = server.procedure(REQUEST).auth(&alice).send().await.error(400, "InvalidRequest");
    assert_eq!(message, "account does not have an email address");
}
