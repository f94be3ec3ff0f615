use rookery::store::StoreError;
use serde_json::{Value as Json, json};

use crate::support::TestServer;

const NSID: &str = "com.atproto.server.reserveSigningKey";
const DID: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";
const OTHER: &str = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";
const HOUR_SECS: i64 = 60 * 60;

async fn reserve(server: &TestServer, input: Json) -> String {
    let output = server.procedure(NSID).json(&input).send().await.ok();
    let key = output["signingKey"].as_str().unwrap().to_owned();
    assert!(key.starts_with("did:key:zQ3sh"), "k256: {key}");
    key
}

#[tokio::test]
async fn a_did_has_one_key_and_nobody_in_particular_gets_a_new_one() {
    let server = TestServer::start().await;
    let key = reserve(&server, json!({ "did": DID })).await;
    assert_eq!(reserve(&server, json!({ "did": DID })).await, key);
    assert_ne!(reserve(&server, json!({ "did": OTHER })).await, key);
    assert_ne!(reserve(&server, json!({})).await, reserve(&server, json!({})).await);
    let server = server.restart().await;
    assert_eq!(reserve(&server, json!({ "did": DID })).await, key);
}

#[tokio::test]
async fn ten_racing_calls_get_one_key() {
    let server = TestServer::start().await;
    let keys = futures::future::join_all((0..10).map(|_| reserve(&server, json!({ "did": DID })))).await;
    assert!(keys.windows(2).all(|pair| pair[0] == pair[1]));
}

#[tokio::test]
async fn a_key_is_held_for_three_days_after_it_was_asked_for() {
    let server = TestServer::start().await;
    let key = reserve(&server, json!({ "did": DID })).await;
    server.advance_secs(71 * HOUR_SECS);
    assert_eq!(reserve(&server, json!({ "did": DID })).await, key);
    server.advance_secs(71 * HOUR_SECS);
    assert_eq!(reserve(&server, json!({ "did": DID })).await, key);
    server.advance_secs(73 * HOUR_SECS);
    assert_ne!(reserve(&server, json!({ "did": DID })).await, key);
}

#[tokio::test]
async fn what_is_not_a_did_is_refused() {
    let server = TestServer::start().await;
    for did in [json!("alice.test"), json!(""), json!("../../etc/passwd"), json!(5)] {
        let message = server.procedure(NSID).json(&json!({ "did": did })).send().await;
        assert!(message.error(400, "InvalidRequest").contains("did"), "{did}");
    }
}

/// Anyone may ask, so there is an end to it. A key that a move may need is never forgotten for it.
#[tokio::test]
async fn keys_for_dids_are_refused_beyond_ten_thousand_and_others_give_way() {
    let server = TestServer::start().await;
    let key = reserve(&server, json!({ "did": DID })).await;
    let fill = |n_rows: i64, did: &'static str| {
        server.app.store.write(move |tx| {
            let now = tx.now() + 1;
            let sql = format!(
                "WITH RECURSIVE row (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM row WHERE n < ?1)
                 INSERT INTO reserved_signing_key SELECT 'key ' || n || {did}, {did}, x'00', ?2 FROM row"
            );
            tx.execute(&sql.replace("|| NULL", ""), (n_rows, now))?;
            Ok::<_, StoreError>(())
        })
    };
    fill(9_999, "'did:web:' || n").await.unwrap();
    let refused = server.procedure(NSID).json(&json!({ "did": OTHER })).send().await;
    let message = refused.error(503, "NotEnoughResources");
    assert!(message.contains("try again later"), "{message}");
    assert_eq!(reserve(&server, json!({ "did": DID })).await, key, "what is held stays");

    fill(1_000, "NULL").await.unwrap();
    reserve(&server, json!({})).await;
    let nameless = server.app.store.read(|db| {
        let sql = "SELECT COUNT(*) FROM reserved_signing_key WHERE did IS NULL";
        Ok::<_, StoreError>(db.query_row(sql, (), |row| row.get::<_, i64>(0))?)
    });
    assert_eq!(nameless.await.unwrap(), 1_000);

    // Three days later there is room.
    server.advance_secs(73 * HOUR_SECS);
    reserve(&server, json!({ "did": OTHER })).await;
}
