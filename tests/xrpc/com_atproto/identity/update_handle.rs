use rookery::{
    service::{account::handle_policy::Asker, word_filter::WordFilter},
    store::StoreError,
};
use serde_json::{Value as Json, json};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::path};

use super::{gated, handle_of, identities_after, last_seq, operations, plc_data};
use crate::support::{Answer, TestAccount, TestServer, dns::DnsServer, plc_gate::Gate};

const NSID: &str = "com.atproto.identity.updateHandle";

async fn update(server: &TestServer, account: &TestAccount, handle: &str) -> Answer {
    server.procedure(NSID).auth(account).json(&json!({ "handle": handle })).send().await
}

/// HN-11: directory, account, cache and firehose say the same.
#[tokio::test]
async fn a_new_handle_is_published_stored_and_announced() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let before = last_seq(&server);
    let answer = update(&server, &alice, "Bob.TEST").await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, ""));

    assert_eq!(plc_data(&server, &alice.did).await["alsoKnownAs"], json!(["at://bob.test"]));
    let repo = server.query("com.atproto.repo.describeRepo").param("repo", "bob.test").send().await.ok();
    assert_eq!((&repo["did"], &repo["handle"]), (&json!(alice.did), &json!("bob.test")));
    assert_eq!(repo["handleIsCorrect"], true);
    let gone = server.query("com.atproto.identity.resolveHandle").param("handle", "alice.test").send().await;
    gone.error(400, "HandleNotFound");
    let [event] = &identities_after(&server, before)[..] else { panic!("one event") };
    assert_eq!((event.did.as_str(), event.handle.as_ref().unwrap().as_str()), (&*alice.did, "bob.test"));
    // The old one is free.
    server.create_account("alice").await;
}

/// Checklist 35: consumers that missed the event can be told again.
#[tokio::test]
async fn the_same_handle_is_announced_again_without_an_operation() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let before = last_seq(&server);
    assert_eq!(update(&server, &alice, "alice.test").await.status, 200);
    assert_eq!(identities_after(&server, before).len(), 1);
    assert_eq!(operations(&server, &alice.did).await, 1);
}

#[tokio::test]
async fn a_deactivated_account_may_and_a_taken_down_one_may_not() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.create_account("alice").await, server.create_account("bob").await);
    server.deactivate(&alice.did).await;
    assert_eq!(update(&server, &alice, "carol.test").await.status, 200);
    server.take_down(&bob.did).await;
    update(&server, &bob, "dave.test").await.error(401, "AccountTakedown");
}

/// HN-3, HN-11
#[tokio::test]
async fn handles_outside_the_policy_are_refused_by_name() {
    let server =
        TestServer::start_with(|settings| settings.words = WordFilter::parse("grimble").unwrap()).await;
    let alice = server.create_account("alice").await;
    server.create_account("bob").await;
    for (handle, name, message) in [
        ("al.test", "InvalidHandle", "Handle too short"),
        ("nineteen-chars-abcd.test", "InvalidHandle", "Handle too long"),
        ("alice.bob.test", "InvalidHandle", "Invalid characters in handle"),
        ("alice.local", "InvalidHandle", "Handle TLD is invalid or disallowed"),
        ("gr1mble.test", "InvalidHandle", "Inappropriate language in handle"),
        ("admin.test", "HandleNotAvailable", "Reserved handle"),
        ("bob.test", "HandleNotAvailable", "Handle already taken: bob.test"),
    ] {
        assert_eq!(update(&server, &alice, handle).await.error(400, name), message, "{handle}");
    }
    for handle in ["", "alice", "-a.test", "a_b.test", "did:plc:abc"] {
        assert!(update(&server, &alice, handle).await.error(400, "InvalidRequest").contains("handle"));
    }
    assert_eq!(operations(&server, &alice.did).await, 1);
    let message = server.procedure("com.atproto.server.createAccount").json(&json!({
        "handle": "grimble.test", "email": "a@example.com", "password": "long enough",
    }));
    message.send().await.error(400, "InvalidHandle");
    let handle = "grimble.test".parse().unwrap();
    server.app.accounts.check_handle(&handle, None, Asker::Operator).await.unwrap();
}

/// The list of words is for record keys that people choose, too.
#[tokio::test]
async fn a_record_key_with_a_word_of_the_list_is_refused() {
    let server =
        TestServer::start_with(|settings| settings.words = WordFilter::parse("*grimble*").unwrap()).await;
    let alice = server.create_account("alice").await;
    let write = |method: &str, rkey: &str| {
        let input =
            json!({ "repo": alice.did, "collection": "com.example.note", "rkey": rkey, "record": {} });
        server.procedure(&format!("com.atproto.repo.{method}")).auth(&alice).json(&input).send()
    };
    for method in ["createRecord", "putRecord"] {
        let message = write(method, "a-gr1mble").await.error(400, "InvalidRequest");
        assert!(message.contains("rkey"), "{message}");
    }
    assert_eq!(write("createRecord", "harmless").await.status, 200);
}

/// A handle elsewhere has to lead here first.
#[tokio::test]
async fn a_handle_elsewhere_has_to_name_the_did() {
    let dns = DnsServer::start().await;
    let server = TestServer::start_with(|settings| settings.nameservers = vec![dns.address]).await;
    let (alice, bob) = (server.create_account("alice").await, server.create_account("bob").await);
    let message = update(&server, &alice, "alice.elsewhere").await.error(400, "InvalidRequest");
    assert_eq!(message, "External handle did not resolve to DID");
    dns.txt("alice.elsewhere", &[&format!("did={}", bob.did)]);
    update(&server, &alice, "alice.elsewhere").await.error(400, "InvalidRequest");
    dns.txt("alice.elsewhere", &[&format!("did={}", alice.did)]);
    assert_eq!(update(&server, &alice, "alice.elsewhere").await.status, 200);
    assert_eq!(handle_of(&server, &alice.did).await, "alice.elsewhere");
    // At sign-up there is no DID that it could name.
    let message = server.procedure("com.atproto.server.createAccount").json(&json!({
        "handle": "carol.elsewhere", "email": "carol@example.com", "password": "long enough",
    }));
    message.send().await.error(400, "UnsupportedDomain");
}

/// "A PLC failure leaves the handle as it was."
#[tokio::test]
async fn a_directory_that_fails_or_refuses_changes_nothing() {
    let (server, gate) = gated().await;
    let alice = server.create_account("alice").await;
    let before = last_seq(&server);
    for (state, status, name) in
        [(Gate::Shut, 502, "UpstreamFailure"), (Gate::Refusing, 400, "InvalidRequest")]
    {
        gate.set(state);
        update(&server, &alice, "bob.test").await.error(status, name);
        gate.set(Gate::Open);
        assert_eq!(handle_of(&server, &alice.did).await, "alice.test", "{state:?}");
        assert_eq!(plc_data(&server, &alice.did).await["alsoKnownAs"], json!(["at://alice.test"]));
    }
    assert!(identities_after(&server, before).is_empty());
    // Nobody is kept from trying again.
    assert_eq!(update(&server, &alice, "bob.test").await.status, 200);
}

/// PL-19: a lost answer is not a no.
#[tokio::test]
async fn when_the_answer_is_lost_the_log_of_the_directory_decides() {
    let (server, gate) = gated().await;
    let alice = server.create_account("alice").await;
    gate.set(Gate::LosingAnswers);
    assert_eq!(update(&server, &alice, "bob.test").await.status, 200);
    assert_eq!(handle_of(&server, &alice.did).await, "bob.test");
}

/// The directory has taken it, our own row cannot be written: the directory is told the old handle again.
#[tokio::test]
async fn a_commit_that_fails_after_the_directory_is_undone_there() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    forbid(&server, "UPDATE OF handle ON account").await;
    update(&server, &alice, "bob.test").await.error(500, "InternalServerError");
    assert_eq!(plc_data(&server, &alice.did).await["alsoKnownAs"], json!(["at://alice.test"]));
    assert_eq!(operations(&server, &alice.did).await, 3);
    assert_eq!(handle_of(&server, &alice.did).await, "alice.test");
    // Nobody holds the handle any more.
    server.create_account("bob").await;
}

/// Makes the database refuse a kind of change.
pub(super) async fn forbid(server: &TestServer, change: &'static str) {
    let sql = format!(
        "CREATE TRIGGER forbidden BEFORE {change} BEGIN SELECT RAISE(ABORT, 'forbidden by the test'); END"
    );
    server.app.store.write(move |tx| Ok::<_, StoreError>(tx.execute_batch(&sql)?)).await.unwrap();
}

#[tokio::test]
async fn of_ten_who_want_one_handle_one_gets_it_and_the_directory_knows_of_one() {
    let server = TestServer::start().await;
    let mut accounts = Vec::new();
    for number in 0..10 {
        accounts.push(server.create_account(&format!("racer{number}")).await);
    }
    let answers =
        futures::future::join_all(accounts.iter().map(|account| update(&server, account, "prized.test")));
    let answers = answers.await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    for (account, answer) in accounts.iter().zip(&answers) {
        let aliases = plc_data(&server, &account.did).await["alsoKnownAs"].clone();
        if answer.status == 200 {
            assert_eq!(aliases, json!(["at://prized.test"]));
        } else {
            answer.error(400, "HandleNotAvailable");
            assert_eq!(aliases, json!([format!("at://{}", account.handle)]));
        }
    }
}

/// Other aliases and other rotation keys are the owner's business.
#[tokio::test]
async fn only_the_handle_of_the_did_changes() {
    let server = TestServer::start().await;
    let mut input = server.sign_up("alice");
    let key = atproto::crypto::SigningKey::from_bytes(atproto::crypto::Curve::P256, &[1; 32]).unwrap();
    input["recoveryKey"] = key.public_key().did_key().into();
    let output = server.procedure("com.atproto.server.createAccount").json(&input).send().await.ok();
    let did = output["did"].as_str().unwrap();
    let before = plc_data(&server, did).await;
    let token = output["accessJwt"].as_str().unwrap();
    let call = server.procedure(NSID).bearer(token).json(&json!({ "handle": "bob.test" }));
    assert_eq!(call.send().await.status, 200);
    let mut after = plc_data(&server, did).await;
    after["alsoKnownAs"] = before["alsoKnownAs"].clone();
    assert_eq!(after, before);
}

/// A did:web of the owner's own: its document has to say so first.
#[tokio::test]
async fn the_document_of_a_did_web_has_to_name_the_new_handle() {
    let (server, host) = (TestServer::start().await, MockServer::start().await);
    let did = format!("did:web:localhost%3A{}", host.address().port());
    let adoption = rookery::service::account::create::Adoption {
        did: did.parse().unwrap(),
        handle: Some("alice.test".parse().unwrap()),
        email: None,
        password: Some("long enough".to_owned().into()),
    };
    server.app.accounts.adopt(adoption).await.unwrap();
    let login = json!({ "identifier": "alice.test", "password": "long enough" });
    let session = server.procedure("com.atproto.server.createSession").json(&login).send().await.ok();
    let update = || {
        let token = session["accessJwt"].as_str().unwrap();
        server.procedure(NSID).bearer(token).json(&json!({ "handle": "bob.test" })).send()
    };
    let says = async |aliases: Json| {
        host.reset().await;
        let answer = ResponseTemplate::new(200).set_body_json(json!({ "id": did, "alsoKnownAs": aliases }));
        Mock::given(path("/.well-known/did.json")).respond_with(answer).mount(&host).await;
    };
    says(json!(["at://alice.test"])).await;
    let message = update().await.error(400, "InvalidRequest");
    assert_eq!(message, "DID is not properly configured for handle");
    says(json!(["at://bob.test"])).await;
    assert_eq!(update().await.status, 200);
}

#[tokio::test]
async fn the_caller_has_to_be_signed_in() {
    let server = TestServer::start().await;
    let call = server.procedure(NSID).json(&json!({ "handle": "bob.test" }));
    call.send().await.error(401, "AuthMissing");
}
