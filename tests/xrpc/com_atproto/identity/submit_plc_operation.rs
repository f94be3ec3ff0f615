use atproto::{
    crypto::{Curve, SigningKey},
    plc::{Operation, PlcData},
};
use rookery::service::{account::pending::Settle, identity::PlcClient};
use serde_json::{Value as Json, json};

use super::{gated, identities_after, last_seq, operations, plc_data};
use crate::support::{Answer, TestAccount, TestServer, plc_gate::Gate};

const NSID: &str = "com.atproto.identity.submitPlcOperation";

async fn submit(server: &TestServer, account: &TestAccount, operation: &Json) -> Answer {
    server.procedure(NSID).auth(account).json(&json!({ "operation": operation })).send().await
}

/// An operation that follows the last one, changed and signed with the server's rotation key.
async fn operation(server: &TestServer, did: &str, change: impl FnOnce(&mut PlcData)) -> Json {
    let last = PlcClient::new(&server.plc_url).last_operation(&did.parse().unwrap()).await.unwrap().unwrap();
    let mut data = last.data().unwrap();
    change(&mut data);
    let key = server.app.keys.plc_rotation_key().await.unwrap();
    Operation::sign(data, Some(&last.cid()), &key).to_json()
}

fn other_key() -> String {
    SigningKey::from_bytes(Curve::K256, &[2; 32]).unwrap().public_key().did_key()
}

/// MG-8
#[tokio::test]
async fn an_operation_that_keeps_the_account_here_is_sent_and_announced_without_a_handle() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let before = last_seq(&server);
    let operation = operation(&server, &alice.did, |data| data.rotation_keys.insert(0, other_key())).await;
    let answer = submit(&server, &alice, &operation).await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, ""));
    assert_eq!(plc_data(&server, &alice.did).await["rotationKeys"][0], other_key());
    let [event] = &identities_after(&server, before)[..] else { panic!("one event") };
    assert_eq!((event.did.as_str(), &event.handle), (&*alice.did, &None));
}

/// MG-8: each guard by its own message, and the directory hears of none of them.
#[tokio::test]
async fn what_would_cut_the_account_off_is_not_sent() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let before = last_seq(&server);
    let service = |data: &mut PlcData, change: fn(&mut atproto::plc::Service)| {
        change(data.services.get_mut("atproto_pds").unwrap());
    };
    let did = &alice.did;
    for (operation, message) in [
        (
            operation(&server, did, |data| data.rotation_keys = vec![other_key()]).await,
            "Rotation keys do not include server's rotation key",
        ),
        (
            operation(&server, did, |data| service(data, |pds| pds.service_type = "Other".into())).await,
            "Incorrect type on atproto_pds service",
        ),
        (
            operation(&server, did, |data| data.services.clear()).await,
            "Incorrect type on atproto_pds service",
        ),
        (
            operation(&server, did, |data| service(data, |pds| pds.endpoint.push('/'))).await,
            "Incorrect endpoint on atproto_pds service",
        ),
        (
            operation(&server, did, |data| {
                data.verification_methods.insert("atproto".into(), other_key());
            })
            .await,
            "Incorrect signing key",
        ),
        (
            operation(&server, did, |data| data.also_known_as.insert(0, "at://bob.test".into())).await,
            "Incorrect handle in alsoKnownAs",
        ),
        (operation(&server, did, |data| data.also_known_as.clear()).await, "Incorrect handle in alsoKnownAs"),
    ] {
        assert_eq!(submit(&server, &alice, &operation).await.error(400, "InvalidRequest"), message);
    }
    let good = operation(&server, did, |_| {}).await;
    let without = |field: &str| {
        let mut operation = good.clone();
        operation.as_object_mut().unwrap().remove(field);
        operation
    };
    for (malformed, named) in [
        (json!({}), "type"),
        (json!("x"), "type"),
        (json!({ "type": "plc_tombstone", "prev": "x", "sig": "y" }), "Rotation keys"),
        (without("sig"), "sig"),
        (without("prev"), "prev"),
        (without("services"), "services"),
        (json!({ "type": "plc_operation", "rotationKeys": 3 }), "operation"),
    ] {
        let message = submit(&server, &alice, &malformed).await.error(400, "InvalidRequest");
        assert!(message.contains(named), "{named}: {message}");
    }
    let missing = server.procedure(NSID).auth(&alice).json(&json!({})).send().await;
    assert!(missing.error(400, "InvalidRequest").contains("operation"));
    assert_eq!(operations(&server, did).await, 1);
    assert!(identities_after(&server, before).is_empty());
}

#[tokio::test]
async fn what_the_directory_refuses_is_its_own_message_and_what_it_cannot_answer_a_502() {
    let (server, gate) = gated().await;
    let alice = server.create_account("alice").await;
    let before = last_seq(&server);
    let operation = operation(&server, &alice.did, |data| data.rotation_keys.push(other_key())).await;
    gate.set(Gate::Refusing);
    let message = submit(&server, &alice, &operation).await.error(400, "InvalidRequest");
    assert!(message.contains("does not like it"), "{message}");
    gate.set(Gate::Shut);
    submit(&server, &alice, &operation).await.error(502, "UpstreamFailure");
    assert!(identities_after(&server, before).is_empty());
    // It may have been taken all the same: consumers are told to look.
    gate.set(Gate::Open);
    server.app.accounts.settle_identities(Settle::All).await.unwrap();
    assert_eq!(identities_after(&server, before).len(), 1);
    server.app.accounts.settle_identities(Settle::All).await.unwrap();
    assert_eq!(identities_after(&server, before).len(), 1);
}
