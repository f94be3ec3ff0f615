use super::{Car, TakendownTokens, check_availability};
use crate::support::TestServer;

const NSID: &str = "com.atproto.sync.getCheckout";

#[tokio::test]
async fn the_old_name_of_get_repo_answers_the_same() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let checkout = server.query(NSID).param("did", &alice.did).send().await;
    let repo = server.query("com.atproto.sync.getRepo").param("did", &alice.did).send().await;
    assert_eq!(checkout.bytes, repo.bytes);
    Car::of(&checkout).commit(&server.published_key(&alice.did).await);
    check_availability(&server, NSID, &alice, &[], TakendownTokens::Refused).await;
}
