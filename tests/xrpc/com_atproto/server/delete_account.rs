//! requestAccountDelete and deleteAccount, and admin.deleteAccount.

use rookery::store::StoreError;
use serde_json::json;

use crate::support::{PASSWORD, TestAccount, TestServer};

/// Input of deleteAccount.
fn input(account: &TestAccount, password: &str, token: &str) -> serde_json::Value {
    json!({ "did": account.did, "password": password, "token": token })
}

#[tokio::test]
async fn an_account_is_deleted_for_its_password_and_a_mailed_code_ac_6() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    server.procedure("com.atproto.server.requestAccountDelete").auth(&alice).send().await.empty();
    let mail = server.mail_to(&alice).await;
    assert_eq!(mail.subject, "Account Deletion Requested");
    assert!(mail.text.contains("@alice.test") && mail.text.contains("15 minutes"), "{}", mail.text);
    let code = server.mailed_code(&alice).await;

    let call = |password: &str, token: &str| {
        server.procedure("com.atproto.server.deleteAccount").json(&input(&alice, password, token))
    };
    call("wrong", &code).send().await.error(401, "AuthenticationRequired");
    call(&"x".repeat(513), &code).send().await.error(401, "AuthenticationRequired");
    call(PASSWORD, "AAAAA-AAAAA").send().await.error(400, "InvalidToken");
    // In any case, as people type.
    call(PASSWORD, &code.to_lowercase()).send().await.empty();

    let sign_in = json!({ "identifier": "alice.test", "password": PASSWORD });
    server
        .procedure("com.atproto.server.createSession")
        .json(&sign_in)
        .send()
        .await
        .error(401, "AuthenticationRequired");
    call(PASSWORD, &code).send().await.error(400, "InvalidRequest");
    server
        .query("com.atproto.sync.getRepoStatus")
        .param("did", &alice.did)
        .send()
        .await
        .error(400, "RepoNotFound");
    server.create_account("alice").await;
}

#[tokio::test]
async fn a_code_is_good_for_a_quarter_of_an_hour() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    server.procedure("com.atproto.server.requestAccountDelete").auth(&alice).send().await.empty();
    let code = server.mailed_code(&alice).await;
    server.advance_secs(15 * 60);
    let call = server.procedure("com.atproto.server.deleteAccount").json(&input(&alice, PASSWORD, &code));
    call.send().await.error(400, "ExpiredToken");
}

#[tokio::test]
async fn a_new_code_replaces_the_one_before_and_wrong_guesses_end_it() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let request = async || {
        server.procedure("com.atproto.server.requestAccountDelete").auth(&alice).send().await.empty();
        server.mailed_code(&alice).await
    };
    let call = async |token: &str| {
        let call = server.procedure("com.atproto.server.deleteAccount").json(&input(&alice, PASSWORD, token));
        call.send().await
    };
    let (first, second) = (request().await, request().await);
    assert_ne!(first, second);
    call(&first).await.error(400, "InvalidToken");
    for _ in 0..9 {
        call("AAAAA-AAAAA").await.error(400, "InvalidToken");
    }
    call(&second).await.error(400, "InvalidToken");
    call(&request().await).await.empty();
}

#[tokio::test]
async fn a_code_of_another_account_or_purpose_opens_nothing() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.create_account("alice").await, server.create_account("bob").await);
    server.procedure("com.atproto.server.requestAccountDelete").auth(&bob).send().await.empty();
    let of_bob = server.mailed_code(&bob).await;
    server.procedure("com.atproto.server.requestEmailConfirmation").auth(&alice).send().await.empty();
    let other_purpose = server.mailed_code(&alice).await;
    server.procedure("com.atproto.server.requestAccountDelete").auth(&alice).send().await.empty();
    for code in [of_bob, other_purpose] {
        let call = server.procedure("com.atproto.server.deleteAccount").json(&input(&alice, PASSWORD, &code));
        call.send().await.error(400, "InvalidToken");
    }
}

#[tokio::test]
async fn neither_code_nor_mail_is_readable_in_the_database() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    server.procedure("com.atproto.server.requestAccountDelete").auth(&alice).send().await.empty();
    let code = server.mailed_code(&alice).await;
    let files = ["rookery.sqlite", "rookery.sqlite-wal"]
        .map(|name| std::fs::read(server.data_dir().join(name)).unwrap());
    for needle in [code.as_bytes(), code.replace('-', "").as_bytes(), b"Account Deletion Requested"] {
        assert!(!files.iter().any(|file| file.windows(needle.len()).any(|window| window == needle)));
    }
}

#[tokio::test]
async fn the_operator_deletes_without_asking() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let call = || server.procedure("com.atproto.admin.deleteAccount").json(&json!({ "did": alice.did }));
    call().auth(&alice).send().await.error(401, "AuthenticationRequired");
    call().admin().send().await.empty();
    // Telling the world once more is fine.
    call().admin().send().await.empty();
    let n: Result<i64, StoreError> = server
        .app
        .store
        .read(|db| Ok(db.query_row("SELECT COUNT(*) FROM account", (), |row| row.get(0))?))
        .await;
    assert_eq!(n.unwrap(), 0);
    let message = server
        .procedure("com.atproto.admin.deleteAccount")
        .admin()
        .json(&json!({ "did": "alice" }))
        .send()
        .await
        .error(400, "InvalidRequest");
    assert!(message.contains("did"), "{message}");
}
