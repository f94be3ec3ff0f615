use atproto::syntax::{Did, Handle};
use rookery::service::account::create::Adoption;
use serde_json::{Value as Json, json};

use super::{NOBODY, check_bad_params};
use crate::support::TestServer;

const NSID: &str = "com.atproto.sync.listRepos";

#[tokio::test]
async fn every_repo_is_on_one_page_oldest_first_whatever_its_status_sy_25() {
    let server = TestServer::start().await;
    let mut expected = Vec::new();
    for name in ["alice", "bob", "carol", "dave", "erin"] {
        let account = server.create_account(name).await;
        let head =
            server.query("com.atproto.sync.getLatestCommit").param("did", &account.did).send().await.ok();
        expected.push(json!({ "did": account.did, "head": head["cid"], "rev": head["rev"], "active": true }));
    }
    for (idx, status) in [(1, "deactivated"), (3, "takendown")] {
        let did = expected[idx]["did"].as_str().unwrap().to_owned();
        if status == "takendown" {
            server.take_down(&did).await
        } else {
            server.deactivate(&did).await
        }
        expected[idx]["active"] = json!(false);
        expected[idx]["status"] = json!(status);
    }
    // An account that has no commit yet has nothing to list.
    let adoption = Adoption {
        did: Did::parse(NOBODY).unwrap(),
        handle: Some(Handle::parse("frank.test").unwrap()),
        email: None,
        password: None,
    };
    server.app.accounts.adopt(adoption).await.unwrap();

    for limit in [1, 2, 5, 1000] {
        let (mut listed, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let call = server.query(NSID).param("limit", limit);
            let call = cursor.iter().fold(call, |call, cursor| call.param("cursor", cursor));
            let page = call.send().await.ok();
            let repos = page["repos"].as_array().unwrap();
            assert!(repos.len() <= limit);
            listed.extend(repos.iter().cloned());
            match page["cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => break,
            }
        }
        assert_eq!(Json::from(listed), Json::from(expected.clone()), "limit {limit}");
    }
}

#[tokio::test]
async fn bad_input_is_refused() {
    let server = TestServer::start().await;
    let bad = [
        ("limit", "0"),
        ("limit", "1001"),
        ("limit", "-1"),
        ("limit", "x"),
        ("cursor", "x"),
        ("cursor", "::"),
        ("cursor", "1::nonsense"),
        ("cursor", "x::did:plc:ewvi7nxzyoun6zhxrhs64oiz"),
        ("cursor", "99999999999999999999::did:plc:ewvi7nxzyoun6zhxrhs64oiz"),
    ];
    check_bad_params(|| server.query(NSID), &bad).await;
    server.procedure(NSID).json(&json!({})).send().await.error(400, "InvalidRequest");
    assert_eq!(server.query(NSID).send().await.ok(), json!({ "repos": [] }));
}
