//! requestPasswordReset, resetPassword and admin.updateAccountPassword.

use serde_json::json;

use crate::support::{PASSWORD, TestAccount, TestServer};

const NEW: &str = "another long password";

async fn can_sign_in(server: &TestServer, password: &str) -> bool {
    let sign_in = json!({ "identifier": "alice.test", "password": password });
    server.procedure("com.atproto.server.createSession").json(&sign_in).send().await.status == 200
}

async fn request(server: &TestServer, email: &str) {
    let call = server.procedure("com.atproto.server.requestPasswordReset").json(&json!({ "email": email }));
    call.send().await.empty();
}

async fn mailed_code(server: &TestServer, account: &TestAccount) -> String {
    request(server, &server.email(account).await.to_uppercase()).await;
    server.mailed_code(account).await
}

#[tokio::test]
async fn a_forgotten_password_is_replaced_and_sessions_and_app_passwords_end() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let app_password = server.procedure("com.atproto.server.createAppPassword").auth(&alice);
    let app_password = app_password.json(&json!({ "name": "a program" })).send().await.ok();
    let app_password = app_password["password"].as_str().unwrap();
    assert!(can_sign_in(&server, app_password).await);
    let code = mailed_code(&server, &alice).await;
    let call = |token: &str, password: &str| {
        let input = json!({ "token": token, "password": password });
        server.procedure("com.atproto.server.resetPassword").json(&input)
    };
    call("AAAAA-AAAAA", NEW).send().await.error(400, "InvalidToken");
    let message = call(&code, &"x".repeat(257)).send().await.error(400, "InvalidRequest");
    assert!(message.contains("256"), "{message}");
    call(&code, NEW).send().await.empty();
    assert!(can_sign_in(&server, NEW).await && !can_sign_in(&server, PASSWORD).await);
    let refresh =
        server.procedure("com.atproto.server.refreshSession").bearer(&alice.refresh_jwt).send().await;
    refresh.error(400, "ExpiredToken");
    assert!(!can_sign_in(&server, app_password).await, "it dies with the password");
    // Once.
    call(&code, PASSWORD).send().await.error(400, "InvalidToken");
}

#[tokio::test]
async fn a_code_for_a_new_password_expires() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let code = mailed_code(&server, &alice).await;
    server.advance_secs(15 * 60);
    let input = json!({ "token": code, "password": NEW });
    let call = server.procedure("com.atproto.server.resetPassword").json(&input);
    call.send().await.error(400, "ExpiredToken");
    assert!(can_sign_in(&server, PASSWORD).await);
}

#[tokio::test]
async fn nobody_learns_whether_an_address_has_an_account() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    // Bodies and statuses are the same; the work is done after the answer, so its time is too.
    for email in ["nobody@example.com", "", "not an address"] {
        request(&server, email).await;
    }
    let code = mailed_code(&server, &alice).await;
    assert_eq!(server.app.mailer.outbox().await.unwrap().len(), 1, "{code} alone was mailed");
}

#[tokio::test]
async fn a_deactivated_account_may_reset_its_password() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    server.deactivate(&alice.did).await;
    let input = json!({ "token": mailed_code(&server, &alice).await, "password": NEW });
    server.procedure("com.atproto.server.resetPassword").json(&input).send().await.empty();
    assert!(can_sign_in(&server, NEW).await);
}

#[tokio::test]
async fn the_operator_sets_a_password() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let call = |did: &str, password: &str| {
        let input = json!({ "did": did, "password": password });
        server.procedure("com.atproto.admin.updateAccountPassword").json(&input)
    };
    call(&alice.did, NEW).auth(&alice).send().await.error(401, "AuthenticationRequired");
    call(&alice.did, &"x".repeat(257)).admin().send().await.error(400, "InvalidRequest");
    call("did:plc:ewvi7nxzyoun6zhxrhs64oiz", NEW).admin().send().await.error(400, "InvalidRequest");
    call(&alice.did, NEW).admin().send().await.empty();
    assert!(can_sign_in(&server, NEW).await && !can_sign_in(&server, PASSWORD).await);
    let refresh =
        server.procedure("com.atproto.server.refreshSession").bearer(&alice.refresh_jwt).send().await;
    refresh.error(400, "ExpiredToken");
}
