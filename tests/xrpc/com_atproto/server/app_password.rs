//! createAppPassword, listAppPasswords, revokeAppPassword, and the sessions that app passwords begin (XR-11).

use rookery::store::StoreError;
use serde_json::{Value as Json, json};

use super::claims;
use crate::support::{Answer, PASSWORD, TestAccount, TestServer};

const CREATE: &str = "com.atproto.server.createAppPassword";
const LIST: &str = "com.atproto.server.listAppPasswords";
const REVOKE: &str = "com.atproto.server.revokeAppPassword";
const REFRESH: &str = "com.atproto.server.refreshSession";
const GET_SESSION: &str = "com.atproto.server.getSession";

async fn create(server: &TestServer, account: &TestAccount, input: Json) -> Answer {
    server.procedure(CREATE).auth(account).json(&input).send().await
}

/// The secret of a new app password.
async fn secret(server: &TestServer, account: &TestAccount, input: Json) -> String {
    text(&create(server, account, input).await.ok(), "password")
}

async fn sign_in(server: &TestServer, identifier: &str, password: &str) -> Answer {
    let input = json!({ "identifier": identifier, "password": password });
    server.procedure("com.atproto.server.createSession").json(&input).send().await
}

async fn refresh(server: &TestServer, token: &str) -> Answer {
    server.procedure(REFRESH).bearer(token).send().await
}

async fn revoke(server: &TestServer, account: &TestAccount, name: &str) {
    let answer = server.procedure(REVOKE).auth(account).json(&json!({ "name": name })).send().await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, String::new()));
}

fn text(output: &Json, field: &str) -> String {
    output[field].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_app_password_is_shown_once_and_signs_in_under_every_name_of_the_account() {
    let server = TestServer::start().await;
    let input = json!({ "handle": "alice.test", "email": "alice@example.com", "password": PASSWORD });
    let output = server.procedure("com.atproto.server.createAccount").json(&input).send().await.ok();
    let alice = TestAccount {
        did: text(&output, "did"),
        handle: text(&output, "handle"),
        access_jwt: text(&output, "accessJwt"),
        refresh_jwt: text(&output, "refreshJwt"),
    };
    let made = create(&server, &alice, json!({ "name": "phone" })).await.ok();
    assert_eq!((&made["name"], &made["privileged"]), (&json!("phone"), &json!(false)));
    let password = text(&made, "password");
    let groups: Vec<_> = password.split('-').map(str::len).collect();
    assert_eq!(groups, [4, 4, 4, 4], "{password}");

    for identifier in ["alice.test", "Alice.TEST", "alice@example.com", alice.did.as_str()] {
        assert_eq!(sign_in(&server, identifier, &password).await.ok()["did"], alice.did, "{identifier}");
    }
    for wrong in [password.to_uppercase(), password.replace('-', ""), format!("{password} ")] {
        sign_in(&server, "alice.test", &wrong).await.error(401, "AuthenticationRequired");
    }
    // It is nobody else's.
    let bob = server.create_account("bob").await;
    sign_in(&server, &bob.handle, &password).await.error(401, "AuthenticationRequired");

    server.advance_secs(1);
    create(&server, &alice, json!({ "name": "laptop", "privileged": true })).await.ok();
    let listed = server.query(LIST).auth(&alice).send().await.ok();
    let named: Vec<_> =
        listed["passwords"].as_array().unwrap().iter().map(|it| (&it["name"], &it["privileged"])).collect();
    assert_eq!(named, [(&json!("laptop"), &json!(true)), (&json!("phone"), &json!(false))], "newest first");
    assert!(listed["passwords"][0].get("password").is_none());
    assert_eq!(listed["passwords"][1]["createdAt"], made["createdAt"]);
    let none = server.query(LIST).auth(&bob).send().await.ok();
    assert_eq!(none, json!({ "passwords": [] }));
}

#[tokio::test]
async fn the_scope_says_what_kind_of_password_it_was_and_lasts_over_refreshes() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    for (input, scope) in [
        (json!({ "name": "a" }), "com.atproto.appPass"),
        (json!({ "name": "b", "privileged": false }), "com.atproto.appPass"),
        (json!({ "name": "c", "privileged": true }), "com.atproto.appPassPrivileged"),
    ] {
        let password = secret(&server, &alice, input).await;
        let mut session = sign_in(&server, "alice.test", &password).await.ok();
        for _ in 0..3 {
            let access = text(&session, "accessJwt");
            assert_eq!(claims(&access)["scope"], scope);
            assert_eq!(claims(&text(&session, "refreshJwt"))["scope"], "com.atproto.refresh");
            server.query(GET_SESSION).bearer(&access).send().await.ok();
            session = refresh(&server, &text(&session, "refreshJwt")).await.ok();
        }
    }
    let own = refresh(&server, &alice.refresh_jwt).await.ok();
    assert_eq!(claims(&text(&own, "accessJwt"))["scope"], "com.atproto.access");
}

/// XR-11. Reading and revoking are for every session, as in the reference.
#[tokio::test]
async fn sessions_of_app_passwords_do_what_programs_need_and_no_more() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    for privileged in [false, true] {
        let name = format!("privileged {privileged}");
        let password = secret(&server, &alice, json!({ "name": name, "privileged": privileged })).await;
        let session = sign_in(&server, "alice.test", &password).await.ok();
        let program = TestAccount { access_jwt: text(&session, "accessJwt"), ..alice.clone() };

        let refused = create(&server, &program, json!({ "name": "another" })).await;
        assert_eq!(refused.error(400, "InvalidToken"), "Bad token scope");
        let codes = server.query("com.atproto.server.getAccountInviteCodes").auth(&program).send().await;
        assert_eq!(codes.error(400, "InvalidToken"), "Bad token scope");
        let import = server.procedure("com.atproto.repo.importRepo").auth(&program);
        let import = import.body("application/vnd.ipld.car", "x").send().await;
        assert_eq!(import.error(400, "InvalidToken"), "Bad token scope");

        server.put_record(&program, "com.example.note/one", json!({ "text": "hello" })).await;
        server.upload(&program, "text/plain", "hello").await;
        server.query(LIST).auth(&program).send().await.ok();
        revoke(&server, &program, "nothing of this name").await;
    }
}

#[tokio::test]
async fn names_are_bounded_and_a_second_one_of_a_name_is_refused_with_advice() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    create(&server, &alice, json!({ "name": "phone" })).await.ok();
    let message = create(&server, &alice, json!({ "name": "phone" })).await.error(400, "InvalidRequest");
    assert!(message.contains("\"phone\" exists already: revoke it"), "{message}");
    let long = "x".repeat(129);
    for (name, said) in [
        (json!(""), "128"),
        (json!("   "), "128"),
        (json!("a\u{7}"), "control"),
        (json!(long), "128"),
        (json!(5), "name"),
        (Json::Null, "name"),
    ] {
        let message = create(&server, &alice, json!({ "name": name })).await.error(400, "InvalidRequest");
        assert!(message.contains(said), "{name}: {message}");
    }
    // A name is free again once it is revoked, and another account's names are its own.
    revoke(&server, &alice, "phone").await;
    create(&server, &alice, json!({ "name": "phone" })).await.ok();
    let bob = server.create_account("bob").await;
    create(&server, &bob, json!({ "name": "phone" })).await.ok();
}

#[tokio::test]
async fn revoking_ends_the_sessions_of_that_password_and_of_no_other() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let phone = secret(&server, &alice, json!({ "name": "phone" })).await;
    let laptop = secret(&server, &alice, json!({ "name": "laptop" })).await;
    let on_phone = sign_in(&server, "alice.test", &phone).await.ok();
    let on_phone = refresh(&server, &text(&on_phone, "refreshJwt")).await.ok();
    let on_laptop = sign_in(&server, "alice.test", &laptop).await.ok();
    for _ in 0..2 {
        revoke(&server, &alice, "phone").await;
    }
    let refused = refresh(&server, &text(&on_phone, "refreshJwt")).await;
    assert_eq!(refused.error(400, "ExpiredToken"), "Token has been revoked");
    sign_in(&server, "alice.test", &phone).await.error(401, "AuthenticationRequired");
    // What was given out for two hours is good for two hours.
    server.query(GET_SESSION).bearer(&text(&on_phone, "accessJwt")).send().await.ok();

    refresh(&server, &text(&on_laptop, "refreshJwt")).await.ok();
    refresh(&server, &alice.refresh_jwt).await.ok();
    // One of the same name later is another one.
    secret(&server, &alice, json!({ "name": "phone", "privileged": true })).await;
    refresh(&server, &text(&on_phone, "refreshJwt")).await.error(400, "ExpiredToken");
}

/// Neither signing in nor its error tells that the app password was the right one.
#[tokio::test]
async fn app_passwords_do_not_open_an_account_that_is_taken_down() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let password = secret(&server, &alice, json!({ "name": "phone" })).await;
    let session = sign_in(&server, "alice.test", &password).await.ok();
    server.take_down(&alice.did).await;
    let right = sign_in(&server, "alice.test", &password).await;
    right.error(401, "AuthenticationRequired");
    let wrong = sign_in(&server, "alice.test", "aaaa-bbbb-cccc-dddd").await;
    assert_eq!(right.bytes, wrong.bytes);
    let input = json!({ "identifier": "alice.test", "password": password, "allowTakendown": true });
    let limited = server.procedure("com.atproto.server.createSession").json(&input).send().await;
    limited.error(401, "AuthenticationRequired");
    refresh(&server, &text(&session, "refreshJwt")).await.error(401, "AccountTakedown");
    create(&server, &alice, json!({ "name": "more" })).await.error(401, "AccountTakedown");
}

#[tokio::test]
async fn app_passwords_open_a_deactivated_account() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let password = secret(&server, &alice, json!({ "name": "phone" })).await;
    server.deactivate(&alice.did).await;
    let session = sign_in(&server, "alice.test", &password).await.ok();
    assert_eq!(session["status"], "deactivated");
    create(&server, &alice, json!({ "name": "more" })).await.ok();
}

/// It is in the database as a keyed hash, and goes with the account.
#[tokio::test]
async fn the_database_does_not_hold_an_app_password() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let password = secret(&server, &alice, json!({ "name": "phone" })).await;
    let did = alice.did.clone();
    let hashes = server.app.store.read(move |db| {
        let mut rows = db.prepare(
            "SELECT hash FROM app_password JOIN account ON account.id = account_id WHERE did = ?1",
        )?;
        let rows = rows.query_map((did,), |row| row.get::<_, Vec<u8>>(0))?;
        Ok::<_, StoreError>(rows.collect::<Result<Vec<_>, _>>()?)
    });
    let hashes = hashes.await.unwrap();
    assert_eq!(hashes.len(), 1);
    let plain = <sha2::Sha256 as sha2::Digest>::digest(password.as_bytes());
    assert_ne!(hashes[0], plain.to_vec(), "keyed");

    let dir = server.data_dir().to_owned();
    server.app.store.close().await;
    for file in ["rookery.sqlite", "rookery.sqlite-wal"] {
        let Ok(bytes) = std::fs::read(dir.join(file)) else { continue };
        for secret in [password.clone(), password.replace('-', "")] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{file}");
        }
    }
}
