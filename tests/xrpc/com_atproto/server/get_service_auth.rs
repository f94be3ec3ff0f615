use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::{claims, part};
use crate::support::{Answer, PASSWORD, TestAccount, TestServer};

const NSID: &str = "com.atproto.server.getServiceAuth";
const OURS: &str = "did:web:localhost";
const UPLOAD: &str = "com.atproto.repo.uploadBlob";

async fn ask(server: &TestServer, token: &str, params: &[(&str, &str)]) -> Answer {
    let call =
        params.iter().fold(server.query(NSID).bearer(token), |call, (name, value)| call.param(name, value));
    call.send().await
}

fn now_secs() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// The access token of a new app password.
async fn program(server: &TestServer, account: &TestAccount, privileged: bool) -> String {
    let input = json!({ "name": format!("privileged {privileged}"), "privileged": privileged });
    let made =
        server.procedure("com.atproto.server.createAppPassword").auth(account).json(&input).send().await;
    let input = json!({ "identifier": account.did, "password": made.ok()["password"] });
    let session = server.procedure("com.atproto.server.createSession").json(&input).send().await.ok();
    session["accessJwt"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_token_says_who_for_whom_what_for_and_until_when_and_is_signed_by_the_repo_key() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let output = ask(&server, &alice.access_jwt, &[("aud", OURS), ("lxm", UPLOAD)]).await.ok();
    let token = output["token"].as_str().unwrap();
    assert_eq!(part(token, 0), json!({ "typ": "JWT", "alg": "ES256K" }));
    let said = claims(token);
    assert_eq!((&said["iss"], &said["aud"], &said["lxm"]), (&json!(alice.did), &json!(OURS), &json!(UPLOAD)));
    assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), 60);
    let verified = server.app.service_tokens.verify(token, UPLOAD).await.unwrap();
    assert_eq!(verified.iss.as_str(), alice.did);
    assert_eq!(said["jti"].as_str().unwrap().len(), 32);
    let again = ask(&server, &alice.access_jwt, &[("aud", OURS), ("lxm", UPLOAD)]).await.ok();
    assert_ne!(claims(again["token"].as_str().unwrap())["jti"], said["jti"]);

    let output = ask(&server, &alice.access_jwt, &[("aud", "did:web:api.bsky.app#bsky_appview")]).await.ok();
    let said = claims(output["token"].as_str().unwrap());
    assert_eq!(said["aud"], "did:web:api.bsky.app#bsky_appview", "as it was asked for");
    assert!(said.get("lxm").is_none());
}

#[tokio::test]
async fn an_audience_is_a_did_or_a_service_of_one() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    for aud in
        ["example.com", "did:key:abc", "did:web:example.com:path", "did:web:example.com#", "did:plc:short"]
    {
        let message = ask(&server, &alice.access_jwt, &[("aud", aud)]).await.error(400, "InvalidRequest");
        assert!(message.contains("aud must be"), "{aud}: {message}");
    }
    let long = format!("did:web:{}.com", "a".repeat(2048));
    let message = ask(&server, &alice.access_jwt, &[("aud", &long)]).await.error(400, "InvalidRequest");
    assert!(message.contains("aud") && message.contains("2048"), "{message}");
    // Parameters are looked at before the caller.
    server.query(NSID).send().await.error(400, "InvalidRequest");
    server
        .query(NSID)
        .param("aud", OURS)
        .param("lxm", "not an nsid")
        .send()
        .await
        .error(400, "InvalidRequest");
    server.query(NSID).param("aud", OURS).send().await.error(401, "AuthMissing");
}

/// Checklist 52
#[tokio::test]
async fn a_token_lives_an_hour_for_one_method_and_a_minute_for_all() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    for (from_now, lxm, refusal) in [
        (-60, Some(UPLOAD), Some("expiration is in past")),
        (-60, None, Some("expiration is in past")),
        (50, None, None),
        (50, Some(UPLOAD), None),
        (70, None, Some("more than a minute")),
        (3590, Some(UPLOAD), None),
        (3610, Some(UPLOAD), Some("more than an hour")),
        (3610, None, Some("more than an hour")),
        (now_secs() * 999, Some(UPLOAD), Some("more than an hour")),
    ] {
        let exp = (now_secs() + from_now).to_string();
        let mut params = vec![("aud", OURS), ("exp", exp.as_str())];
        params.extend(lxm.map(|lxm| ("lxm", lxm)));
        let answer = ask(&server, &alice.access_jwt, &params).await;
        match refusal {
            None => assert_eq!(claims(answer.ok()["token"].as_str().unwrap())["exp"].to_string(), exp),
            Some(said) => {
                let message = answer.error(400, "BadExpiration");
                assert!(message.contains(said), "{from_now} {lxm:?}: {message}");
            }
        }
    }
    for exp in ["0", "-1"] {
        ask(&server, &alice.access_jwt, &[("aud", OURS), ("exp", exp)]).await.error(400, "BadExpiration");
    }
    for exp in ["soon", "1.5", "99999999999999999999"] {
        ask(&server, &alice.access_jwt, &[("aud", OURS), ("exp", exp)]).await.error(400, "InvalidRequest");
    }
}

/// Checklist 10
#[tokio::test]
async fn no_token_is_issued_for_methods_of_the_account_itself_in_any_case() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    for lxm in [
        "com.atproto.admin.sendEmail",
        "com.atproto.identity.signPlcOperation",
        "com.atproto.identity.updateHandle",
        "com.atproto.server.createAppPassword",
        "com.atproto.server.createapppassword",
        "com.atproto.server.getSession",
        "com.atproto.server.GETSESSION",
        "com.atproto.server.updateEmail",
    ] {
        let message = ask(&server, &alice.access_jwt, &[("aud", OURS), ("lxm", lxm)]).await;
        let message = message.error(400, "InvalidRequest");
        assert!(message.ends_with(&format!("protected method: {lxm}")), "{message}");
    }
}

#[tokio::test]
async fn private_messages_and_moving_away_need_a_privileged_session() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let (plain, privileged) = (program(&server, &alice, false).await, program(&server, &alice, true).await);
    for lxm in [
        "chat.bsky.convo.getLog",
        "chat.bsky.convo.getlog",
        "com.atproto.server.createAccount",
        "com.atproto.server.createaccount",
    ] {
        let params = [("aud", OURS), ("lxm", lxm)];
        let message = ask(&server, &plain, &params).await.error(400, "InvalidRequest");
        assert!(message.starts_with("insufficient access") && message.ends_with(lxm), "{message}");
        ask(&server, &privileged, &params).await.ok();
        ask(&server, &alice.access_jwt, &params).await.ok();
    }
    ask(&server, &plain, &[("aud", OURS), ("lxm", "app.bsky.feed.getTimeline")]).await.ok();
    ask(&server, &plain, &[("aud", OURS)]).await.ok();
}

/// AC-4: the one thing that an account that is taken down may prove is that it moves away.
#[tokio::test]
async fn an_account_that_is_taken_down_gets_a_token_for_moving_away_alone() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    server.take_down(&alice.did).await;
    let input = json!({ "identifier": alice.did, "password": PASSWORD, "allowTakendown": true });
    let limited = server.procedure("com.atproto.server.createSession").json(&input).send().await.ok();
    let limited = limited["accessJwt"].as_str().unwrap();
    ask(&server, limited, &[("aud", OURS), ("lxm", "com.atproto.server.createAccount")]).await.ok();
    for lxm in [None, Some("com.atproto.server.createaccount"), Some(UPLOAD), Some("chat.bsky.convo.getLog")]
    {
        let mut params = vec![("aud", OURS)];
        params.extend(lxm.map(|lxm| ("lxm", lxm)));
        let message = ask(&server, limited, &params).await.error(400, "InvalidToken");
        assert_eq!(message, "Bad token scope", "{lxm:?}");
    }
}

/// MG-12
#[tokio::test]
async fn a_deactivated_account_gets_tokens() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    server.deactivate(&alice.did).await;
    ask(&server, &alice.access_jwt, &[("aud", OURS), ("lxm", UPLOAD)]).await.ok();
}
