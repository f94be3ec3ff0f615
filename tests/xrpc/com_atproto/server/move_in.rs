//! createAccount with a DID that exists already (MG-1 to MG-3): two servers, one directory.

use rookery::{
    service::{auth::service_token, keys::KeyError},
    store::{StoreError, account},
};
use serde_json::{Value as Json, json};

use super::claims;
use crate::support::{Answer, PASSWORD, TestAccount, TestServer, dns::DnsServer};

const NSID: &str = "com.atproto.server.createAccount";
const NEW_DID: &str = "did:web:new.test";

/// The server that Alice leaves, and the one that she moves to.
async fn two_servers() -> (TestServer, TestServer) {
    let old = TestServer::start().await;
    let plc_url = old.plc_url.clone();
    let new = TestServer::start_with(|settings| {
        settings.plc_url = plc_url;
        settings.service_did = NEW_DID.parse().unwrap();
    })
    .await;
    (old, new)
}

/// What the old server gives out so that the new one knows its account.
async fn proof(old: &TestServer, account: &TestAccount, lxm: &str) -> String {
    let call = old.query("com.atproto.server.getServiceAuth").auth(account).param("aud", NEW_DID);
    call.param("lxm", lxm).send().await.ok()["token"].as_str().unwrap().to_owned()
}

fn input(account: &TestAccount) -> Json {
    let email = format!("{}@example.com", account.handle);
    json!({ "did": account.did, "handle": account.handle, "email": email, "password": PASSWORD })
}

async fn move_in(new: &TestServer, token: &str, input: &Json) -> Answer {
    new.procedure(NSID).bearer(token).json(input).send().await
}

async fn accounts(server: &TestServer) -> usize {
    server.app.accounts.list(0).await.unwrap().len()
}

/// MG-1, MG-2; checklist 42
#[tokio::test]
async fn whoever_holds_the_key_of_a_did_gets_a_deactivated_account_and_nobody_hears_of_it() {
    let (old, new) = two_servers().await;
    let alice = old.create_account("alice").await;
    let token = proof(&old, &alice, NSID).await;
    let output = move_in(&new, &token, &input(&alice)).await.ok();
    assert_eq!((&output["did"], &output["handle"]), (&json!(alice.did), &json!("alice.test")));
    assert_eq!(output["didDoc"]["service"][0]["serviceEndpoint"], old.url, "it still lives over there");
    let access = output["accessJwt"].as_str().unwrap();
    assert_eq!(claims(access)["scope"], "com.atproto.access");

    let session = new.query("com.atproto.server.getSession").bearer(access).send().await.ok();
    assert_eq!((&session["active"], &session["status"]), (&json!(false), &json!("deactivated")));
    let refreshed = output["refreshJwt"].as_str().unwrap();
    new.procedure("com.atproto.server.refreshSession").bearer(refreshed).send().await.ok();
    assert_eq!(*new.app.store.ring().last_seq().borrow(), 0, "no event");

    // Uploads and an import are possible, writing and being read are not.
    let moved = TestAccount { access_jwt: access.to_owned(), ..alice.clone() };
    new.upload(&moved, "text/plain", "hello").await;
    let record = json!({ "repo": alice.did, "collection": "com.example.note", "record": {} });
    let write = new.procedure("com.atproto.repo.createRecord").auth(&moved).json(&record).send().await;
    write.error(401, "AccountDeactivated");
    let head = new.query("com.atproto.sync.getLatestCommit").param("did", &alice.did);
    head.send().await.error(400, "RepoDeactivated");
    let own = new.query("com.atproto.sync.getLatestCommit").param("did", &alice.did).auth(&moved);
    own.send().await.ok();
    let repo = old.query("com.atproto.sync.getRepo").param("did", &alice.did).send().await;
    let import = new.procedure("com.atproto.repo.importRepo").auth(&moved);
    let import = import.body("application/vnd.ipld.car", repo.bytes).send().await;
    assert_eq!(import.status, 200, "{}", import.text());
}

/// The reference notes a date three days ahead and does nothing on it. Here dates are carried out, and an account whose DID
/// has moved already must not go because its owner has not activated it yet.
#[tokio::test]
async fn an_account_that_moves_in_has_an_empty_repo_and_all_the_time_that_it_needs() {
    let (old, new) = two_servers().await;
    let alice = old.create_account("alice").await;
    let token = proof(&old, &alice, NSID).await;
    move_in(&new, &token, &input(&alice)).await.ok();
    let account = new.app.accounts.list(0).await.unwrap().remove(0);
    assert!(account.deactivated_at.is_some() && account.delete_after.is_none());
    assert!(account.repo_id.is_some(), "which an import replaces");
}

#[tokio::test]
async fn a_did_that_is_not_proven_is_refused() {
    let (old, new) = two_servers().await;
    let alice = old.create_account("alice").await;
    let bob = old.create_account("bob").await;
    let said = format!("Missing auth to create account with did: {}", alice.did);
    let anonymous = new.procedure(NSID).json(&input(&alice)).send().await;
    assert_eq!(anonymous.error(401, "AuthenticationRequired"), said);
    let token = proof(&old, &bob, NSID).await;
    assert_eq!(move_in(&new, &token, &input(&alice)).await.error(401, "AuthenticationRequired"), said);

    // Not for this method, not for this server, not a token at all, not a token.
    let token = proof(&old, &alice, "com.atproto.repo.uploadBlob").await;
    move_in(&new, &token, &input(&alice)).await.error(401, "BadJwtLexiconMethod");
    let elsewhere =
        old.query("com.atproto.server.getServiceAuth").auth(&alice).param("aud", "did:web:third.test");
    let elsewhere = elsewhere.param("lxm", NSID).send().await.ok();
    let elsewhere = elsewhere["token"].as_str().unwrap();
    move_in(&new, elsewhere, &input(&alice)).await.error(401, "BadJwtAudience");
    assert_eq!(move_in(&new, &alice.access_jwt, &input(&alice)).await.status, 401);
    assert_eq!(move_in(&new, "garbage", &input(&alice)).await.status, 401);
    let basic = new.procedure(NSID).admin().json(&input(&alice)).send().await;
    assert_eq!(basic.error(401, "AuthenticationRequired"), "Invalid authorization header");

    // Signed by the right DID in the name of a service that it runs: its account is not meant.
    let labeler = token_of(&old, &alice, "#atproto_labeler").await;
    assert_eq!(move_in(&new, &labeler, &input(&alice)).await.status, 401);

    new.advance_secs(120);
    let token = proof(&old, &alice, NSID).await;
    move_in(&new, &token, &input(&alice)).await.error(401, "JwtExpired");
    assert_eq!(accounts(&new).await, 0);
}

/// A token that the account's key has signed, with `fragment` after the issuer.
async fn token_of(server: &TestServer, account: &TestAccount, fragment: &str) -> String {
    let did = account.did.parse().unwrap();
    let account = server.app.store.read(move |db| account::get_by_did(db, &did)).await.unwrap().unwrap();
    let key: Result<_, KeyError> = server.app.keys.signing_key(&account.did).await;
    let now = server.app.clock.now() / 1_000_000;
    let claims = json!({
        "iss": format!("{}{fragment}", account.did),
        "aud": NEW_DID,
        "lxm": NSID,
        "iat": now,
        "exp": now + 60,
    });
    service_token::sign(&key.unwrap(), &claims)
}

/// The order of the reference: what can be said of the input comes before the proof.
#[tokio::test]
async fn the_first_mistake_is_the_one_that_is_named() {
    let (old, new) = two_servers().await;
    let alice = old.create_account("alice").await;
    new.create_account("taken").await;
    let mut wrong = json!({
        "did": alice.did,
        "handle": "al.test",
        "email": "nonsense",
        "password": "x".repeat(257),
        "plcOp": {},
    });
    for (field, right, name, said) in [
        ("plcOp", Json::Null, "InvalidRequest", "Unsupported input: \"plcOp\""),
        ("password", json!(PASSWORD), "InvalidRequest", "Password too long"),
        ("email", json!("alice@example.com"), "InvalidRequest", "not supported"),
        ("handle", json!("taken.test"), "InvalidHandle", "too short"),
        ("handle", json!("alice.test"), "InvalidRequest", "Handle already taken: taken.test"),
    ] {
        let message = new.procedure(NSID).json(&wrong).send().await.error(400, name);
        assert!(message.contains(said), "{message}");
        wrong[field] = right;
    }
    new.procedure(NSID).json(&wrong).send().await.error(401, "AuthenticationRequired");
    wrong["did"] = json!("alice.test");
    let message = new.procedure(NSID).json(&wrong).send().await.error(400, "InvalidRequest");
    assert!(message.contains("did"), "{message}");
}

/// With a DID the handle may stand anywhere, as long as it leads to that DID.
#[tokio::test]
async fn a_handle_elsewhere_comes_along_when_it_names_the_did() {
    let (old, dns) = (TestServer::start().await, DnsServer::start().await);
    let plc_url = old.plc_url.clone();
    let new = TestServer::start_with(|settings| {
        settings.plc_url = plc_url;
        settings.service_did = NEW_DID.parse().unwrap();
        settings.nameservers = vec![dns.address];
    })
    .await;
    let (alice, bob) = (old.create_account("alice").await, old.create_account("bob").await);
    let token = proof(&old, &alice, NSID).await;
    let mut input = input(&alice);
    input["handle"] = json!("Alice.elsewhere");
    for named in [None, Some(&bob.did)] {
        if let Some(did) = named {
            dns.txt("alice.elsewhere", &[&format!("did={did}")]);
        }
        let message = move_in(&new, &token, &input).await.error(400, "InvalidRequest");
        assert_eq!(message, "External handle did not resolve to DID");
    }
    dns.txt("alice.elsewhere", &[&format!("did={}", alice.did)]);
    assert_eq!(move_in(&new, &token, &input).await.ok()["handle"], "alice.elsewhere");
}

#[tokio::test]
async fn moving_in_twice_is_told_so_and_what_an_inactive_account_holds_is_taken() {
    let (old, new) = two_servers().await;
    let alice = old.create_account("alice").await;
    let token = proof(&old, &alice, NSID).await;
    move_in(&new, &token, &input(&alice)).await.ok();
    assert_eq!(
        move_in(&new, &token, &input(&alice)).await.error(400, "AlreadyExists"),
        "Repo already exists"
    );

    // The reference fails with a 500 here.
    let mut other = json!({ "handle": "alice.test", "email": "other@example.com", "password": PASSWORD });
    let message = new.procedure(NSID).json(&other).send().await.error(400, "InvalidRequest");
    assert_eq!(message, "Handle already taken: alice.test");
    other["handle"] = json!("other.test");
    other["email"] = json!("Alice.test@Example.com");
    let message = new.procedure(NSID).json(&other).send().await.error(400, "InvalidRequest");
    assert_eq!(message, "Email already taken: Alice.test@Example.com");
    assert_eq!(accounts(&new).await, 1);
}

#[tokio::test]
async fn of_ten_racing_moves_one_succeeds_and_uses_one_invite() {
    let old = TestServer::start().await;
    let plc_url = old.plc_url.clone();
    let new = TestServer::start_with(|settings| {
        settings.plc_url = plc_url;
        settings.service_did = NEW_DID.parse().unwrap();
        settings.invite_required = true;
    })
    .await;
    let alice = old.create_account("alice").await;
    let token = proof(&old, &alice, NSID).await;
    move_in(&new, &token, &input(&alice)).await.error(400, "InvalidInviteCode");
    let mut input = input(&alice);
    input["inviteCode"] = json!(new.app.accounts.create_invite(10).await.unwrap());
    let answers = futures::future::join_all((0..10).map(|_| move_in(&new, &token, &input))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        answer.error(400, "AlreadyExists");
    }
    let rows = new.app.store.read(|db| {
        let count = |sql: &str| db.query_row(sql, (), |row| row.get::<_, i64>(0));
        Ok::<_, StoreError>([
            count("SELECT COUNT(*) FROM account")?,
            count("SELECT COUNT(*) FROM signing_key")?,
            count("SELECT COUNT(*) FROM refresh_token")?,
            count("SELECT COUNT(*) FROM invite_code_use")?,
            count("SELECT COUNT(*) FROM repo")?,
        ])
    });
    assert_eq!(rows.await.unwrap(), [1, 1, 1, 1, 1], "nothing is left of the others");
}

#[tokio::test]
async fn the_key_that_was_reserved_for_the_did_becomes_the_accounts_own() {
    let (old, new) = two_servers().await;
    let alice = old.create_account("alice").await;
    let reserve = async || {
        let call = new.procedure("com.atproto.server.reserveSigningKey").json(&json!({ "did": alice.did }));
        call.send().await.ok()["signingKey"].as_str().unwrap().to_owned()
    };
    let reserved = reserve().await;
    let token = proof(&old, &alice, NSID).await;
    move_in(&new, &token, &input(&alice)).await.ok();
    let account = new.app.accounts.list(0).await.unwrap().remove(0);
    assert_eq!(new.app.keys.signing_key(&account.did).await.unwrap().public_key().did_key(), reserved);
    assert_ne!(reserve().await, reserved, "the reservation is used up");
}
