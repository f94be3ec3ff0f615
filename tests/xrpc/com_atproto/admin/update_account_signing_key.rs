use atproto::{
    crypto::PublicKey,
    event::Frame,
    repo::{
        Commit,
        car::{Decoder, Item},
    },
    syntax::Did,
};
use futures::future::join_all;
use serde_json::json;

use super::NOBODY;
use crate::support::{Answer, TestAccount, TestServer, firehose::seq};

async fn set(server: &TestServer, did: &str, key: &str) -> Answer {
    let input = json!({ "did": did, "signingKey": key });
    server.procedure("com.atproto.admin.updateAccountSigningKey").admin().json(&input).send().await
}

async fn reserve(server: &TestServer, did: &str) -> String {
    let call = server.procedure("com.atproto.server.reserveSigningKey").json(&json!({ "did": did }));
    call.send().await.ok()["signingKey"].as_str().unwrap().to_owned()
}

/// The commit that a CAR begins with.
fn commit(car: &[u8]) -> Commit {
    let mut decoder = Decoder::new(u64::MAX);
    decoder.push(car);
    decoder.next_item().unwrap();
    let Some(Item::Block { data, .. }) = decoder.next_item().unwrap() else { panic!("no commit") };
    Commit::decode(&data).unwrap()
}

async fn head(server: &TestServer, account: &TestAccount) -> Commit {
    let repo = server.query("com.atproto.sync.getRepo").param("did", &account.did).send().await;
    commit(&repo.bytes)
}

#[tokio::test]
async fn the_account_signs_with_the_key_that_was_reserved_for_it() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    server.put_record(&alice, "com.example.note/a", json!({})).await;
    let (old, before) = (server.published_key(&alice.did).await, head(&server, &alice).await);
    let reserved = reserve(&server, &alice.did).await;
    let new = PublicKey::from_did_key(&reserved).unwrap();
    let last = *server.app.store.ring().last_seq().borrow();
    assert_eq!(set(&server, &alice.did, &reserved).await.status, 200);

    // The DID names it, and the repository is signed with it: the same records under a later commit.
    assert_eq!(server.published_key(&alice.did).await.did_key(), reserved);
    let after = head(&server, &alice).await;
    after.verify(&new).unwrap();
    after.verify(&old).unwrap_err();
    assert_eq!(after.data, before.data);
    assert!(after.rev > before.rev);
    let frames = server.subscribe(&format!("?cursor={last}")).await.take(2).await;
    let [Frame::Identity(identity), Frame::Sync(sync)] = frames.as_slice() else { panic!("{frames:?}") };
    assert_eq!(identity.handle.as_ref().map(|handle| handle.as_str()), Some("alice.test"));
    assert_eq!(sync.rev, after.rev);
    commit(&sync.blocks).verify(&new).unwrap();

    // So are the next ones, and tokens for other services; also after a restart.
    server.put_record(&alice, "com.example.note/b", json!({})).await;
    head(&server, &alice).await.verify(&new).unwrap();
    let server = server.restart().await;
    server.put_record(&alice, "com.example.note/c", json!({})).await;
    head(&server, &alice).await.verify(&new).unwrap();
    let account = server.app.accounts.find(&Did::parse(&alice.did).unwrap()).await.unwrap().unwrap();
    let us = server.app.settings.service_did.to_string();
    let method = "com.atproto.server.createAccount";
    let token = server.app.service_tokens.issue(&account, &us, Some(method), None).await.unwrap();
    server.app.service_tokens.verify(&token, method).await.unwrap();
}

/// What was signed with the old key and waited must not come after the change.
#[tokio::test]
async fn writes_under_way_are_signed_with_the_key_of_their_turn() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let reserved = reserve(&server, &alice.did).await;
    let new = PublicKey::from_did_key(&reserved).unwrap();
    let last = *server.app.store.ring().last_seq().borrow();
    let write = async |number: usize| {
        server.put_record(&alice, &format!("com.example.note/{number}"), json!({})).await
    };
    let writes = (0..40).map(write);
    let (changed, _) = futures::join!(set(&server, &alice.did, &reserved), join_all(writes));
    assert_eq!(changed.status, 200);
    let end = *server.app.store.ring().last_seq().borrow();
    let frames = server.subscribe(&format!("?cursor={last}")).await.read_to(end).await;
    let at = frames.iter().position(|frame| matches!(frame, Frame::Sync(_))).unwrap();
    assert_eq!(frames.iter().filter(|frame| matches!(frame, Frame::Commit(_))).count(), 40);
    for frame in frames.iter().skip(at) {
        let Frame::Commit(event) = frame else { continue };
        commit(&event.blocks).verify(&new).unwrap_or_else(|error| panic!("{:?}: {error}", seq(frame)));
    }
}

#[tokio::test]
async fn an_account_that_is_at_rest_is_changed_without_a_sync() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    server.deactivate(&alice.did).await;
    let reserved = reserve(&server, &alice.did).await;
    let last = *server.app.store.ring().last_seq().borrow();
    assert_eq!(set(&server, &alice.did, &reserved).await.status, 200);
    let end = *server.app.store.ring().last_seq().borrow();
    let frames = server.subscribe(&format!("?cursor={last}")).await.read_to(end).await;
    assert!(matches!(frames.as_slice(), [Frame::Identity(_)]), "{frames:?}");
}

/// It repairs a DID that names another key.
#[tokio::test]
async fn the_own_key_of_the_account_is_published_again() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let own = server.published_key(&alice.did).await.did_key();
    let before = head(&server, &alice).await;
    assert_eq!(set(&server, &alice.did, &own).await.status, 200);
    assert_eq!(head(&server, &alice).await.rev, before.rev);
    server.put_record(&alice, "com.example.note/a", json!({})).await;
}

/// A key whose private half is somewhere else would leave the account without a voice.
#[tokio::test]
async fn a_key_that_is_not_held_here_is_refused_and_changes_nothing() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.create_account("alice").await, server.create_account("bob").await);
    let own = server.published_key(&alice.did).await.did_key();
    let strange = "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme";
    for key in [strange.to_owned(), reserve(&server, &bob.did).await] {
        let message = set(&server, &alice.did, &key).await.error(400, "InvalidRequest");
        assert!(message.contains("reserveSigningKey"), "{message}");
    }
    for key in ["", "nonsense", "did:key:nonsense", "did:plc:ewvi7nxzyoun6zhxrhs64oiz"] {
        set(&server, &alice.did, key).await.error(400, "InvalidRequest");
    }
    set(&server, NOBODY, strange).await.error(400, "AccountNotFound");
    set(&server, "nonsense", strange).await.error(400, "InvalidRequest");
    assert_eq!(server.published_key(&alice.did).await.did_key(), own);
    server.put_record(&alice, "com.example.note/a", json!({})).await;
}

/// PLC first: when the directory does not take it, the account goes on as it was.
#[tokio::test]
async fn a_directory_that_fails_leaves_the_key_as_it_was() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let own = server.published_key(&alice.did).await;
    let reserved = reserve(&server, &alice.did).await;
    let plc_url = server.plc_url.clone();
    let server = server.restart_with(|settings| settings.plc_url = "http://127.0.0.1:1".into()).await;
    set(&server, &alice.did, &reserved).await.error(502, "UpstreamFailure");
    head(&server, &alice).await.verify(&own).unwrap();
    let server = server.restart_with(|settings| settings.plc_url = plc_url).await;
    assert_eq!(set(&server, &alice.did, &reserved).await.status, 200);
}

#[tokio::test]
async fn only_the_operator_may_change_keys() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let input = json!({ "did": alice.did, "signingKey": reserve(&server, &alice.did).await });
    let call = || server.procedure("com.atproto.admin.updateAccountSigningKey").json(&input);
    assert_eq!(call().send().await.status, 401);
    assert_eq!(call().auth(&alice).send().await.status, 401);
}
