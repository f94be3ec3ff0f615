//! What caches may keep, and that what is gone is gone for whoever asks again.

use serde_json::json;

use crate::support::{Answer, Call, TestAccount, TestServer};

const IMMUTABLE: &str = "public, max-age=86400, s-maxage=300, immutable";
const REVALIDATE: &str = "public, no-cache";
const NOTE: &str = "com.example.note";

async fn put(server: &TestServer, alice: &TestAccount, text: &str) -> String {
    server.put_record(alice, &format!("{NOTE}/a"), json!({ "text": text })).await;
    let record = record(server, &alice.did, None).send().await;
    record.ok()["cid"].as_str().unwrap().to_owned()
}

fn record<'a>(server: &'a TestServer, repo: &str, cid: Option<&str>) -> Call<'a> {
    let call = server.query("com.atproto.repo.getRecord").param("repo", repo);
    let call = call.param("collection", NOTE).param("rkey", "a");
    match cid {
        Some(cid) => call.param("cid", cid),
        None => call,
    }
}

fn sync<'a>(server: &'a TestServer, name: &str, alice: &TestAccount) -> Call<'a> {
    let call = server.query(&format!("com.atproto.sync.{name}")).param("did", &alice.did);
    match name {
        "getRecord" => call.param("collection", NOTE).param("rkey", "a"),
        _ => call,
    }
}

fn is_private(answer: &Answer) -> bool {
    let vary = answer.headers.get_all("vary").iter().any(|vary| vary == "Authorization");
    answer.header("cache-control") == Some("private") && vary
}

#[tokio::test]
async fn what_a_cid_names_is_kept_and_what_moves_is_asked_for_again() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let cid = put(&server, &alice, "one").await;
    let answers = [
        (record(&server, &alice.did, Some(&cid)).send().await, IMMUTABLE),
        (sync(&server, "getBlocks", &alice).param("cids", &cid).send().await, IMMUTABLE),
        (record(&server, &alice.did, None).send().await, REVALIDATE),
        // The handle may come to mean another account.
        (record(&server, &alice.handle, Some(&cid)).send().await, REVALIDATE),
        (sync(&server, "getRepo", &alice).send().await, REVALIDATE),
        (sync(&server, "getRepo", &alice).param("since", "2222222222222").send().await, REVALIDATE),
        (sync(&server, "getRecord", &alice).send().await, REVALIDATE),
    ];
    for (answer, keep) in answers {
        assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (200, Some(keep)));
        assert!(answer.header("etag").unwrap().starts_with("W/\""), "it may be packed on the way");
        let vary = answer.headers.get_all("vary").iter().any(|vary| vary == "Authorization");
        assert!(!vary, "anybody gets the same");
    }
}

#[tokio::test]
async fn who_has_the_newest_is_told_so_until_there_is_a_newer_one() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let first = put(&server, &alice, "one").await;
    let calls = || {
        let blocks = sync(&server, "getBlocks", &alice).param("cids", &first);
        vec![
            (record(&server, &alice.did, None), true),
            (record(&server, &alice.handle, None), true),
            (sync(&server, "getRepo", &alice), true),
            (sync(&server, "getRecord", &alice), true),
            (record(&server, &alice.did, Some(&first)), false),
            (blocks, false),
        ]
    };
    let mut tags = Vec::new();
    for (call, _) in calls() {
        tags.push(call.send().await.header("etag").unwrap().to_owned());
    }
    for ((call, _), tag) in calls().into_iter().zip(&tags) {
        let answer = call.header("if-none-match", tag).send().await;
        assert_eq!((answer.status.as_u16(), answer.bytes.len()), (304, 0));
        assert_eq!(answer.header("etag"), Some(tag.as_str()));
        assert!(answer.header("cache-control").is_some());
    }
    put(&server, &alice, "two").await;
    for ((call, moves), tag) in calls().into_iter().zip(&tags) {
        let answer = call.header("if-none-match", tag).send().await;
        // What a CID names was replaced: it is gone, and not "the same".
        assert_eq!(answer.status.as_u16(), if moves { 200 } else { 400 });
    }
}

#[tokio::test]
async fn what_was_taken_down_is_gone_for_whoever_asks_again() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let cid = put(&server, &alice, "one").await;
    let call = || record(&server, &alice.did, Some(&cid));
    let tag = call().send().await.header("etag").unwrap().to_owned();
    let uri = format!("at://{}/{NOTE}/a", alice.did);
    let subject = json!({ "$type": "com.atproto.repo.strongRef", "uri": uri, "cid": cid });
    let input = json!({ "subject": subject, "takedown": { "applied": true, "ref": "1" } });
    server.procedure("com.atproto.admin.updateSubjectStatus").admin().json(&input).send().await.ok();
    let answer = call().header("if-none-match", &tag).send().await;
    assert_eq!(answer.header("cache-control"), None);
    answer.error(400, "RecordNotFound");
    server.deactivate(&alice.did).await;
    let answer = sync(&server, "getRepo", &alice).header("if-none-match", "*").send().await;
    assert!(is_private(&answer));
    answer.error(400, "RepoDeactivated");
}

#[tokio::test]
async fn what_credentials_were_sent_for_is_private() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let cid = put(&server, &alice, "one").await;
    for call in [
        sync(&server, "getRepo", &alice),
        sync(&server, "getRecord", &alice),
        sync(&server, "getBlocks", &alice).param("cids", &cid),
    ] {
        assert!(is_private(&call.auth(&alice).send().await));
    }
}

#[tokio::test]
async fn head_of_a_repo_says_the_same_and_costs_no_export() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let get = sync(&server, "getRepo", &alice).send().await;
    let head = sync(&server, "getRepo", &alice).head().send().await;
    assert_eq!(head.bytes, b"");
    for name in ["content-type", "content-length", "content-disposition", "cache-control", "etag"] {
        assert_eq!(head.header(name), get.header(name), "{name}");
    }
}

#[tokio::test]
async fn pages_may_read_tags() {
    let server = TestServer::start().await;
    let answer =
        server.query("com.atproto.server.describeServer").header("origin", "https://x.test").send().await;
    let exposed = answer.header("access-control-expose-headers").unwrap();
    for name in ["etag", "content-range"] {
        assert!(exposed.split(',').any(|exposed| exposed.trim() == name), "{exposed}");
    }
}
