use std::collections::BTreeMap;

use atproto::{data::cbor, mst::Walk};
use serde_json::json;

use super::{Car, TakendownTokens, check_availability, check_bad_params};
use crate::support::{TestAccount, TestServer};

const NSID: &str = "com.atproto.sync.getRepo";

async fn with_records(server: &TestServer, n_records: usize) -> (TestAccount, String) {
    let alice = server.create_account("alice").await;
    let create = |n: usize| {
        json!({ "$type": "com.atproto.repo.applyWrites#create", "collection": "com.example.note",
                "rkey": format!("key-{n}"), "value": { "text": format!("note {n}") } })
    };
    let writes: Vec<_> = (0..n_records).map(create).collect();
    let input = json!({ "repo": alice.did, "writes": writes });
    let output = server.procedure("com.atproto.repo.applyWrites").auth(&alice).json(&input).send().await.ok();
    let rev = output["commit"]["rev"].as_str().unwrap().to_owned();
    (alice, rev)
}

#[tokio::test]
async fn a_whole_repo_is_signed_and_complete_and_starts_with_its_commit_car_6() {
    let server = TestServer::start().await;
    let (alice, rev) = with_records(&server, 60).await;
    let answer = server.query(NSID).param("did", &alice.did).send().await;
    let file_name = alice.did.replace(':', "-");
    assert_eq!(
        answer.header("content-disposition").unwrap(),
        format!("attachment; filename=\"{file_name}.car\"")
    );
    let car = Car::of(&answer);
    let commit = car.commit(&server.published_key(&alice.did).await);
    assert_eq!((commit.did.as_str(), commit.rev.to_string()), (alice.did.as_str(), rev));

    let mut walk = Walk::new(commit.data);
    let mut found = BTreeMap::new();
    while let Some((key, cid)) = walk.next(&mut &car.blocks).unwrap() {
        let body = cbor::decode(&car.blocks[&cid]).unwrap();
        let text = body.get("text").and_then(|text| text.as_str()).unwrap().to_owned();
        found.insert(String::from_utf8(key).unwrap(), text);
    }
    let expected = (0..60).map(|n| (format!("com.example.note/key-{n}"), format!("note {n}")));
    assert_eq!(found, expected.collect());
    assert_eq!(car.order.len(), car.blocks.len(), "no block comes twice");
}

#[tokio::test]
async fn since_leaves_out_what_the_reader_has_sy_28() {
    let server = TestServer::start().await;
    let (alice, before) = with_records(&server, 30).await;
    let whole = Car::of(&server.query(NSID).param("did", &alice.did).send().await);
    let new = server.put_record(&alice, "com.example.note/new", json!({ "text": "new" })).await;
    let since = async |rev: &str| {
        let car = Car::of(&server.query(NSID).param("did", &alice.did).param("since", rev).send().await);
        assert_eq!(car.roots[0].to_string(), new["commit"]["cid"].as_str().unwrap());
        assert_eq!(car.order[0], car.roots[0]);
        car
    };

    let diff = since(&before).await;
    assert!(diff.order.iter().any(|cid| cid.to_string() == new["cid"].as_str().unwrap()));
    assert!(diff.order.iter().all(|cid| !whole.blocks.contains_key(cid)), "nothing that was there before");
    let mut together = whole.blocks.clone();
    together.extend(diff.blocks.clone());
    let commit = diff.commit(&server.published_key(&alice.did).await);
    let mut walk = Walk::new(commit.data);
    let mut n_records = 0;
    while let Some((_, cid)) = walk.next(&mut &together).unwrap() {
        assert!(together.contains_key(&cid));
        n_records += 1;
    }
    assert_eq!(n_records, 31);

    assert_eq!(since(new["commit"]["rev"].as_str().unwrap()).await.order.len(), 1);
    assert_eq!(since("3zzzzzzzzzzzz").await.order.len(), 1);
    let everything = Car::of(&server.query(NSID).param("did", &alice.did).send().await);
    assert_eq!(since("2222222222222").await.blocks, everything.blocks);
}

#[tokio::test]
async fn a_repo_without_records_is_two_blocks() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let car = Car::of(&server.query(NSID).param("did", &alice.did).send().await);
    assert_eq!(car.order.len(), 2);
    let commit = car.commit(&server.published_key(&alice.did).await);
    assert_eq!(commit.data.to_string(), "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm");
}

#[tokio::test]
async fn head_has_the_headers_and_no_body() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let answer = server.query(NSID).param("did", &alice.did).head().send().await;
    assert_eq!((answer.status.as_u16(), answer.bytes.len()), (200, 0));
    assert_eq!(answer.header("content-type"), Some("application/vnd.ipld.car"));
}

#[tokio::test]
async fn bad_input_and_hidden_repos_are_refused() {
    let server = TestServer::start().await;
    let (alice, _) = with_records(&server, 1).await;
    let bad =
        [("since", "nonsense"), ("since", "zzzzzzzzzzzzz"), ("since", "1"), ("since", "3jzfcijpj2z2aa")];
    check_bad_params(|| server.query(NSID).param("did", &alice.did), &bad).await;
    check_availability(&server, NSID, &alice, &[], TakendownTokens::Accepted).await;
}
