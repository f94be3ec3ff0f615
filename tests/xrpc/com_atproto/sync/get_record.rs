use atproto::{data::cbor, mst::Tree};
use serde_json::json;

use super::{Car, TakendownTokens, check_availability, check_bad_params};
use crate::support::TestServer;

const NSID: &str = "com.atproto.sync.getRecord";
const NOTE: &str = "com.example.note";

/// MST-16: everything is checked with the key that the directory publishes and the blocks of the answer alone.
#[tokio::test]
async fn records_and_their_absence_are_proved() {
    const N_RECORDS: usize = 40;
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let key = server.published_key(&alice.did).await;
    for n in 0..N_RECORDS {
        server.put_record(&alice, &format!("{NOTE}/{n}"), json!({ "text": n.to_string() })).await;
    }
    let head = server.query("com.atproto.sync.getLatestCommit").param("did", &alice.did).send().await.ok();
    for n in (0..N_RECORDS + 10).step_by(3) {
        let call = server.query(NSID).param("did", &alice.did).param("collection", NOTE).param("rkey", n);
        let car = Car::of(&call.send().await);
        assert_eq!(car.roots[0].to_string(), head["cid"].as_str().unwrap());
        let commit = car.commit(&key);
        let mut tree = Tree::open(commit.data, &car.blocks[&commit.data]).unwrap();
        let found = tree.get(format!("{NOTE}/{n}").as_bytes(), &mut &car.blocks).unwrap();
        assert_eq!(found.is_some(), n < N_RECORDS, "{n}");
        if let Some(cid) = found {
            let record = cbor::decode(&car.blocks[&cid]).unwrap();
            assert_eq!(record.get("text").and_then(|text| text.as_str()), Some(n.to_string().as_str()));
        }
        assert!(car.order.len() < 12, "a proof is a path, not a repo: {} blocks", car.order.len());
    }
}

#[tokio::test]
async fn an_empty_repo_proves_that_it_has_nothing() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let call = server.query(NSID).param("did", &alice.did).param("collection", NOTE).param("rkey", "a");
    let car = Car::of(&call.send().await);
    let commit = car.commit(&server.published_key(&alice.did).await);
    let mut tree = Tree::open(commit.data, &car.blocks[&commit.data]).unwrap();
    assert_eq!(tree.get(b"com.example.note/a", &mut &car.blocks).unwrap(), None);
}

#[tokio::test]
async fn bad_input_and_hidden_repos_are_refused() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    server.put_record(&alice, "com.example.note/a", json!({})).await;
    let with_rkey = || server.query(NSID).param("did", &alice.did).param("rkey", "a");
    let bad =
        [("collection", "nonsense"), ("collection", "com.example.*"), ("collection", "com.example.note/a")];
    check_bad_params(with_rkey, &bad).await;
    let with_collection = || server.query(NSID).param("did", &alice.did).param("collection", NOTE);
    check_bad_params(with_collection, &[("rkey", ".."), ("rkey", "a/b"), ("rkey", "a b"), ("rkey", "é")])
        .await;
    with_rkey().send().await.error(400, "InvalidRequest");
    with_collection().send().await.error(400, "InvalidRequest");
    let params = [("collection", NOTE), ("rkey", "a")];
    check_availability(&server, NSID, &alice, &params, TakendownTokens::Refused).await;
}
