use std::{path::Path, time::Duration};

use atproto::data::cid;
use futures::stream;
use rookery::store::StoreError;
use serde_json::{Value as Json, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::call;
use crate::support::{TestAccount, TestServer};

const NSID: &str = "com.atproto.repo.uploadBlob";
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";

/// A record of a kind without a schema that refers to `blob`.
async fn refer(server: &TestServer, account: &TestAccount, blob: &Json) -> crate::support::Answer {
    let input = json!({ "collection": "com.example.media", "record": { "media": blob } });
    call(server, account, "createRecord", input).await
}

fn n_files(dir: &Path) -> usize {
    std::fs::read_dir(dir).unwrap().count()
}

async fn n_rows(server: &TestServer) -> i64 {
    let count = server
        .app
        .store
        .read(|db| Ok::<_, StoreError>(db.query_row("SELECT COUNT(*) FROM blob", (), |row| row.get(0))?));
    count.await.unwrap()
}

async fn assert_nothing_kept(server: &TestServer) {
    assert_eq!(n_rows(server).await, 0);
    assert_eq!(n_files(&server.data_dir().join("tmp")), 0);
    assert_eq!(n_files(&server.data_dir().join("blobs")), 0);
}

#[tokio::test]
async fn an_upload_answers_the_reference_that_a_record_takes_bl_2() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let output = server.procedure(NSID).auth(&alice).body("image/png", PNG).send().await.ok();
    let link = cid::for_raw(PNG).to_string();
    let blob =
        json!({ "$type": "blob", "ref": { "$link": link }, "mimeType": "image/png", "size": PNG.len() });
    assert_eq!(output, json!({ "blob": blob }));
    // Again: the same answer (BL-8).
    assert_eq!(server.upload(&alice, "image/png", PNG).await, blob);
    refer(&server, &alice, &blob).await.ok();
    assert_eq!(server.upload(&alice, "image/png", PNG).await, blob);
    assert_eq!(n_files(&server.data_dir().join("tmp")), 0);
}

/// What the bytes say beats the header; where they say nothing, and for text and JSON, the header stands.
#[tokio::test]
async fn the_type_is_what_the_bytes_say_else_what_the_header_says() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    for (header, bytes, settled) in [
        ("image/jpeg", PNG, "image/png"),
        ("*/*", PNG, "image/png"),
        ("text/plain", b"hello", "text/plain"),
        ("Text/HTML; charset=utf-8", b"<!DOCTYPE html><html></html>", "text/html"),
        ("application/json", b"{\"a\":1}", "application/json"),
        ("video/x-unheard-of", b"\x01\x02\x03", "video/x-unheard-of"),
        ("*/*", b"\x01\x02\x04", "application/octet-stream"),
    ] {
        assert_eq!(server.upload(&alice, header, bytes).await["mimeType"], settled, "{header}");
    }
}

/// Chunked, so only counting tells: the limit itself passes, one byte more does not (XR-21).
#[tokio::test]
async fn a_blob_over_the_limit_is_a_413_announced_or_streamed() {
    const LIMIT: usize = 300_000;
    let server = TestServer::start_with(|settings| settings.blob_upload_limit_bytes = LIMIT as u64).await;
    let alice = server.create_account("alice").await;
    let streamed = |bytes: usize| {
        let chunks =
            (0..bytes).step_by(1000).map(move |at| Ok::<_, std::io::Error>(vec![1; 1000.min(bytes - at)]));
        reqwest::Body::wrap_stream(stream::iter(chunks))
    };
    let upload = || server.procedure(NSID).auth(&alice);
    for bytes in [LIMIT + 1, 20 * LIMIT] {
        let announced = upload().body("text/plain", vec![1; bytes]).send().await;
        announced.error(413, "PayloadTooLarge");
        upload().body("text/plain", streamed(bytes)).send().await.error(413, "PayloadTooLarge");
    }
    assert_nothing_kept(&server).await;
    assert_eq!(upload().body("text/plain", vec![1; LIMIT]).send().await.ok()["blob"]["size"], LIMIT);
    assert_eq!(upload().body("text/plain", streamed(LIMIT)).send().await.ok()["blob"]["size"], LIMIT);
}

#[tokio::test]
async fn who_may_not_upload_is_told_so_whatever_the_size() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.create_account("alice").await, server.create_account("bob").await);
    let upload = || server.procedure(NSID).body("text/plain", vec![1; 8_000_000]);
    upload().send().await.error(401, "AuthMissing");
    upload().bearer("nonsense").send().await.error(400, "InvalidToken");
    upload().bearer(&alice.refresh_jwt).send().await.error(400, "InvalidToken");
    upload().admin().send().await.error(400, "InvalidToken");
    server.take_down(&bob.did).await;
    upload().auth(&bob).send().await.error(401, "AccountTakedown");
    // A deactivated account may be moving in (MG-5).
    server.deactivate(&alice.did).await;
    server.upload(&alice, "text/plain", "moving in").await;
    assert_eq!(n_rows(&server).await, 1);
}

#[tokio::test]
async fn bodies_that_are_no_upload_are_refused() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let upload = || server.procedure(NSID).auth(&alice);
    for content_type in ["", "png", "image/", "/png", "image/png/x", "ima ge/png", "image/p\u{e9}ng"] {
        let message = upload().body(content_type, "x").send().await.error(400, "InvalidRequest");
        assert!(message.contains("Content-Type"), "{content_type}: {message}");
    }
    for encoding in ["smoke", "gzip, smoke"] {
        let call = upload().body("text/plain", "x").header("content-encoding", encoding);
        call.send().await.error(415, "UnsupportedMediaType");
    }
    for encoding in ["gzip", "deflate", "br"] {
        let call = upload().body("text/plain", "not packed at all").header("content-encoding", encoding);
        call.send().await.error(400, "InvalidRequest");
    }
    server.query(NSID).auth(&alice).send().await.error(400, "InvalidRequest");
    assert!(upload().send().await.error(400, "InvalidRequest").contains("body is expected"));
    assert_nothing_kept(&server).await;
}

/// The blob is what was packed: its CID, size and limit are those of the unpacked bytes (BL-1).
#[tokio::test]
async fn a_packed_upload_is_unpacked() {
    const TEXT: &[u8] = b"the bytes of a blob, as they are";
    const DEFLATED: [u8; 34] = [
        43, 201, 72, 85, 72, 170, 44, 73, 45, 86, 200, 79, 83, 72, 84, 72, 202, 201, 79, 210, 81, 72, 44, 86,
        40, 201, 72, 173, 84, 72, 44, 74, 5, 0,
    ];
    let gzip = [&[31, 139, 8, 0, 0, 0, 0, 0, 2, 3], &DEFLATED[..], &[203, 41, 24, 8, 32, 0, 0, 0]].concat();
    let zlib = [&[120, 156], &DEFLATED[..], &[184, 20, 11, 16]].concat();
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let upload = |encoding: &'static str, bytes: Vec<u8>| {
        server.procedure(NSID).auth(&alice).body("text/plain", bytes).header("content-encoding", encoding)
    };
    for (encoding, bytes) in [("gzip", &gzip), ("deflate", &zlib), ("identity", &TEXT.to_vec())] {
        let blob = &upload(encoding, bytes.clone()).send().await.ok()["blob"];
        assert_eq!(blob["ref"]["$link"], cid::for_raw(TEXT).to_string(), "{encoding}");
        assert_eq!(blob["size"], TEXT.len(), "{encoding}");
    }
    for cut in [5, 20, gzip.len() - 9] {
        upload("gzip", gzip[..cut].to_vec()).send().await.error(400, "InvalidRequest");
    }
    assert_eq!((n_rows(&server).await, n_files(&server.data_dir().join("tmp"))), (1, 0));

    let small =
        TestServer::start_with(|settings| settings.blob_upload_limit_bytes = TEXT.len() as u64 - 1).await;
    let bob = small.create_account("bob").await;
    let call = small.procedure(NSID).auth(&bob).body("text/plain", gzip).header("content-encoding", "gzip");
    call.send().await.error(413, "PayloadTooLarge");
}

/// C-7: the bytes are taken, but no record can say that a blob has no size (DM-15).
#[tokio::test]
async fn an_empty_blob_is_accepted_and_no_record_may_refer_to_it() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let url = format!("{}/xrpc/{NSID}", server.url);
    let request = server.http.post(url).bearer_auth(&alice.access_jwt).header("content-type", "text/plain");
    let answer = request.header("content-length", "0").body("").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let blob = answer.json::<Json>().await.unwrap()["blob"].clone();
    assert_eq!(blob["size"], 0);
    assert_eq!(blob["ref"]["$link"], cid::for_raw(b"").to_string());
    refer(&server, &alice, &blob).await.error(400, "InvalidRequest");
    let mut lie = blob.clone();
    lie["size"] = json!(1);
    refer(&server, &alice, &lie).await.error(400, "InvalidSize");
}

/// BL-5, BL-6 as a client meets them.
#[tokio::test]
async fn a_reference_must_be_to_an_upload_and_say_what_it_is() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.create_account("alice").await, server.create_account("bob").await);
    let blob = server.upload(&alice, "text/plain", "hello").await;
    refer(&server, &bob, &blob).await.error(400, "BlobNotFound");
    let changed = |field: &str, value: Json| {
        let mut blob = blob.clone();
        blob[field] = value;
        blob
    };
    refer(&server, &alice, &changed("size", json!(6))).await.error(400, "InvalidSize");
    refer(&server, &alice, &changed("mimeType", json!("image/png"))).await.error(400, "InvalidMimeType");
    refer(&server, &alice, &blob).await.ok();
}

/// BL-3: the connection is broken off in the middle of an upload that had been flowing.
#[tokio::test]
async fn a_client_that_hangs_up_leaves_nothing() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    for (framing, chunk) in [
        ("content-length: 1000000", "x".repeat(1000)),
        ("transfer-encoding: chunked", format!("3e8\r\n{}\r\n", "x".repeat(1000))),
    ] {
        let mut socket = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).await.unwrap();
        let head = format!(
            "POST /xrpc/{NSID} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
             content-type: text/plain\r\n{framing}\r\n\r\n",
            alice.access_jwt
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        // More than is gathered before it is written.
        for _ in 0..400 {
            socket.write_all(chunk.as_bytes()).await.unwrap();
        }
        let tmp = server.data_dir().join("tmp");
        until("the upload has begun", || n_files(&tmp) == 1).await;
        drop(socket);
        until("its file is removed", || n_files(&tmp) == 0).await;
    }
    assert_nothing_kept(&server).await;
}

/// Many clients send all of a body before they look for an answer. Closing on them would take the answer away.
#[tokio::test]
async fn a_client_that_listens_only_when_all_is_sent_hears_why_it_was_refused() {
    const BYTES: usize = 12_000_000;
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    for (authorization, refusal) in [
        (format!("authorization: Bearer {}\r\n", alice.access_jwt), "HTTP/1.1 413"),
        ("authorization: Bearer nonsense\r\n".to_owned(), "HTTP/1.1 400"),
        (String::new(), "HTTP/1.1 401"),
    ] {
        let mut socket = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).await.unwrap();
        let head = format!(
            "POST /xrpc/{NSID} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{authorization}\
             content-type: text/plain\r\ncontent-length: {BYTES}\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        socket.write_all(&vec![1; BYTES]).await.unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(refusal.as_bytes()), "{}", String::from_utf8_lossy(&answer));
    }
    assert_nothing_kept(&server).await;
}

/// `Expect: 100-continue`: the refusal comes instead of the invitation, and nothing has to be sent.
#[tokio::test]
async fn a_client_that_asks_first_is_refused_before_it_sends() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let ask = async |bytes: usize| {
        let mut socket = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).await.unwrap();
        let head = format!(
            "POST /xrpc/{NSID} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
             content-type: text/plain\r\ncontent-length: {bytes}\r\nexpect: 100-continue\r\n\r\n",
            alice.access_jwt
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        socket.read_exact(&mut answer).await.unwrap();
        String::from_utf8(answer.to_vec()).unwrap()
    };
    assert_eq!(ask(100_000_000).await, "HTTP/1.1 413");
    assert_eq!(ask(5).await, "HTTP/1.1 100");
}

/// An end that comes early, from a client that still listens.
#[tokio::test]
async fn a_body_shorter_than_its_length_is_refused() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let mut socket = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).await.unwrap();
    let request = format!(
        "POST /xrpc/{NSID} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
         content-type: text/plain\r\ncontent-length: 100\r\n\r\nshort",
        alice.access_jwt
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    socket.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    let tmp = server.data_dir().join("tmp");
    until("its file is removed", || n_files(&tmp) == 0).await;
    assert_nothing_kept(&server).await;
}

/// Looks until it is so. The disk tells nobody when it changes.
async fn until(what: &str, so: impl Fn() -> bool) {
    let looking = async {
        while !so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), looking).await.unwrap_or_else(|_| panic!("not so: {what}"));
}

/// A token that the account's key has signed for this method does as well as a session.
#[tokio::test]
async fn a_service_uploads_in_the_name_of_an_account() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let token = |lxm: &'static str, aud: &'static str| {
        let call = server.query("com.atproto.server.getServiceAuth").auth(&alice);
        let call = call.param("aud", aud).param("lxm", lxm).send();
        async move { call.await.ok()["token"].as_str().unwrap().to_owned() }
    };
    let upload = async |token: &str| server.procedure(NSID).bearer(token).body("image/png", PNG).send().await;
    let ours = token(NSID, "did:web:localhost").await;
    let blob = upload(&ours).await.ok()["blob"].clone();
    refer(&server, &alice, &blob).await.ok();

    let wrong = token("com.atproto.repo.createRecord", "did:web:localhost").await;
    upload(&wrong).await.error(401, "BadJwtLexiconMethod");
    upload(&token(NSID, "did:web:other.test").await).await.error(401, "BadJwtAudience");
    let mut forged = ours.clone();
    forged.replace_range(forged.rfind('.').unwrap() + 1.., &"A".repeat(86));
    upload(&forged).await.error(401, "BadJwtSignature");

    // What is no token of either kind is refused as a session, not with a 500 as in the reference.
    for garbage in ["garbage", "a.b.c", "e30.e30.e30", "..", &"x".repeat(9000)] {
        upload(garbage).await.error(400, "InvalidToken");
    }
    // Nor does it open another method.
    let list = server.query("com.atproto.repo.listMissingBlobs").bearer(&ours).send().await;
    list.error(400, "InvalidToken");

    server.deactivate(&alice.did).await;
    upload(&ours).await.ok();
    server.take_down(&alice.did).await;
    upload(&ours).await.error(401, "AccountTakedown");
}
