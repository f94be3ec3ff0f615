//! What is HTTP about it. `tests/firehose.rs` has the stream.

use serde_json::json;

use crate::support::TestServer;

const NSID: &str = "com.atproto.sync.subscribeRepos";

/// EV-11
#[tokio::test]
async fn only_a_get_that_upgrades_is_answered() {
    let server = TestServer::start().await;
    let answer = server.query(NSID).send().await;
    answer.error(426, "InvalidRequest");
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    let answer = server.procedure(NSID).json(&json!({})).send().await;
    answer.error(405, "InvalidRequest");
    assert!(answer.header("allow").unwrap().contains("GET"));
}

#[tokio::test]
async fn a_cursor_that_is_no_number_is_refused_before_the_upgrade() {
    let server = TestServer::start().await;
    for cursor in ["x", "1.5", "+1", "-", "0x10", "99999999999999999999"] {
        let message = server.query(NSID).param("cursor", cursor).send().await.error(400, "InvalidRequest");
        assert!(message.contains("cursor"), "{message}");
        let Err(answer) = server.try_subscribe(&format!("?cursor={cursor}").replace('+', "%2B"), None).await
        else {
            panic!("{cursor} was accepted");
        };
        assert_eq!(answer.status(), 400);
    }
}
