use rookery::service::auth::Scope;
use serde_json::{Value as Json, json};

use crate::support::{
    Answer, TestServer,
    upstream::{SERVICE_DID, Upstream, answer, server_with_appview},
};

const PUT: &str = "app.bsky.actor.putPreferences";
const GET: &str = "app.bsky.actor.getPreferences";

fn adult(enabled: bool) -> Json {
    json!({ "$type": "app.bsky.actor.defs#adultContentPref", "enabled": enabled })
}

fn label(name: &str) -> Json {
    json!({ "$type": "app.bsky.actor.defs#contentLabelPref", "label": name, "visibility": "hide" })
}

fn details() -> Json {
    json!({ "$type": "app.bsky.actor.defs#personalDetailsPref", "birthDate": "2000-01-01T00:00:00.000Z" })
}

async fn put(server: &TestServer, token: &str, preferences: &[Json]) -> Answer {
    server.procedure(PUT).bearer(token).json(&json!({ "preferences": preferences })).send().await
}

async fn get(server: &TestServer, token: &str) -> Json {
    server.query(GET).bearer(token).send().await.ok()["preferences"].clone()
}

#[tokio::test]
async fn a_put_replaces_everything_and_keeps_the_order() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let token = &alice.access_jwt;
    assert_eq!(get(&server, token).await, json!([]));
    let first = [label("b"), adult(true), label("a")];
    let answer = put(&server, token, &first).await;
    assert_eq!((answer.status.as_u16(), answer.bytes.len()), (200, 0));
    assert_eq!(get(&server, token).await, json!(first));
    let other = json!({ "$type": "app.bsky.future.defs#pref", "anything": [1, { "x": null }] });
    put(&server, token, &[other.clone(), adult(false)]).await;
    assert_eq!(get(&server, token).await, json!([other, adult(false)]));
    put(&server, token, &[]).await;
    assert_eq!(get(&server, token).await, json!([]));
}

#[tokio::test]
async fn what_is_no_preference_of_this_app_is_refused_and_nothing_changes() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    put(&server, &alice.access_jwt, &[adult(true)]).await;
    for (bad, message) in [
        (
            json!({ "$type": "com.example.pref", "x": 1 }),
            "Some preferences are not in the app.bsky namespace",
        ),
        (json!({ "x": 1 }), "Preference is missing a $type"),
        (json!({ "$type": 1 }), "Preference is missing a $type"),
        (json!("text"), "Preference is missing a $type"),
        (
            json!({ "$type": "app.bsky.actor.defs#adultContentPref", "enabled": 1 }),
            "Input/preferences/1/enabled",
        ),
        (json!({ "$type": "app.bsky.x", "x": 1.5 }), "1.5"),
    ] {
        let refused = put(&server, &alice.access_jwt, &[label("a"), bad]).await.error(400, "InvalidRequest");
        assert!(refused.contains(message), "{refused}");
    }
    assert_eq!(get(&server, &alice.access_jwt).await, json!([adult(true)]));
}

/// Checklist 53
#[tokio::test]
async fn app_passwords_neither_see_nor_lose_the_personal_details() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let app_password = server.token(&alice, Scope::AppPassPrivileged);
    put(&server, &alice.access_jwt, &[details(), adult(true)]).await;

    let seen = get(&server, &app_password).await;
    assert_eq!(seen[0], adult(true));
    assert!(!seen.to_string().contains("birthDate"), "{seen}");
    let refused = put(&server, &app_password, &[details()]).await.error(400, "InvalidRequest");
    assert_eq!(
        refused,
        "Do not have authorization to set preferences: app.bsky.actor.defs#personalDetailsPref"
    );
    put(&server, &app_password, &[adult(false)]).await;
    let all = get(&server, &alice.access_jwt).await;
    assert_eq!((&all[0], &all[1]), (&details(), &adult(false)));
    put(&server, &alice.access_jwt, &[adult(false)]).await;
    assert_eq!(get(&server, &alice.access_jwt).await, json!([adult(false)]));
}

#[tokio::test]
async fn takendown_accounts_read_and_do_not_write() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    put(&server, &alice.access_jwt, &[adult(true)]).await;
    server.take_down(&alice.did).await;
    put(&server, &alice.access_jwt, &[]).await.error(401, "AccountTakedown");
    let takendown = server.token(&alice, Scope::Takendown);
    put(&server, &takendown, &[]).await.error(400, "InvalidToken");
    assert_eq!(get(&server, &takendown).await, json!([adult(true)]));
    put(&server, "nonsense", &[]).await.error(400, "InvalidToken");
}

/// The reference answers such a put with a 500.
#[tokio::test]
async fn preferences_of_another_appview_are_put_there() {
    let other_did = "did:plc:cccccccccccccccccccccccc";
    let own = Upstream::start(|_| answer(500, &[], "")).await;
    let other = Upstream::start(|_| answer(200, &[], "")).await;
    let server = server_with_appview(&own).await;
    let alice = server.create_account("alice").await;
    server.publish_services(other_did, &[("#bsky_appview", "BskyAppView", &other.url)]).await;
    let input = json!({ "preferences": [adult(true)] });
    let call = |to: &str| server.procedure(PUT).auth(&alice).header("atproto-proxy", to).json(&input);

    assert_eq!(call(&format!("{other_did}#bsky_appview")).send().await.status, 200);
    let seen = other.seen_once(PUT);
    assert_eq!(serde_json::from_slice::<Json>(&seen.body).unwrap(), input);
    assert_eq!((&seen.claims()["aud"], &seen.claims()["lxm"]), (&json!(other_did), &json!(PUT)));
    assert_eq!(get(&server, &alice.access_jwt).await, json!([]));
    assert_eq!(call(&format!("{SERVICE_DID}#bsky_appview")).send().await.status, 200);
    assert_eq!(get(&server, &alice.access_jwt).await, json!([adult(true)]));
    assert!(own.seen().is_empty());
}

#[tokio::test]
async fn preferences_go_with_the_account() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    put(&server, &alice.access_jwt, &[details(), adult(true)]).await;
    let deletion = server.procedure("com.atproto.admin.deleteAccount").admin();
    assert_eq!(deletion.json(&json!({ "did": alice.did })).send().await.status, 200);
    let left = server.app.store.read(|db| {
        let left: i64 = db.query_row("SELECT COUNT(*) FROM account_pref", (), |row| row.get(0))?;
        Ok::<_, rookery::store::StoreError>(left)
    });
    assert_eq!(left.await.unwrap(), 0);
}
