use atproto::syntax::Did;
use serde_json::json;

use super::{NOTE, call};
use crate::support::TestServer;

#[tokio::test]
async fn a_record_gets_a_tid_a_type_and_a_did_based_uri_xr_15_xr_18_xr_20() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let input = json!({ "repo": alice.handle, "collection": NOTE, "record": { "text": "hi" } });
    let output = call(&server, &alice, "createRecord", input).await.ok();
    let uri = output["uri"].as_str().unwrap();
    assert!(uri.starts_with(&format!("at://{}/{NOTE}/", alice.did)), "{uri}");
    assert_eq!(uri.rsplit('/').next().unwrap().len(), 13);
    assert_eq!(output["validationStatus"], "unknown");
    let head = server.query("com.atproto.sync.getLatestCommit").param("did", &alice.did).send().await.ok();
    assert_eq!(head, output["commit"]);
}

#[tokio::test]
async fn what_the_client_can_mend_is_a_400_that_says_what() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let create = |extra: serde_json::Value| {
        let mut input = json!({ "collection": NOTE, "rkey": "a", "record": { "text": "hi" } });
        input.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        input
    };
    call(&server, &alice, "createRecord", create(json!({}))).await.ok();
    let wrong = "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm";
    for (extra, name, says) in [
        (json!({}), "InvalidRequest", "exists"),
        (json!({ "rkey": "b", "swapCommit": wrong }), "InvalidSwap", "Commit was at baf"),
        (json!({ "rkey": "b", "swapCommit": "x" }), "InvalidRequest", ""),
        (json!({ "rkey": ".." }), "InvalidRequest", "record key"),
        (json!({ "rkey": "b", "validate": true }), "InvalidRequest", "Unknown lexicon type"),
        (json!({ "rkey": "b", "record": { "$type": "a.b.c" } }), "InvalidRequest", "Invalid $type"),
        (json!({ "rkey": "b", "record": { "n": 1.5 } }), "InvalidRequest", ""),
        (json!({ "rkey": "b", "record": 1 }), "InvalidRequest", "object"),
    ] {
        let message = call(&server, &alice, "createRecord", create(extra.clone())).await.error(400, name);
        assert!(message.contains(says), "{extra}: {message}");
    }
}

#[tokio::test]
async fn only_the_own_repo_can_be_written_to() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.create_account("alice").await, server.create_account("bob").await);
    let input = json!({ "collection": NOTE, "record": {} });
    for (repo, status, name) in
        [(bob.did.as_str(), 401, "AuthenticationRequired"), ("carol.test", 403, "AccountNotFound")]
    {
        let mut input = input.clone();
        input["repo"] = json!(repo);
        call(&server, &alice, "createRecord", input).await.error(status, name);
    }
    server.procedure("com.atproto.repo.createRecord").json(&input).send().await.error(401, "AuthMissing");
}

#[tokio::test]
async fn what_is_wrong_with_the_account_comes_before_what_is_wrong_with_the_writes() {
    let server = TestServer::start().await;
    let accounts = ["alice", "bob", "carol"];
    let [alice, bob, carol] = futures::future::join_all(accounts.map(|name| server.create_account(name)))
        .await
        .try_into()
        .unwrap_or_else(|_| panic!("three accounts"));
    server.deactivate(&alice.did).await;
    server.take_down(&bob.did).await;
    server.app.accounts.delete(&Did::parse(&carol.did).unwrap()).await.unwrap();
    let wrong = "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm";
    for (account, status, name) in [
        (&alice, 401, "AccountDeactivated"),
        (&bob, 401, "AccountTakedown"),
        (&carol, 403, "AccountNotFound"),
    ] {
        for (method, input) in [
            ("createRecord", json!({ "record": {} })),
            ("createRecord", json!({ "record": { "$type": "a.b.c" } })),
            ("createRecord", json!({ "record": {}, "validate": true })),
            ("createRecord", json!({ "record": {}, "swapCommit": wrong })),
            ("putRecord", json!({ "rkey": "a", "record": {}, "swapRecord": wrong })),
            ("deleteRecord", json!({ "rkey": "a", "swapRecord": wrong })),
            ("deleteRecord", json!({ "rkey": "a" })),
        ] {
            // By name as well as by DID: only a DID can be compared without a look.
            for repo in [&account.did, &account.handle] {
                let mut input = input.clone();
                input["repo"] = json!(repo);
                input["collection"] = json!(NOTE);
                let answer = call(&server, account, method, input).await;
                answer.error(status, name);
            }
        }
        let delete =
            json!({ "$type": "com.atproto.repo.applyWrites#delete", "collection": NOTE, "rkey": "a" });
        for writes in [json!([]), json!([delete])] {
            let input = json!({ "repo": account.did, "writes": writes });
            call(&server, account, "applyWrites", input).await.error(status, name);
        }
    }
}
