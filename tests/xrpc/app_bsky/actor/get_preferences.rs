use serde_json::{Value as Json, json};

use crate::support::{
    TestAccount, TestServer,
    upstream::{Upstream, ok, server_with_appview},
};

const PUT: &str = "app.bsky.actor.putPreferences";
const GET: &str = "app.bsky.actor.getPreferences";

async fn put(server: &TestServer, account: &TestAccount, preferences: Json) {
    let call = server.procedure(PUT).auth(account).json(&json!({ "preferences": preferences }));
    assert_eq!(call.send().await.status, 200);
}

#[tokio::test]
async fn whether_one_is_of_age_follows_from_the_date_of_birth_and_is_never_stored() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let claimed = json!({ "$type": "app.bsky.actor.defs#declaredAgePref", "isOverAge18": true });
    put(&server, &alice, json!([claimed])).await;
    assert_eq!(server.query(GET).auth(&alice).send().await.ok()["preferences"], json!([]));

    let now = atproto::syntax::Datetime::from_micros(server.app.clock.now());
    let year: i64 = now.as_str()[..4].parse().unwrap();
    let born = format!("{}-01-01T00:00:00.000Z", year - 16);
    let details = json!({ "$type": "app.bsky.actor.defs#personalDetailsPref", "birthDate": born });
    put(&server, &alice, json!([details, claimed])).await;
    let found = server.query(GET).auth(&alice).send().await.ok()["preferences"].clone();
    let declared = json!({
        "$type": "app.bsky.actor.defs#declaredAgePref",
        "isOverAge13": true, "isOverAge16": true, "isOverAge18": false,
    });
    assert_eq!(found, json!([details, declared]));
    let app_password = server.token(&alice, rookery::service::auth::Scope::AppPass);
    let found = server.query(GET).bearer(&app_password).send().await.ok()["preferences"].clone();
    assert_eq!(found, json!([declared]));
}

#[tokio::test]
async fn nobody_reads_without_a_session() {
    let server = TestServer::start().await;
    server.query(GET).send().await.error(401, "AuthMissing");
    server.query(GET).bearer("a.b.c").send().await.error(400, "InvalidToken");
}

/// The moderation service names the account by a parameter that no lexicon has.
#[tokio::test]
async fn the_moderation_service_reads_the_preferences_of_an_account() {
    let server = TestServer::start_with(|settings| {
        // A DID of this server's own directory, so that its key can be found.
        settings.mod_service = None;
    })
    .await;
    let alice = server.create_account("alice").await;
    let moderator = server.create_account("mona").await;
    let details = json!({ "$type": "app.bsky.actor.defs#personalDetailsPref" });
    put(&server, &alice, json!([details])).await;

    let token = server.service_token(&moderator, GET).await;
    // Not the moderation service: an account's own token between services is no session.
    assert!(server.query(GET).bearer(&token).param("did", &alice.did).send().await.status.is_client_error());

    let did = moderator.did.clone();
    let server = server
        .restart_with(move |settings| {
            let url = "http://127.0.0.1:1".to_owned();
            settings.mod_service =
                Some(rookery::service::settings::Service { url, did: did.parse().unwrap() });
        })
        .await;
    let token = server.service_token(&moderator, GET).await;
    let call = || server.query(GET).bearer(&token);
    assert_eq!(call().param("did", &alice.did).send().await.ok()["preferences"], json!([details]));
    let message = call().send().await.error(400, "InvalidRequest");
    assert_eq!(message, "Invalid or missing did parameter");
    call().param("did", "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa").send().await.error(400, "NotFound");
    let proxied = call().param("did", &alice.did).header("atproto-proxy", "did:web:x.example#bsky_appview");
    let message = proxied.send().await.error(400, "InvalidRequest");
    assert_eq!(message, "Moderator requests cannot be proxied to other app views");
}

#[tokio::test]
async fn preferences_of_another_appview_are_asked_for_there() {
    let other_did = "did:plc:cccccccccccccccccccccccc";
    let other = Upstream::start(|_| ok(json!({ "preferences": [] , "other": true }))).await;
    let server = server_with_appview(&other).await;
    let alice = server.create_account("alice").await;
    server.publish_services(other_did, &[("#bsky_appview", "BskyAppView", &other.url)]).await;
    let call = server.query(GET).auth(&alice).header("atproto-proxy", &format!("{other_did}#bsky_appview"));
    assert_eq!(call.send().await.ok()["other"], true);
    assert_eq!(other.seen_once(GET).claims()["aud"], other_did);
}
