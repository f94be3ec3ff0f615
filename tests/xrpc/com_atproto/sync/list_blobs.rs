use serde_json::json;

use super::{TakendownTokens, check_availability, check_bad_params};
use crate::support::TestServer;

const NSID: &str = "com.atproto.sync.listBlobs";

#[tokio::test]
async fn blobs_that_records_refer_to_are_listed_by_cid_once_bl_16() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let (mut cids, mut revs) = (Vec::new(), Vec::new());
    for n in 0..5 {
        let blob = server.upload(&alice, "text/plain", format!("blob {n}")).await;
        cids.push(blob["ref"]["$link"].as_str().unwrap().to_owned());
        let record = json!({ "one": blob, "again": [blob] });
        let output = server.put_record(&alice, &format!("com.example.media/{n}"), record).await;
        revs.push(output["commit"]["rev"].as_str().unwrap().to_owned());
    }
    server.upload(&alice, "text/plain", "nobody refers to this").await;
    let newest = cids[4].clone();
    cids.sort();

    for limit in [1, 2, 5, 1000] {
        let (mut listed, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let call = server.query(NSID).param("did", &alice.did).param("limit", limit);
            let call = cursor.iter().fold(call, |call, cursor| call.param("cursor", cursor));
            let page = call.send().await.ok();
            listed
                .extend(page["cids"].as_array().unwrap().iter().map(|cid| cid.as_str().unwrap().to_owned()));
            match page["cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => break,
            }
        }
        assert_eq!(listed, cids, "limit {limit}");
    }

    let since = async |rev: &str| {
        server.query(NSID).param("did", &alice.did).param("since", rev).send().await.ok()["cids"].clone()
    };
    assert_eq!(since(&revs[3]).await, json!([newest]));
    assert_eq!(since(&revs[4]).await, json!([]));
    for n in 0..5 {
        server.delete_record(&alice, &format!("com.example.media/{n}")).await;
    }
    assert_eq!(server.query(NSID).param("did", &alice.did).send().await.ok(), json!({ "cids": [] }));
}

#[tokio::test]
async fn bad_input_and_hidden_repos_are_refused() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let bad = [("limit", "0"), ("limit", "1001"), ("cursor", "nonsense"), ("since", "nonsense")];
    check_bad_params(|| server.query(NSID).param("did", &alice.did), &bad).await;
    check_availability(&server, NSID, &alice, &[], TakendownTokens::Accepted).await;
}
