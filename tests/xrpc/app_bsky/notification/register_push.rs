//! registerPush, and unregisterPush, which differs in its name.

use serde_json::{Value as Json, json};

use crate::support::upstream::{SERVICE_DID, Upstream, answer, server_with_appview};

const OTHER_DID: &str = "did:plc:cccccccccccccccccccccccc";

#[tokio::test]
async fn the_order_goes_to_the_service_that_it_names() {
    let appview = Upstream::start(|_| answer(200, &[], "")).await;
    let other = Upstream::start(|_| answer(200, &[], "")).await;
    let server = server_with_appview(&appview).await;
    let alice = server.create_account("alice").await;
    server.publish_services(OTHER_DID, &[("#bsky_notif", "BskyNotificationService", &other.url)]).await;
    for nsid in ["app.bsky.notification.registerPush", "app.bsky.notification.unregisterPush"] {
        for (did, service) in [(SERVICE_DID, &appview), (OTHER_DID, &other)] {
            let input = json!({ "serviceDid": did, "token": "t", "platform": "ios", "appId": "a" });
            let answer = server.procedure(nsid).auth(&alice).json(&input).send().await;
            assert_eq!((answer.status.as_u16(), answer.bytes.len()), (200, 0), "{nsid}");
            let seen = service.seen_once(nsid);
            assert_eq!(serde_json::from_slice::<Json>(&seen.body).unwrap(), input);
            assert_eq!((&seen.claims()["aud"], &seen.claims()["lxm"]), (&json!(did), &json!(nsid)));
        }
    }
}

#[tokio::test]
async fn a_did_without_such_a_service_is_refused() {
    let appview = Upstream::start(|_| answer(200, &[], "")).await;
    let server = server_with_appview(&appview).await;
    let alice = server.create_account("alice").await;
    server.publish_services(OTHER_DID, &[("#bsky_notif", "Other", &appview.url)]).await;
    let call = async |input: Json| {
        let call = server.procedure("app.bsky.notification.registerPush").auth(&alice).json(&input);
        call.send().await.error(400, "InvalidRequest")
    };
    let input = |did: &str| json!({ "serviceDid": did, "token": "t", "platform": "ios", "appId": "a" });
    let message = call(input(OTHER_DID)).await;
    assert_eq!(message, format!("invalid notification service details in did document: {OTHER_DID}"));
    let unknown = "did:plc:dddddddddddddddddddddddd";
    assert_eq!(call(input(unknown)).await, format!("could not resolve did document: {unknown}"));
    let incomplete = json!({ "serviceDid": OTHER_DID, "platform": "ios", "appId": "a" });
    assert!(call(incomplete).await.contains("token"));
    assert!(appview.seen().is_empty());
}
