//! createSession, getSession, refreshSession, deleteSession.

use std::time::Instant;

use rookery::store::StoreError;
use serde_json::{Value as Json, json};

use super::claims;
use crate::support::{Answer, PASSWORD, TestServer};

const CREATE: &str = "com.atproto.server.createSession";
const GET: &str = "com.atproto.server.getSession";
const REFRESH: &str = "com.atproto.server.refreshSession";
const DELETE: &str = "com.atproto.server.deleteSession";

const ACCESS_SECS: i64 = 120 * 60;
const GRACE_SECS: i64 = 2 * 60 * 60;
const REFRESH_SECS: i64 = 90 * 24 * 60 * 60;

async fn sign_in(server: &TestServer, identifier: &str, password: &str) -> Answer {
    server.procedure(CREATE).json(&json!({ "identifier": identifier, "password": password })).send().await
}

async fn refresh(server: &TestServer, token: &str) -> Answer {
    server.procedure(REFRESH).bearer(token).send().await
}

async fn set(server: &TestServer, did: &str, column: &'static str, value: &'static str) {
    let did = did.to_owned();
    server
        .app
        .store
        .write(move |tx| {
            tx.execute(&format!("UPDATE account SET {column} = {value} WHERE did = ?1"), (did,))?;
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

fn text(output: &Json, field: &str) -> String {
    output[field].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn handle_did_and_address_sign_in_in_any_case() {
    let server = TestServer::start().await;
    let input = json!({ "handle": "alice.test", "email": "alice@example.com", "password": PASSWORD });
    let alice = server.procedure("com.atproto.server.createAccount").json(&input).send().await.ok();
    let did = text(&alice, "did");
    for identifier in ["alice.test", "ALICE.Test", "alice@example.com", "Alice@EXAMPLE.com", &did] {
        let output = sign_in(&server, identifier, PASSWORD).await.ok();
        assert_eq!(output["did"], did, "{identifier}");
        assert_eq!(output["active"], true);
        let session = server.query(GET).bearer(&text(&output, "accessJwt")).send().await.ok();
        assert_eq!(session["handle"], "alice.test");
    }
}

/// Anti-enumeration: body, status and least time are the same.
#[tokio::test]
async fn unknown_accounts_and_wrong_passwords_cannot_be_told_apart() {
    let server = TestServer::start().await;
    server.create_account("alice").await;
    let long = "x".repeat(600);
    let mut bodies = Vec::new();
    for (identifier, password) in [
        ("alice.test", "wrong"),
        ("alice.test", ""),
        ("nobody.test", PASSWORD),
        ("nobody@example.com", PASSWORD),
        ("not an identifier", PASSWORD),
        ("", PASSWORD),
    ] {
        let started = Instant::now();
        let answer = sign_in(&server, identifier, password).await;
        assert!(started.elapsed().as_millis() >= 350, "{identifier}");
        answer.error(401, "AuthenticationRequired");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        bodies.push(answer.bytes);
    }
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]));

    // What no password can be is told, of any account and of none.
    for identifier in ["alice.test", "nobody.test"] {
        let message = sign_in(&server, identifier, &long).await.error(401, "AuthenticationRequired");
        assert!(message.contains("too long"), "{message}");
    }
}

/// XR-10
#[tokio::test]
async fn tokens_hold_the_claims_of_the_reference_and_no_more() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let (access, refresh) = (claims(&alice.access_jwt), claims(&alice.refresh_jwt));
    let keys = |claims: &Json| claims.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&access), ["aud", "exp", "iat", "scope", "sub"]);
    assert_eq!(keys(&refresh), ["aud", "exp", "iat", "jti", "scope", "sub"]);
    assert_eq!(access["aud"], "did:web:localhost");
    assert_eq!(access["sub"], alice.did);
    assert_eq!(access["scope"], "com.atproto.access");
    assert_eq!(refresh["scope"], "com.atproto.refresh");
    let life = |claims: &Json| claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert_eq!((life(&access), life(&refresh)), (ACCESS_SECS, REFRESH_SECS));
}

/// XR-7, XR-10
#[tokio::test]
async fn tokens_that_do_not_open_this_door_are_refused_by_name() {
    let server = TestServer::start().await;
    let other = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let elsewhere = other.create_account("alice").await;
    let get =
        async |authorization: &str| server.query(GET).header("authorization", authorization).send().await;

    let missing = server.query(GET).send().await;
    missing.error(401, "AuthMissing");
    get("").await.error(401, "AuthMissing");
    assert_eq!(missing.header("www-authenticate"), Some("Bearer"));
    for authorization in [
        "Bearer",
        "Bearer ",
        "Bearer a b",
        "Digest abc",
        "Basic YWRtaW46b3BlcmF0b3I6c2VjcmV0",
        "Bearer nonsense",
        "Bearer a.b.c",
        &format!("Bearer {}", alice.refresh_jwt),
        &format!("Bearer {}", elsewhere.access_jwt),
        &format!("Bearer {}x", alice.access_jwt),
    ] {
        get(authorization).await.error(400, "InvalidToken");
    }
    get(&format!("bearer {}", alice.access_jwt)).await.ok();
    refresh(&server, &alice.access_jwt).await.error(400, "InvalidToken");
    server.procedure(DELETE).bearer(&alice.access_jwt).send().await.error(400, "InvalidToken");

    server.advance_secs(ACCESS_SECS + 1);
    assert_eq!(
        get(&format!("Bearer {}", alice.access_jwt)).await.error(400, "ExpiredToken"),
        "Token has expired"
    );
    refresh(&server, &alice.refresh_jwt).await.ok();
}

#[tokio::test]
async fn answers_that_depend_on_the_caller_are_not_for_shared_caches() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    for answer in [server.query(GET).auth(&alice).send().await, server.query(GET).send().await] {
        assert_eq!(answer.header("cache-control"), Some("private"));
        let vary: Vec<_> =
            answer.headers.get_all("vary").iter().map(|value| value.to_str().unwrap()).collect();
        assert!(vary.contains(&"Authorization"), "{vary:?}");
    }
}

/// Checklist 44
#[tokio::test]
async fn racing_refreshes_get_one_successor() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let answers = futures::future::join_all((0..10).map(|_| refresh(&server, &alice.refresh_jwt))).await;
    let jtis: Vec<_> =
        answers.iter().map(|answer| claims(&text(&answer.ok(), "refreshJwt"))["jti"].clone()).collect();
    assert!(jtis.windows(2).all(|pair| pair[0] == pair[1]));
    assert_ne!(jtis[0], claims(&alice.refresh_jwt)["jti"]);
}

#[tokio::test]
async fn a_used_refresh_token_gives_its_successor_for_two_hours() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let first = text(&refresh(&server, &alice.refresh_jwt).await.ok(), "refreshJwt");
    server.advance_secs(GRACE_SECS - 5);
    let again = text(&refresh(&server, &alice.refresh_jwt).await.ok(), "refreshJwt");
    assert_eq!(claims(&first)["jti"], claims(&again)["jti"]);
    server.advance_secs(10);
    assert_eq!(
        refresh(&server, &alice.refresh_jwt).await.error(400, "ExpiredToken"),
        "Token has been revoked"
    );
    refresh(&server, &first).await.ok();
}

#[tokio::test]
async fn signing_out_ends_the_session_and_may_be_repeated() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let next = text(&refresh(&server, &alice.refresh_jwt).await.ok(), "refreshJwt");
    for _ in 0..2 {
        let answer = server.procedure(DELETE).bearer(&next).send().await;
        assert_eq!((answer.status.as_u16(), answer.bytes.len()), (200, 0));
    }
    refresh(&server, &next).await.error(400, "ExpiredToken");
    // Nor does its predecessor bring it back.
    refresh(&server, &alice.refresh_jwt).await.error(400, "ExpiredToken");
}

#[tokio::test]
async fn an_expired_refresh_token_signs_out_but_does_not_refresh() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    server.advance_secs(REFRESH_SECS + 1);
    refresh(&server, &alice.refresh_jwt).await.error(400, "ExpiredToken");
    assert_eq!(server.procedure(DELETE).bearer(&alice.refresh_jwt).send().await.status, 200);
    server.procedure(DELETE).send().await.error(401, "AuthMissing");
}

/// AC-4
#[tokio::test]
async fn a_deactivated_account_signs_in_and_is_told_so() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    set(&server, &alice.did, "deactivated_at", "1").await;
    let output = sign_in(&server, "alice.test", PASSWORD).await.ok();
    assert_eq!((&output["active"], &output["status"]), (&json!(false), &json!("deactivated")));
    server.query(GET).bearer(&text(&output, "accessJwt")).send().await.ok();
    refresh(&server, &text(&output, "refreshJwt")).await.ok();
    server
        .query("com.atproto.identity.resolveHandle")
        .param("handle", "alice.test")
        .send()
        .await
        .error(400, "HandleNotFound");
}

/// AC-4
#[tokio::test]
async fn a_taken_down_account_is_refused_unless_it_asks_for_the_limited_session() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    set(&server, &alice.did, "takedown_ref", "'spam'").await;
    sign_in(&server, "alice.test", PASSWORD).await.error(401, "AccountTakedown");
    sign_in(&server, "alice.test", "wrong").await.error(401, "AuthenticationRequired");
    refresh(&server, &alice.refresh_jwt).await.error(401, "AccountTakedown");
    server.query(GET).auth(&alice).send().await.error(401, "AccountTakedown");

    let input = json!({ "identifier": "alice.test", "password": PASSWORD, "allowTakendown": true });
    let limited = server.procedure(CREATE).json(&input).send().await.ok();
    assert_eq!(limited["status"], "takendown");
    assert_eq!(claims(&text(&limited, "accessJwt"))["scope"], "com.atproto.takendown");
    let answer = server.query(GET).bearer(&text(&limited, "accessJwt")).send().await;
    assert_eq!(answer.error(400, "InvalidToken"), "Bad token scope");
    set(&server, &alice.did, "takedown_ref", "NULL").await;
    refresh(&server, &text(&limited, "refreshJwt")).await.error(400, "ExpiredToken");
}

#[tokio::test]
async fn a_token_of_an_account_that_is_gone_is_403() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    set(&server, &alice.did, "did", "'did:plc:ewvi7nxzyoun6zhxrhs64oiz'").await;
    server.query(GET).auth(&alice).send().await.error(403, "AccountNotFound");
    refresh(&server, &alice.refresh_jwt).await.error(400, "InvalidRequest");
}

/// Nothing that opens a session is in the database as it is.
#[tokio::test]
async fn the_database_holds_neither_tokens_nor_passwords() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let jti = claims(&alice.refresh_jwt)["jti"].as_str().unwrap().to_owned();
    let dir = server.app.store.data_dir().to_owned();
    server.app.store.close().await;
    for file in ["rookery.sqlite", "rookery.sqlite-wal"] {
        let Ok(bytes) = std::fs::read(dir.join(file)) else {
            continue;
        };
        for secret in [jti.as_str(), PASSWORD, &alice.access_jwt] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{file}");
        }
    }
}
