//! com.atproto.admin.getSubjectStatus.

use serde_json::{Value as Json, json};

use super::{NOBODY, blob_ref, repo_ref, strong_ref, take_down, update};
use crate::support::{Answer, TestServer};

async fn status(server: &TestServer, params: &[(&str, &str)]) -> Answer {
    let call = server.query("com.atproto.admin.getSubjectStatus").admin();
    params.iter().fold(call, |call, (name, value)| call.param(name, value)).send().await
}

const NO: fn() -> Json = || json!({ "applied": false });
const CASE_7: fn() -> Json = || json!({ "applied": true, "ref": "case 7" });

#[tokio::test]
async fn an_account_says_whether_it_is_taken_down_and_whether_it_is_deactivated() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let of_alice = async || status(&server, &[("did", &alice.did)]).await.ok();
    let subject = repo_ref(&alice);
    assert_eq!(of_alice().await, json!({ "subject": subject, "takedown": NO(), "deactivated": NO() }));
    take_down(&server, &subject).await;
    assert_eq!(of_alice().await, json!({ "subject": subject, "takedown": CASE_7(), "deactivated": NO() }));
    let rest = json!({ "applied": true });
    update(&server, json!({ "subject": subject, "deactivated": rest })).await.ok();
    assert_eq!(of_alice().await, json!({ "subject": subject, "takedown": CASE_7(), "deactivated": rest }));
}

#[tokio::test]
async fn a_record_and_a_blob_say_whether_they_are_taken_down() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let blob = server.upload(&alice, "text/plain", "hello").await;
    let written = server.put_record(&alice, "com.example.note/a", json!({ "media": blob })).await;
    let uri = written["uri"].as_str().unwrap();
    let cid = blob["ref"]["$link"].as_str().unwrap();

    let (record, blob) = (strong_ref(&written), blob_ref(&alice, &blob));
    let of_record = async || status(&server, &[("uri", uri)]).await.ok();
    let of_blob = async || status(&server, &[("did", &alice.did), ("blob", cid)]).await.ok();
    assert_eq!(of_record().await, json!({ "subject": record, "takedown": NO() }));
    assert_eq!(of_blob().await, json!({ "subject": blob, "takedown": NO() }));
    take_down(&server, &record).await;
    take_down(&server, &blob).await;
    assert_eq!(of_record().await, json!({ "subject": record, "takedown": CASE_7() }));
    assert_eq!(of_blob().await, json!({ "subject": blob, "takedown": CASE_7() }));
    // A blob before a record, a record before an account.
    let all = [("did", alice.did.as_str()), ("uri", uri), ("blob", cid)];
    assert_eq!(status(&server, &all).await.ok()["subject"], blob);
    assert_eq!(status(&server, &all[..2]).await.ok()["subject"], record);
}

#[tokio::test]
async fn what_is_not_here_or_not_named_is_refused() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let nothing = "bafkreidiq6d5r7cgvkwsl2t5n5ptzyrxepyauipv5tmdv7pzvexdlnh6qa";
    let record = format!("at://{}/com.example.note/a", alice.did);
    for params in [
        &[("did", NOBODY)][..],
        &[("uri", &record)],
        &[("uri", "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/com.example.note/a")],
        &[("did", &alice.did), ("blob", nothing)],
        &[("did", NOBODY), ("blob", nothing)],
    ] {
        status(&server, params).await.error(400, "NotFound");
    }
    let repo = format!("at://{}", alice.did);
    for params in [
        &[][..],
        &[("blob", nothing)],
        &[("blob", "nonsense"), ("did", &alice.did)],
        &[("uri", &repo)],
        &[("uri", "nonsense")],
        &[("did", "nonsense")],
    ] {
        status(&server, params).await.error(400, "InvalidRequest");
    }
}
