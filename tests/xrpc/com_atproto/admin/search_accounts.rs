use serde_json::Value as Json;

use crate::support::TestServer;

const NSID: &str = "com.atproto.admin.searchAccounts";

fn handles(output: &Json) -> Vec<&str> {
    let accounts = output["accounts"].as_array().unwrap();
    accounts.iter().map(|account| account["handle"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn accounts_are_found_by_a_part_of_their_address_in_any_case() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    server.create_account("bob").await;
    server.create_account("malice").await;
    server.take_down(&alice.did).await;
    let search = async |email: &str| server.query(NSID).admin().param("email", email).send().await.ok();
    assert_eq!(handles(&search("LICE").await), ["alice.test", "malice.test"]);
    assert_eq!(handles(&search("bob.").await), ["bob.test"]);
    assert_eq!(handles(&search("@example.com").await), ["alice.test", "bob.test", "malice.test"]);
    // No letter stands for others.
    for nobody in ["%", "_", "b*b", "carol"] {
        assert!(handles(&search(nobody).await).is_empty(), "{nobody}");
    }
    let all = server.query(NSID).admin().send().await.ok();
    assert_eq!(handles(&all), ["alice.test", "bob.test", "malice.test"]);
    assert_eq!(all.get("cursor"), None);
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_repetition() {
    let server = TestServer::start().await;
    for name in ["ann", "bea", "cid", "dora", "eve"] {
        server.create_account(name).await;
    }
    let mut cursor = None;
    let mut found = Vec::new();
    for _ in 0..3 {
        let mut call = server.query(NSID).admin().param("email", "example").param("limit", 2);
        if let Some(cursor) = &cursor {
            call = call.param("cursor", cursor);
        }
        let output = call.send().await.ok();
        found.extend(handles(&output).into_iter().map(str::to_owned));
        cursor = output["cursor"].as_str().map(str::to_owned);
    }
    assert_eq!(found, ["ann.test", "bea.test", "cid.test", "dora.test", "eve.test"]);
    assert_eq!(cursor, None);
}

#[tokio::test]
async fn bad_input_is_refused() {
    let server = TestServer::start().await;
    for (name, value) in [("limit", "0"), ("limit", "101"), ("limit", "x"), ("cursor", "x")] {
        server.query(NSID).admin().param(name, value).send().await.error(400, "InvalidRequest");
    }
}
