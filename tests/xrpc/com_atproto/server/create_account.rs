use atproto::{event::Frame, plc};
use rookery::{
    service::{account::create::Adoption, identity::PlcClient},
    store::{StoreError, account, dev_plc_operation},
};
use serde_json::{Value as Json, json};

use crate::support::{PASSWORD, TestServer};

const NSID: &str = "com.atproto.server.createAccount";

#[tokio::test]
async fn a_sign_up_makes_a_did_an_account_and_a_session() {
    let server = TestServer::start().await;
    let input = json!({ "handle": "Alice.test", "email": "Alice@Example.com", "password": PASSWORD });
    let answer = server.procedure(NSID).json(&input).send().await;
    assert_eq!(answer.header("cache-control"), Some("private"));
    let output = answer.ok();
    assert_eq!(output["handle"], "alice.test");
    let did = output["did"].as_str().unwrap();

    // PL-17: the document that the directory gives names handle and server.
    assert_eq!(output["didDoc"]["id"], did);
    assert_eq!(output["didDoc"]["alsoKnownAs"], json!(["at://alice.test"]));
    assert_eq!(output["didDoc"]["service"][0]["serviceEndpoint"], server.url);

    let token = output["accessJwt"].as_str().unwrap();
    let session = server.query("com.atproto.server.getSession").bearer(token).send().await.ok();
    assert_eq!(session["did"], did);
    assert_eq!(session["email"], "alice@example.com");
    assert_eq!(session["emailConfirmed"], false);
    assert_eq!(session["active"], true);
    let refresh = output["refreshJwt"].as_str().unwrap();
    server.procedure("com.atproto.server.refreshSession").bearer(refresh).send().await.ok();
}

/// PL-8, PL-18: the owner's key stands before the operator's, and that before the server's.
#[tokio::test]
async fn rotation_keys_stand_in_descending_authority() {
    let key = |seed: u8| {
        let key = atproto::crypto::SigningKey::from_bytes(atproto::crypto::Curve::K256, &[seed; 32]).unwrap();
        key.public_key().did_key()
    };
    let server = TestServer::start_with(|settings| settings.recovery_did_key = Some(key(2))).await;
    let mut input = server.sign_up("alice");
    input["recoveryKey"] = key(1).into();
    let output = server.procedure(NSID).json(&input).send().await.ok();
    let did = output["did"].as_str().unwrap().parse().unwrap();
    let data = PlcClient::new(&server.plc_url).data(&did).await.unwrap().unwrap();
    let own = server.app.keys.plc_rotation_key().await.unwrap().public_key().did_key();
    assert_eq!(data["rotationKeys"], json!([key(1), key(2), own]));
    assert_ne!(data["verificationMethods"]["atproto"], own, "signing and rotation key differ");
}

/// AC-9, and checklist 33: identity, account, commit, sync.
#[tokio::test]
async fn a_new_account_is_announced_in_four_events() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let frames = server.app.store.ring().after(0, 10, 1 << 20).unwrap();
    let frames: Vec<_> = frames.iter().map(|(_, frame)| Frame::decode(frame).unwrap()).collect();
    match frames.as_slice() {
        [Frame::Identity(identity), Frame::Account(account), Frame::Commit(commit), Frame::Sync(sync)] => {
            assert_eq!(identity.did.as_str(), alice.did);
            assert_eq!(identity.handle.as_ref().unwrap().as_str(), "alice.test");
            assert_eq!((account.active, &account.status), (true, &None));
            assert_eq!((commit.since, commit.prev_data, commit.ops.len()), (None, None, 0));
            assert_eq!(commit.rev, sync.rev);
            let did = alice.did.parse().unwrap();
            let document =
                server.app.did_resolver.resolve(&did, rookery::service::identity::Freshness::Forced);
            let key = document.await.unwrap().signing_key().unwrap().unwrap();
            atproto::repo::verify_commit_event(commit, Some(&key)).unwrap();
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn sign_ups_that_cannot_be_served_say_why() {
    let server = TestServer::start().await;
    server
        .procedure(NSID)
        .json(&json!({ "handle": "taken.test", "email": "Taken@example.com", "password": "x" }))
        .send()
        .await
        .ok();
    let long = "x".repeat(257);
    for (field, value, name, said) in [
        ("handle", json!("no"), "InvalidRequest", "handle"),
        ("handle", json!("a b.test"), "InvalidRequest", "handle"),
        ("handle", json!(5), "InvalidRequest", "handle"),
        ("handle", Json::Null, "InvalidRequest", "handle"),
        ("handle", json!("al.test"), "InvalidHandle", "too short"),
        ("handle", json!("nineteen-characters.test"), "InvalidHandle", "too long"),
        ("handle", json!("a.b.c.test"), "InvalidHandle", "Invalid characters"),
        ("handle", json!("alice.local"), "InvalidHandle", "TLD"),
        ("handle", json!("admin.test"), "HandleNotAvailable", "Reserved"),
        ("handle", json!("alice.example.com"), "UnsupportedDomain", "domain"),
        ("handle", json!("TAKEN.test"), "InvalidRequest", "Handle already taken: taken.test"),
        ("email", json!("TAKEN@Example.com"), "InvalidRequest", "Email already taken: TAKEN@Example.com"),
        ("email", json!("nonsense"), "InvalidRequest", "not supported"),
        ("email", json!("alice@Mailinator.com"), "InvalidRequest", "not supported"),
        ("email", Json::Null, "InvalidRequest", "Email is required"),
        ("password", json!(long), "InvalidRequest", "too long"),
        ("recoveryKey", json!("did:key:nonsense"), "InvalidRequest", "recoveryKey"),
        ("did", json!("ewvi7nxzyoun6zhxrhs64oiz"), "InvalidRequest", "did"),
        ("plcOp", json!({}), "InvalidRequest", "plcOp"),
    ] {
        let mut input = json!({ "handle": "fresh.test", "email": "fresh@example.com", "password": PASSWORD });
        input[field] = value;
        let message = server.procedure(NSID).json(&input).send().await.error(400, name);
        assert!(message.contains(said), "{field} {message}");
    }
    assert_eq!(server.app.accounts.list(0).await.unwrap().len(), 1, "nothing is left of refused sign-ups");
}

/// Every DID of the directory's log, with whether it is tombstoned.
async fn registered(server: &TestServer) -> Vec<bool> {
    server
        .app
        .store
        .read(|db| {
            let mut statement = db.prepare("SELECT DISTINCT did FROM dev_plc_operation")?;
            let dids =
                statement.query_map((), |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
            dids.iter()
                .map(|did| {
                    let log = dev_plc_operation::list(db, did)?;
                    let last = serde_json::from_str(&log.last().unwrap().operation).unwrap();
                    Ok(plc::Operation::from_json(&last).unwrap().data().is_none())
                })
                .collect::<Result<_, StoreError>>()
        })
        .await
        .unwrap()
}

/// PL-19
#[tokio::test]
async fn of_ten_racing_sign_ups_for_one_handle_one_succeeds_and_nothing_is_left_of_the_others() {
    let server = TestServer::start().await;
    let inputs: Vec<_> = (0..10).map(|_| server.sign_up("alice")).collect();
    let calls = inputs.iter().map(|input| server.procedure(NSID).json(input).send());
    let answers = futures::future::join_all(calls).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!(won.len(), 1);
    for answer in lost {
        assert_eq!(answer.error(400, "InvalidRequest"), "Handle already taken: alice.test");
    }
    assert_eq!(registered(&server).await.iter().filter(|tombstoned| !**tombstoned).count(), 1);
    let (accounts, events) = server
        .app
        .store
        .read(|db| {
            Ok::<_, StoreError>((
                account::list(db, 0, 100)?.len(),
                db.query_row("SELECT COUNT(*) FROM repo_seq", (), |row| row.get::<_, i64>(0))?,
            ))
        })
        .await
        .unwrap();
    assert_eq!((accounts, events), (1, 4));
}

#[tokio::test]
async fn of_racing_uses_of_an_invite_for_one_exactly_one_succeeds() {
    let server = TestServer::start_with(|settings| settings.invite_required = true).await;
    server.procedure(NSID).json(&server.sign_up("nobody")).send().await.error(400, "InvalidInviteCode");
    let code = server.app.accounts.create_invite(1).await.unwrap();
    assert!(code.starts_with("localhost-") && code.len() == "localhost-abcde-fghij".len(), "{code}");
    let inputs: Vec<_> = (0..10)
        .map(|number| {
            let mut input = server.sign_up(&format!("person-{number}"));
            input["inviteCode"] = code.clone().into();
            input
        })
        .collect();
    let calls = inputs.iter().map(|input| server.procedure(NSID).json(input).send());
    let answers = futures::future::join_all(calls).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        answer.error(400, "InvalidInviteCode");
    }
    assert_eq!(registered(&server).await.iter().filter(|tombstoned| !**tombstoned).count(), 1);
}

#[tokio::test]
async fn a_directory_that_cannot_be_reached_is_a_502_and_leaves_nothing() {
    // Nothing listens on port 9 of loopback.
    let server = TestServer::start_with(|settings| settings.plc_url = "http://127.0.0.1:9".into()).await;
    server.procedure(NSID).json(&server.sign_up("alice")).send().await.error(502, "UpstreamFailure");
    assert!(server.app.accounts.list(0).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_the_directory_refuses_is_a_400_with_its_message() {
    let directory = wiremock::MockServer::start().await;
    wiremock::Mock::given(wiremock::matchers::method("POST"))
        .respond_with(
            wiremock::ResponseTemplate::new(400).set_body_json(json!({ "message": "too many operations" })),
        )
        .expect(1)
        .mount(&directory)
        .await;
    let server = TestServer::start_with(|settings| settings.plc_url = directory.uri()).await;
    let message =
        server.procedure(NSID).json(&server.sign_up("alice")).send().await.error(400, "InvalidRequest");
    assert!(message.contains("too many operations"), "{message}");
}

/// An account that moves in makes no noise until it is activated.
#[tokio::test]
async fn an_adopted_account_is_deactivated_and_silent() {
    let server = TestServer::start().await;
    let did: atproto::syntax::Did = "did:plc:ewvi7nxzyoun6zhxrhs64oiz".parse().unwrap();
    let adoption = || Adoption { did: did.clone(), handle: None, email: None, password: None };
    let account = server.app.accounts.adopt(adoption()).await.unwrap();
    assert_eq!(account.status(), account::Status::Deactivated);
    assert_eq!(account.repo_id, None);
    server.app.keys.signing_key(&account.did).await.unwrap();
    assert!(server.app.accounts.adopt(adoption()).await.unwrap_err().to_string().contains("already exists"));
    assert_eq!(*server.app.store.ring().last_seq().borrow(), 0);
    assert!(registered(&server).await.is_empty());
}
