use serde_json::{Value as Json, json};

use super::{NOTHING, TakendownTokens, check_availability, check_bad_params};
use crate::support::{Answer, Call, TestAccount, TestServer};

const NSID: &str = "com.atproto.sync.getBlob";
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";

fn cid_of(blob: &Json) -> &str {
    blob["ref"]["$link"].as_str().unwrap()
}

/// Uploads a blob and refers to it.
async fn held(server: &TestServer, alice: &TestAccount, content_type: &str, bytes: Vec<u8>) -> String {
    let blob = server.upload(alice, content_type, bytes).await;
    server.put_record(alice, "com.example.media/a", json!({ "media": blob })).await;
    cid_of(&blob).to_owned()
}

fn get<'a>(server: &'a TestServer, alice: &TestAccount, cid: &str) -> Call<'a> {
    server.query(NSID).param("did", &alice.did).param("cid", cid)
}

/// BL-10: a browser must neither guess another type nor run what users upload.
#[track_caller]
fn assert_headers(answer: &Answer, cid: &str, content_type: &str, bytes: usize) {
    for (name, value) in [
        ("content-type", content_type),
        ("content-length", &bytes.to_string()),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "default-src 'none'; sandbox"),
        ("content-disposition", &format!("attachment; filename=\"{cid}\"")),
        ("etag", &format!("\"{cid}\"")),
        ("cache-control", "public, max-age=86400, s-maxage=300, immutable"),
        ("accept-ranges", "bytes"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    assert!(!answer.headers.get_all("vary").iter().any(|value| value == "Authorization"));
}

#[tokio::test]
async fn a_blob_comes_back_with_the_headers_of_bl_10() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let cid = held(&server, &alice, "image/png", PNG.to_vec()).await;
    let answer = get(&server, &alice, &cid).send().await;
    assert_eq!((answer.status.as_u16(), answer.bytes.as_slice()), (200, PNG));
    assert_headers(&answer, &cid, "image/png", PNG.len());
    let head = get(&server, &alice, &cid).head().send().await;
    assert_eq!((head.status.as_u16(), head.bytes.len()), (200, 0));
    assert_headers(&head, &cid, "image/png", PNG.len());
}

#[tokio::test]
async fn a_part_of_a_blob_is_sent_alone() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let cid = held(&server, &alice, "image/png", PNG.to_vec()).await;
    let part = async |range: &str| get(&server, &alice, &cid).header("range", range).send().await;
    let answer = part("bytes=1-3").await;
    assert_eq!((answer.status.as_u16(), answer.bytes.as_slice()), (206, &b"PNG"[..]));
    assert_headers(&answer, &cid, "image/png", 3);
    assert_eq!(answer.header("content-range").unwrap(), format!("bytes 1-3/{}", PNG.len()));
    let answer = part("bytes=-4").await;
    assert_eq!((answer.status.as_u16(), answer.bytes.as_slice()), (206, &b"IHDR"[..]));
    let answer = part("bytes=16-").await;
    assert_eq!(answer.header("content-range").unwrap(), format!("bytes */{}", PNG.len()));
    answer.error(416, "RangeNotSatisfiable");
    let call = get(&server, &alice, &cid).header("range", "bytes=1-3").header("if-range", "\"other\"");
    let answer = call.send().await;
    assert_eq!((answer.status.as_u16(), answer.bytes.as_slice()), (200, PNG));
}

#[tokio::test]
async fn a_blob_that_the_client_has_is_not_sent_again() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let cid = held(&server, &alice, "image/png", PNG.to_vec()).await;
    for tag in [format!("\"{cid}\""), format!("W/\"{cid}\""), format!("\"x\", \"{cid}\""), "*".into()] {
        let answer = get(&server, &alice, &cid).header("if-none-match", &tag).send().await;
        assert_eq!((answer.status.as_u16(), answer.bytes.len()), (304, 0), "{tag}");
        assert_eq!(answer.header("etag").unwrap(), format!("\"{cid}\""));
    }
    let other = get(&server, &alice, &cid).header("if-none-match", "\"other\"").send().await;
    assert_eq!(other.bytes, PNG);
}

/// The length is that of the blob, so text is not compressed on the way.
#[tokio::test]
async fn text_goes_out_byte_for_byte() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let text = "all work and no play ".repeat(5000).into_bytes();
    let cid = held(&server, &alice, "text/plain; charset=utf-8", text.clone()).await;
    let answer = get(&server, &alice, &cid).header("accept-encoding", "gzip").send().await;
    assert_eq!(answer.header("content-encoding"), None);
    assert_headers(&answer, &cid, "text/plain", text.len());
    assert!(answer.bytes == text);
}

#[tokio::test]
async fn a_blob_that_is_not_served_is_an_invalid_request() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.create_account("alice").await, server.create_account("bob").await);
    let not_found = |answer: Answer| assert_eq!(answer.error(400, "InvalidRequest"), "Blob not found");
    not_found(get(&server, &alice, NOTHING).send().await);
    // Waiting for its record (BL-4), also for its owner.
    let blob = server.upload(&alice, "text/plain", "waiting").await;
    not_found(get(&server, &alice, cid_of(&blob)).send().await);
    not_found(get(&server, &alice, cid_of(&blob)).auth(&alice).send().await);
    // Another account's (BL-1).
    let cid = held(&server, &alice, "text/plain", b"held".to_vec()).await;
    not_found(get(&server, &bob, &cid).send().await);
    // Its record is gone (BL-7).
    server.delete_record(&alice, "com.example.media/a").await;
    not_found(get(&server, &alice, &cid).send().await);
}

#[tokio::test]
async fn bad_input_and_hidden_repos_are_refused() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let cid = held(&server, &alice, "text/plain", b"held".to_vec()).await;
    let bad = [("cid", "nonsense"), ("cid", "../../rookery.sqlite"), ("cid", &cid[..cid.len() - 1])];
    check_bad_params(|| server.query(NSID).param("did", &alice.did), &bad).await;
    server.query(NSID).param("did", &alice.did).send().await.error(400, "InvalidRequest");
    check_availability(&server, NSID, &alice, &[("cid", &cid)], TakendownTokens::Accepted).await;
}
