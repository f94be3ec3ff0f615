use atproto::event::Frame;
use serde_json::{Value as Json, json};

use super::{NOBODY, blob_ref, give_back, repo_ref, strong_ref, take_down, update};
use crate::support::{Call, PASSWORD, TestAccount, TestServer, firehose::seq};

fn last_seq(server: &TestServer) -> i64 {
    *server.app.store.ring().last_seq().borrow()
}

/// What was emitted after the event numbered `after`.
async fn events_after(server: &TestServer, after: i64) -> Vec<String> {
    let last = last_seq(server);
    if last == after {
        return Vec::new();
    }
    let frames = server.subscribe(&format!("?cursor={after}")).await.read_to(last).await;
    let kind = |frame: &Frame| match frame {
        Frame::Account(account) => account.status.clone().unwrap_or_else(|| "active".into()),
        Frame::Identity(_) => "identity".into(),
        Frame::Sync(_) => "sync".into(),
        Frame::Commit(_) => "commit".into(),
        other => format!("{other:?}"),
    };
    frames.iter().filter(|frame| seq(frame) > Some(after)).map(kind).collect()
}

fn of<'a>(server: &'a TestServer, method: &str, account: &TestAccount) -> Call<'a> {
    server.query(&format!("com.atproto.sync.{method}")).param("did", &account.did)
}

fn record_of<'a>(server: &'a TestServer, account: &TestAccount, rkey: &str) -> Call<'a> {
    let call = server.query("com.atproto.repo.getRecord").param("repo", &account.did);
    call.param("collection", "com.example.note").param("rkey", rkey)
}

async fn listed(server: &TestServer, account: &TestAccount) -> Vec<String> {
    let call = server.query("com.atproto.repo.listRecords").param("repo", &account.did);
    let output = call.param("collection", "com.example.note").send().await.ok();
    let records = output["records"].as_array().unwrap();
    records
        .iter()
        .map(|record| record["uri"].as_str().unwrap().rsplit('/').next().unwrap().to_owned())
        .collect()
}

fn sign_in<'a>(server: &'a TestServer, account: &TestAccount) -> Call<'a> {
    let input = json!({ "identifier": account.handle, "password": PASSWORD });
    server.procedure("com.atproto.server.createSession").json(&input)
}

fn refresh<'a>(server: &'a TestServer, account: &TestAccount) -> Call<'a> {
    server.procedure("com.atproto.server.refreshSession").bearer(&account.refresh_jwt)
}

/// AC-12: the public sees nothing of it, the operator and its owner do.
#[tokio::test]
async fn an_account_is_taken_down_and_given_back() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let blob = server.upload(&alice, "text/plain", "hello").await;
    server.put_record(&alice, "com.example.note/a", json!({ "media": blob })).await;
    let cid = blob["ref"]["$link"].as_str().unwrap();
    let blob = || of(&server, "getBlob", &alice).param("cid", cid);

    let before = last_seq(&server);
    take_down(&server, &repo_ref(&alice)).await;
    assert_eq!(events_after(&server, before).await, ["takendown"]);
    let status = of(&server, "getRepoStatus", &alice).send().await.ok();
    assert_eq!(status, json!({ "did": alice.did, "active": false, "status": "takendown" }));
    for call in [of(&server, "getRepo", &alice), of(&server, "listBlobs", &alice), blob()] {
        call.send().await.error(400, "RepoTakendown");
    }
    record_of(&server, &alice, "a").send().await.error(400, "InvalidRequest");
    for read in [of(&server, "getRepo", &alice), of(&server, "listBlobs", &alice), blob()] {
        assert_eq!(read.admin().send().await.status, 200);
    }
    assert_eq!(blob().auth(&alice).send().await.bytes, b"hello");

    let write = json!({ "repo": alice.did, "collection": "com.example.note", "record": {} });
    let write = || server.procedure("com.atproto.repo.createRecord").auth(&alice).json(&write);
    write().send().await.error(401, "AccountTakedown");
    sign_in(&server, &alice).send().await.error(401, "AccountTakedown");
    refresh(&server, &alice).send().await.error(401, "AccountTakedown");

    let before = last_seq(&server);
    give_back(&server, &repo_ref(&alice)).await;
    assert_eq!(events_after(&server, before).await, ["active"]);
    assert_eq!(of(&server, "getRepo", &alice).send().await.status, 200);
    assert_eq!(blob().send().await.bytes, b"hello");
    assert_eq!(listed(&server, &alice).await, ["a"]);
    write().send().await.ok();
    // The session from before has ended with the takedown.
    refresh(&server, &alice).send().await.error(400, "ExpiredToken");
    sign_in(&server, &alice).send().await.ok();
}

/// What was begun while nothing was taken down ends when the takedown is lifted, too.
#[tokio::test]
async fn lifting_a_takedown_ends_sessions_as_well() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    give_back(&server, &repo_ref(&alice)).await;
    refresh(&server, &alice).send().await.error(400, "ExpiredToken");
}

/// AC-7: the repository is signed as a whole, so only the reads of single records can leave one out.
#[tokio::test]
async fn a_record_is_taken_down_and_given_back() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let hidden = server.put_record(&alice, "com.example.note/a", json!({ "text": "one" })).await;
    server.put_record(&alice, "com.example.note/b", json!({})).await;
    let repo = async || of(&server, "getRepo", &alice).send().await.bytes;
    let (before, whole) = (last_seq(&server), repo().await);

    take_down(&server, &strong_ref(&hidden)).await;
    record_of(&server, &alice, "a").send().await.error(400, "RecordNotFound");
    record_of(&server, &alice, "b").send().await.ok();
    assert_eq!(listed(&server, &alice).await, ["b"]);
    // The tree, and so what relays have, is what it was.
    assert_eq!(repo().await, whole);
    assert!(events_after(&server, before).await.is_empty());
    // Another version of it is the same record.
    server.put_record(&alice, "com.example.note/a", json!({ "text": "two" })).await;
    record_of(&server, &alice, "a").send().await.error(400, "RecordNotFound");

    give_back(&server, &strong_ref(&hidden)).await;
    assert_eq!(record_of(&server, &alice, "a").send().await.ok()["value"]["text"], "two");
    assert_eq!(listed(&server, &alice).await, ["b", "a"]);

    let mut by_handle = strong_ref(&hidden);
    by_handle["uri"] = json!("at://alice.test/com.example.note/a");
    take_down(&server, &by_handle).await;
    assert_eq!(listed(&server, &alice).await, ["b"]);
}

/// BL-12, BL-5
#[tokio::test]
async fn a_blob_is_taken_down_and_given_back() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.create_account("alice").await, server.create_account("bob").await);
    let blob = server.upload(&alice, "text/plain", "hello").await;
    let bobs = server.upload(&bob, "text/plain", "hello").await;
    assert_eq!(blob, bobs);
    server.put_record(&alice, "com.example.note/a", json!({ "media": blob })).await;
    server.put_record(&bob, "com.example.note/a", json!({ "media": bobs })).await;
    let cid = blob["ref"]["$link"].as_str().unwrap();
    let get = |account| of(&server, "getBlob", account).param("cid", cid);
    let before = last_seq(&server);

    take_down(&server, &blob_ref(&alice, &blob)).await;
    for call in [get(&alice), get(&alice).admin(), get(&alice).auth(&alice)] {
        assert_eq!(call.send().await.error(400, "InvalidRequest"), "Blob not found");
    }
    let upload = || server.procedure("com.atproto.repo.uploadBlob").auth(&alice).body("text/plain", "hello");
    let refused = upload().send().await.error(400, "InvalidRequest");
    assert_eq!(refused, "Blob has been takendown, cannot re-upload");
    let write = json!({ "repo": alice.did, "collection": "com.example.note", "record": { "media": blob } });
    let write = || server.procedure("com.atproto.repo.createRecord").auth(&alice).json(&write);
    write().send().await.error(400, "BlobNotFound");
    // What refers to it stands; and another account's copy has nothing to do with it.
    record_of(&server, &alice, "a").send().await.ok();
    assert_eq!(get(&bob).send().await.bytes, b"hello");
    assert!(events_after(&server, before).await.is_empty());

    give_back(&server, &blob_ref(&alice, &blob)).await;
    assert_eq!(get(&alice).send().await.bytes, b"hello");
    write().send().await.ok();
    assert_eq!(upload().send().await.ok()["blob"], blob);
}

/// The takedown kept it; afterwards it is as good as an upload that nobody has used yet.
#[tokio::test]
async fn a_blob_that_lost_its_record_while_it_was_down_is_temporary_when_it_is_given_back() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let blob = server.upload(&alice, "text/plain", "hello").await;
    server.put_record(&alice, "com.example.note/a", json!({ "media": blob })).await;
    take_down(&server, &blob_ref(&alice, &blob)).await;
    server.delete_record(&alice, "com.example.note/a").await;
    give_back(&server, &blob_ref(&alice, &blob)).await;
    let cid = blob["ref"]["$link"].as_str().unwrap();
    let get = || of(&server, "getBlob", &alice).param("cid", cid).send();
    get().await.error(400, "InvalidRequest");
    server.put_record(&alice, "com.example.note/b", json!({ "media": blob })).await;
    assert_eq!(get().await.bytes, b"hello");
}

#[tokio::test]
async fn an_account_is_put_to_rest_and_woken_up() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let rest = |applied: bool| json!({ "subject": repo_ref(&alice), "deactivated": { "applied": applied } });
    let before = last_seq(&server);
    assert_eq!(update(&server, rest(true)).await.ok(), json!({ "subject": repo_ref(&alice) }));
    assert_eq!(events_after(&server, before).await, ["deactivated"]);
    of(&server, "getRepo", &alice).send().await.error(400, "RepoDeactivated");
    let before = last_seq(&server);
    update(&server, rest(false)).await.ok();
    assert_eq!(events_after(&server, before).await, ["active", "identity", "sync"]);
    assert_eq!(of(&server, "getRepo", &alice).send().await.status, 200);
    // What is taken down is not woken up.
    take_down(&server, &repo_ref(&alice)).await;
    update(&server, rest(false)).await.error(400, "AccountNotFound");
}

#[tokio::test]
async fn without_a_change_the_account_is_announced_once_more() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let before = last_seq(&server);
    update(&server, json!({ "subject": repo_ref(&alice) })).await.ok();
    assert_eq!(events_after(&server, before).await, ["active"]);
    take_down(&server, &repo_ref(&alice)).await;
    update(&server, json!({ "subject": repo_ref(&alice) })).await.ok();
    assert_eq!(events_after(&server, before).await, ["active", "takendown", "takendown"]);
}

#[tokio::test]
async fn taking_down_and_activating_at_once_is_refused_and_changes_nothing() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let before = last_seq(&server);
    let applied = |applied: bool| json!({ "applied": applied });
    let input =
        json!({ "subject": repo_ref(&alice), "takedown": applied(true), "deactivated": applied(false) });
    update(&server, input).await.error(400, "InvalidRequest");
    assert!(events_after(&server, before).await.is_empty());
    // All other pairs make sense.
    for (takedown, deactivated) in [(true, true), (false, true), (false, false)] {
        let input = json!({
            "subject": repo_ref(&alice),
            "takedown": applied(takedown),
            "deactivated": applied(deactivated),
        });
        update(&server, input).await.ok();
    }
    assert_eq!(of(&server, "getRepo", &alice).send().await.status, 200);
}

#[tokio::test]
async fn without_a_reason_the_time_stands_for_one() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let input = json!({ "subject": repo_ref(&alice), "takedown": { "applied": true } });
    assert_eq!(update(&server, input.clone()).await.ok(), input);
    let status = server.query("com.atproto.admin.getSubjectStatus").admin().param("did", &alice.did);
    let reference = status.send().await.ok()["takedown"]["ref"].as_str().unwrap().to_owned();
    assert!(reference.starts_with("20") && reference.ends_with('Z'), "{reference}");
}

/// A moderator's queue must not stop at what its owner has deleted in the meantime.
#[tokio::test]
async fn a_record_or_blob_that_is_gone_may_be_taken_down() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let written = server.put_record(&alice, "com.example.note/a", json!({})).await;
    server.delete_record(&alice, "com.example.note/a").await;
    take_down(&server, &strong_ref(&written)).await;
    let nothing =
        json!({ "ref": { "$link": "bafkreidiq6d5r7cgvkwsl2t5n5ptzyrxepyauipv5tmdv7pzvexdlnh6qa" } });
    take_down(&server, &blob_ref(&alice, &nothing)).await;
}

#[tokio::test]
async fn bad_input_is_refused() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let cid = "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm";
    let takedown = |subject: Json| json!({ "subject": subject, "takedown": { "applied": true } });
    for input in [
        json!({}),
        json!({ "subject": { "did": alice.did } }),
        takedown(json!({ "$type": "com.example.other", "did": alice.did })),
        takedown(json!({ "$type": "com.atproto.admin.defs#repoRef", "did": "nonsense" })),
        takedown(
            json!({ "$type": "com.atproto.repo.strongRef", "uri": format!("at://{}", alice.did), "cid": cid }),
        ),
        takedown(json!({ "$type": "com.atproto.repo.strongRef", "uri": "at://x", "cid": cid })),
        takedown(
            json!({ "$type": "com.atproto.repo.strongRef", "uri": format!("at://{}/com.example.note/a", alice.did) }),
        ),
        takedown(
            json!({ "$type": "com.atproto.admin.defs#repoBlobRef", "did": alice.did, "cid": "nonsense" }),
        ),
        json!({ "subject": repo_ref(&alice), "takedown": {} }),
        json!({ "subject": repo_ref(&alice), "takedown": { "applied": "yes" } }),
    ] {
        update(&server, input).await.error(400, "InvalidRequest");
    }
    let nobody = json!({ "$type": "com.atproto.admin.defs#repoRef", "did": NOBODY });
    update(&server, takedown(nobody)).await.error(400, "AccountNotFound");
    let record = json!({ "$type": "com.atproto.repo.strongRef", "uri": format!("at://{NOBODY}/com.example.note/a"), "cid": cid });
    update(&server, takedown(record)).await.error(400, "NotFound");
    let blob = json!({ "$type": "com.atproto.admin.defs#repoBlobRef", "did": NOBODY, "cid": cid });
    update(&server, takedown(blob)).await.error(400, "NotFound");
}
