use atproto::crypto::{Curve, SigningKey};
use serde_json::json;

use super::plc_data;
use crate::support::TestServer;

const NSID: &str = "com.atproto.identity.getRecommendedDidCredentials";

/// MG-7: what a DID made here says already, in the order of its authority.
#[tokio::test]
async fn the_recommendation_is_what_a_did_made_here_says() {
    let recovery = SigningKey::from_bytes(Curve::K256, &[2; 32]).unwrap().public_key().did_key();
    let key = recovery.clone();
    let server = TestServer::start_with(|settings| settings.recovery_did_key = Some(key)).await;
    let alice = server.create_account("alice").await;
    let data = plc_data(&server, &alice.did).await;
    let recommended = server.query(NSID).auth(&alice).send().await.ok();
    for field in ["rotationKeys", "verificationMethods", "alsoKnownAs", "services"] {
        assert_eq!(recommended[field], data[field], "{field}");
    }
    assert_eq!(recommended["rotationKeys"][0], recovery);
    assert_eq!(recommended.as_object().unwrap().len(), 4);
    server.deactivate(&alice.did).await;
    assert_eq!(server.query(NSID).auth(&alice).send().await.ok(), recommended);
}

#[tokio::test]
async fn the_caller_has_to_be_signed_in() {
    let server = TestServer::start().await;
    server.query(NSID).send().await.error(401, "AuthMissing");
    let error = server.query(NSID).bearer("x").send().await.json();
    assert_eq!(error["error"], json!("InvalidToken"));
}
