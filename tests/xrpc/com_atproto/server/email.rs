//! Confirming and changing the mail address.

use serde_json::json;

use crate::support::{TestAccount, TestServer};

async fn confirm(server: &TestServer, account: &TestAccount) {
    server.procedure("com.atproto.server.requestEmailConfirmation").auth(account).send().await.empty();
    let input = json!({ "email": server.email(account).await, "token": server.mailed_code(account).await });
    server.procedure("com.atproto.server.confirmEmail").auth(account).json(&input).send().await.empty();
}

async fn is_confirmed(server: &TestServer, account: &TestAccount) -> bool {
    let session = server.query("com.atproto.server.getSession").auth(account).send().await.ok();
    session["emailConfirmed"].as_bool().unwrap()
}

#[tokio::test]
async fn an_address_is_confirmed_with_the_code_that_was_mailed_to_it() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    assert!(!is_confirmed(&server, &alice).await);
    server.procedure("com.atproto.server.requestEmailConfirmation").auth(&alice).send().await.empty();
    let (code, email) = (server.mailed_code(&alice).await, server.email(&alice).await);
    let call = |email: &str, token: &str| {
        let input = json!({ "email": email, "token": token });
        server.procedure("com.atproto.server.confirmEmail").auth(&alice).json(&input)
    };
    call("other@example.com", &code).send().await.error(400, "InvalidEmail");
    call(&email, "AAAAA-AAAAA").send().await.error(400, "InvalidToken");
    call(&email.to_uppercase(), &code).send().await.empty();
    assert!(is_confirmed(&server, &alice).await);
    // Once.
    call(&email, &code).send().await.error(400, "InvalidToken");
}

#[tokio::test]
async fn an_address_that_is_not_confirmed_is_changed_without_a_code() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.create_account("alice").await, server.create_account("bob").await);
    let request = server.procedure("com.atproto.server.requestEmailUpdate").auth(&alice).send().await;
    assert_eq!(request.ok(), json!({ "tokenRequired": false }));
    let call = |input| server.procedure("com.atproto.server.updateEmail").auth(&alice).json(&input);
    let unsupported = call(json!({ "email": "not an address" })).send().await.error(400, "InvalidRequest");
    assert_eq!(unsupported, "This email address is not supported, please use a different email.");
    let taken = call(json!({ "email": server.email(&bob).await.to_uppercase() })).send().await;
    let message = taken.error(400, "InvalidRequest");
    assert_eq!(message, "This email address is already in use, please use a different email.");
    // A code that is given is checked all the same.
    call(json!({ "email": "new@example.com", "token": "AAAAA-AAAAA" }))
        .send()
        .await
        .error(400, "InvalidToken");
    call(json!({ "email": "New@Example.com" })).send().await.empty();
    assert_eq!(server.email(&alice).await, "new@example.com");
}

#[tokio::test]
async fn a_confirmed_address_is_changed_with_a_code_that_goes_to_the_old_one() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    confirm(&server, &alice).await;
    server.procedure("com.atproto.server.requestAccountDelete").auth(&alice).send().await.empty();
    let deletion_code = server.mailed_code(&alice).await;
    let request = server.procedure("com.atproto.server.requestEmailUpdate").auth(&alice).send().await;
    assert_eq!(request.ok(), json!({ "tokenRequired": true }));
    let code = server.mailed_code(&alice).await;
    let call = |input| server.procedure("com.atproto.server.updateEmail").auth(&alice).json(&input);
    call(json!({ "email": "new@example.com" })).send().await.error(400, "TokenRequired");
    call(json!({ "email": "new@example.com", "token": "AAAAA-AAAAA" }))
        .send()
        .await
        .error(400, "InvalidToken");
    call(json!({ "email": "new@example.com", "token": code })).send().await.empty();
    assert_eq!(server.email(&alice).await, "new@example.com");
    assert!(!is_confirmed(&server, &alice).await);
    // What went to the old address is good no more.
    let input = json!({ "did": alice.did, "password": crate::support::PASSWORD, "token": deletion_code });
    server.procedure("com.atproto.server.deleteAccount").json(&input).send().await.error(400, "InvalidToken");
}

#[tokio::test]
async fn an_address_in_use_does_not_cost_the_code() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.create_account("alice").await, server.create_account("bob").await);
    confirm(&server, &alice).await;
    server.procedure("com.atproto.server.requestEmailUpdate").auth(&alice).send().await.ok();
    let code = server.mailed_code(&alice).await;
    let call = |email: &str| {
        let input = json!({ "email": email, "token": code });
        server.procedure("com.atproto.server.updateEmail").auth(&alice).json(&input)
    };
    call(&server.email(&bob).await).send().await.error(400, "InvalidRequest");
    call("free@example.com").send().await.empty();
}

#[tokio::test]
async fn the_operator_changes_an_address_by_did_or_handle() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    confirm(&server, &alice).await;
    let call = |account: &str, email: &str| {
        let input = json!({ "account": account, "email": email });
        server.procedure("com.atproto.admin.updateAccountEmail").admin().json(&input)
    };
    call("alice.test", "One@Example.com").send().await.empty();
    assert_eq!(server.email(&alice).await, "one@example.com");
    assert!(!is_confirmed(&server, &alice).await);
    call(&alice.did, "two@example.com").send().await.empty();
    assert_eq!(server.email(&alice).await, "two@example.com");
    let message = call("nobody.test", "three@example.com").send().await.error(400, "InvalidRequest");
    assert!(message.contains("nobody.test"), "{message}");
    let input = json!({ "account": alice.did, "email": "four@example.com" });
    let call = server.procedure("com.atproto.admin.updateAccountEmail").auth(&alice).json(&input);
    call.send().await.error(401, "AuthenticationRequired");
}
