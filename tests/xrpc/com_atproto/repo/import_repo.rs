use super::{NOTE, put};
use crate::support::TestServer;

const CAR: &str = "application/vnd.ipld.car";

#[tokio::test]
async fn an_exported_repo_goes_in_again_and_replaces_what_came_after() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    put(&server, &alice, "a", "one").await;
    let car = server.query("com.atproto.sync.getRepo").param("did", &alice.did).send().await.bytes;
    let later = put(&server, &alice, "b", "two").await;

    let import =
        |bytes: Vec<u8>| server.procedure("com.atproto.repo.importRepo").auth(&alice).body(CAR, bytes);
    let answer = import(car.clone()).send().await;
    assert_eq!((answer.status.as_u16(), answer.bytes.len()), (200, 0), "{}", answer.text());
    let list =
        server.query("com.atproto.repo.listRecords").param("repo", &alice.did).param("collection", NOTE);
    assert_eq!(list.send().await.ok()["records"].as_array().unwrap().len(), 1);
    let head = server.query("com.atproto.sync.getLatestCommit").param("did", &alice.did).send().await.ok();
    assert!(head["rev"].as_str() > later["commit"]["rev"].as_str(), "MG-10");

    let message = import(car[..car.len() - 1].to_vec()).send().await.error(400, "InvalidRequest");
    assert!(message.contains("middle of a section"), "{message}");
    let bob = server.create_account("bob").await;
    let theirs = server.procedure("com.atproto.repo.importRepo").auth(&bob).body(CAR, car.clone());
    assert!(theirs.send().await.error(400, "InvalidRequest").contains("the commit is of"), "RP-7");
    let json = server.procedure("com.atproto.repo.importRepo").auth(&alice).body("application/json", "{}");
    json.send().await.error(400, "InvalidRequest");
}

#[tokio::test]
async fn a_car_over_the_limit_is_a_413() {
    let server = TestServer::start_with(|settings| settings.import_limit_bytes = 10).await;
    let alice = server.create_account("alice").await;
    let call = server.procedure("com.atproto.repo.importRepo").auth(&alice).body(CAR, vec![0; 11]);
    call.send().await.error(413, "PayloadTooLarge");
}
