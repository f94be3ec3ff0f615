//! What all methods have in common: order of checks, bodies, verbs, paths, CORS.

use serde_json::json;

use crate::support::TestServer;

const CREATE_SESSION: &str = "com.atproto.server.createSession";

/// XR-1, XR-2
#[tokio::test]
async fn paths_and_verbs_that_no_method_has_are_refused() {
    let server = TestServer::start().await;
    for (path, status, name) in [
        ("com.atproto.server.noSuchMethod", 400, "InvalidRequest"),
        ("app.bsky.feed.getTimeline", 400, "InvalidRequest"),
        ("nonsense", 400, "InvalidRequest"),
        ("com.atproto..server", 400, "InvalidRequest"),
        ("com.atproto.server.describeServer.", 400, "InvalidRequest"),
        ("com.atproto.server.describeServer//", 400, "InvalidRequest"),
        ("/com.atproto.server.describeServer", 400, "InvalidRequest"),
        ("com.atproto.server/describeServer", 400, "InvalidRequest"),
        ("com.atproto.server.describeServer/more", 400, "InvalidRequest"),
        ("com.atproto.server.describe%53erver", 400, "InvalidRequest"),
        ("", 400, "InvalidRequest"),
    ] {
        server.query(path).send().await.error(status, name);
    }
    let message = server.procedure("com.atproto.server.describeServer").json(&json!({})).send().await;
    assert_eq!(message.error(400, "InvalidRequest"), "Incorrect HTTP method (POST) expected GET");
    let message = server.query(CREATE_SESSION).send().await;
    assert_eq!(message.error(400, "InvalidRequest"), "Incorrect HTTP method (GET) expected POST");
    for verb in [reqwest::Method::PUT, reqwest::Method::DELETE, reqwest::Method::PATCH] {
        let url = format!("{}/xrpc/{CREATE_SESSION}", server.url);
        assert_eq!(server.http.request(verb, url).send().await.unwrap().status(), 400);
    }
    assert_eq!(server.query(CREATE_SESSION).head().send().await.status, 400);
}

#[tokio::test]
async fn a_slash_at_the_end_is_the_same_method() {
    let server = TestServer::start().await;
    server.query("com.atproto.server.describeServer/").send().await.ok();
    let answer =
        server.query("com.atproto.identity.resolveHandle/").param("handle", "nobody.test").send().await;
    answer.error(400, "HandleNotFound");
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let server = TestServer::start().await;
    let url = format!("{}/xrpc/com.atproto.server.describeServer", server.url);
    let response = server.http.head(url).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.bytes().await.unwrap().is_empty());

    let alice = server.create_account("alice").await;
    let call = || server.query("com.atproto.server.getSession").auth(&alice);
    let (get, head) = (call().send().await, call().head().send().await);
    assert_eq!(head.bytes, b"");
    for name in ["content-type", "content-length", "cache-control", "vary"] {
        assert_eq!(head.header(name), get.header(name), "{name}");
    }
    let refused = server.query("com.atproto.server.getSession").head().send().await;
    assert_eq!(refused.status, 401);
}

/// XR-5
#[tokio::test]
async fn bodies_that_are_not_the_input_are_refused() {
    let server = TestServer::start().await;
    let good = r#"{"identifier":"a","password":"b"}"#;
    let call = || server.procedure(CREATE_SESSION);
    call().send().await.error(400, "InvalidRequest");
    call().body("text/plain", good).send().await.error(400, "InvalidRequest");
    call().body("application/json", "").send().await.error(400, "InvalidRequest");
    for body in [
        "{",
        "[]",
        "null",
        "5",
        "{} {}",
        r#"{"identifier":1,"password":"b"}"#,
        r#"{"identifier":"a"}"#,
        r#"{"identifier":"a","identifier":"b","password":"c"}"#,
        "\u{0}",
        r#"{"identifier":"\ud800","password":"b"}"#,
    ] {
        call().body("application/json", body).send().await.error(400, "InvalidRequest");
    }
    let deep = format!("{}1{}", "[".repeat(4000), "]".repeat(4000));
    let asked_for = format!(r#"{{"identifier":{deep},"password":"b"}}"#);
    call().body("application/json", asked_for).send().await.error(400, "InvalidRequest");
    let ignored = format!(r#"{{"identifier":"a","password":"b","other":{deep}}}"#);
    call().body("application/json", ignored).send().await.error(401, "AuthenticationRequired");
    call().body("application/json", vec![0xff, 0xfe]).send().await.error(400, "InvalidRequest");
    let long = format!(r#"{{"identifier":"a","password":"{}"}}"#, "x".repeat(160 * 1024));
    let message = call().body("application/json", long).send().await.error(413, "PayloadTooLargeError");
    assert_eq!(message, "request entity too large");
    call().body("application/json; charset=UTF-8", good).send().await.error(401, "AuthenticationRequired");
    for (encoding, status, name) in
        [("br", 400, "InvalidRequest"), ("smoke", 415, "UnsupportedMediaTypeError")]
    {
        let call = call().body("application/json", good).header("content-encoding", encoding);
        call.send().await.error(status, name);
    }
}

/// A record may be a few levels deep; 4000 are refused, not fallen over.
#[tokio::test]
async fn json_that_is_thousands_of_levels_deep_is_refused() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        let deep = format!("{}1{}", open.repeat(4000), close.repeat(4000));
        let input = format!(
            r#"{{"repo":"{}","collection":"com.example.note","record":{{"deep":{deep}}}}}"#,
            alice.did
        );
        let call = server.procedure("com.atproto.repo.createRecord").auth(&alice);
        call.body("application/json", input).send().await.error(400, "InvalidRequest");
    }
}

#[tokio::test]
async fn the_name_of_the_prototype_is_refused_wherever_it_stands() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let query = server.query("com.atproto.sync.listRepos").param("__proto__", "x");
    assert!(query.send().await.error(400, "InvalidRequest").contains("__proto__"));
    let record = |record: &str| {
        let input =
            format!(r#"{{"repo":"{}","collection":"com.example.note","record":{record}}}"#, alice.did);
        server.procedure("com.atproto.repo.createRecord").auth(&alice).body("application/json", input).send()
    };
    record(r#"{"a":[{"__proto__":{}}]}"#).await.error(400, "InvalidRequest");
    record(r#"{"a":[{"\u005f_proto__":{}}]}"#).await.error(400, "InvalidRequest");
    record(r#"{"a":"__proto__"}"#).await.ok();
}

#[tokio::test]
async fn a_packed_body_counts_by_what_it_unpacks_to() {
    let server = TestServer::start().await;
    let good = r#"{"identifier":"a","password":"b"}"#;
    let call = |bytes: Vec<u8>, encoding: &'static str| {
        let call = server.procedure(CREATE_SESSION).body("application/json", bytes);
        call.header("content-encoding", encoding).send()
    };
    call(gzip(good.as_bytes()).await, "gzip").await.error(401, "AuthenticationRequired");
    call(gzip(&gzip(good.as_bytes()).await).await, "gzip, x-gzip").await.error(401, "AuthenticationRequired");
    let long = format!(r#"{{"identifier":"a","password":"{}"}}"#, "x".repeat(160 * 1024));
    let packed = gzip(long.as_bytes()).await;
    assert!(packed.len() < 1024);
    call(packed, "gzip").await.error(413, "PayloadTooLargeError");
}

/// JSON and binary bodies that are too long have different names (XR-21).
#[tokio::test]
async fn too_long_an_upload_is_named_as_the_reference_names_it() {
    let server = TestServer::start_with(|settings| settings.blob_upload_limit_bytes = 1000).await;
    let alice = server.create_account("alice").await;
    let call = || server.procedure("com.atproto.repo.uploadBlob").auth(&alice);
    call().body("text/plain", vec![b'x'; 1001]).send().await.error(413, "PayloadTooLarge");
    let bomb = gzip(&[b'x'; 100_000]).await;
    assert!(bomb.len() < 1000);
    let call = call().body("text/plain", bomb).header("content-encoding", "gzip");
    call.send().await.error(413, "PayloadTooLarge");
}

async fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = async_compression::tokio::write::GzipEncoder::new(Vec::new());
    tokio::io::AsyncWriteExt::write_all(&mut encoder, bytes).await.unwrap();
    tokio::io::AsyncWriteExt::shutdown(&mut encoder).await.unwrap();
    encoder.into_inner()
}

#[tokio::test]
async fn long_answers_are_packed_as_the_client_asks() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    for number in 0..30 {
        server
            .put_record(&alice, &format!("com.example.note/{number}"), json!({ "text": "a".repeat(40) }))
            .await;
    }
    let records = || {
        let call = server.query("com.atproto.repo.listRecords");
        call.param("repo", &alice.did).param("collection", "com.example.note")
    };
    let plain = records().send().await;
    assert_eq!(plain.header("content-encoding"), None);
    for (accepted, expected) in [
        ("gzip", Some("gzip")),
        ("deflate", Some("deflate")),
        ("br", Some("br")),
        ("gzip, deflate, br", Some("br")),
        ("br;q=0.5, gzip;q=1.0", Some("gzip")),
        ("identity", None),
        ("gzip;q=0", None),
        ("smoke", None),
    ] {
        let answer = records().header("accept-encoding", accepted).send().await;
        assert_eq!(answer.header("content-encoding"), expected, "{accepted}");
        assert_eq!(answer.bytes.len() < plain.bytes.len(), expected.is_some(), "{accepted}");
        assert!(answer.headers.get_all("vary").iter().any(|vary| vary == "accept-encoding"), "{accepted}");
    }
    let repo = server.query("com.atproto.sync.getRepo").param("did", &alice.did);
    let repo = repo.header("accept-encoding", "gzip").send().await;
    assert_eq!(repo.header("content-encoding"), Some("gzip"));
    assert_eq!(repo.header("content-type"), Some("application/vnd.ipld.car"));
    let short = server.query("com.atproto.server.describeServer").header("accept-encoding", "gzip");
    assert_eq!(short.send().await.header("content-encoding"), None);
}

/// Caches in between must not give one caller's answer to another.
#[tokio::test]
async fn what_depends_on_the_caller_is_private() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let private = |answer: &crate::support::Answer| {
        let vary = answer.headers.get_all("vary").iter().any(|vary| vary == "Authorization");
        (answer.header("cache-control") == Some("private"), vary)
    };
    let session = || server.query("com.atproto.server.getSession");
    assert_eq!(private(&session().auth(&alice).send().await), (true, true));
    assert_eq!(private(&session().send().await), (true, true));
    let optional = server.query("com.atproto.sync.getLatestCommit").param("did", &alice.did);
    assert_eq!(private(&optional.send().await), (true, true));
    assert_eq!(private(&server.query("com.atproto.server.describeServer").send().await), (false, false));
}

#[tokio::test]
async fn methods_without_input_refuse_a_body() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let call = || server.procedure("com.atproto.server.refreshSession").bearer(&alice.refresh_jwt);
    call().body("application/json", "{}").send().await.error(400, "InvalidRequest");
    server
        .query("com.atproto.server.describeServer")
        .body("application/json", "{}")
        .send()
        .await
        .error(400, "InvalidRequest");
    call().send().await.ok();
}

/// Auth is judged before the body, and parameters before auth.
#[tokio::test]
async fn bad_auth_wins_over_a_bad_body() {
    let server = TestServer::start().await;
    let query = || server.query("com.atproto.repo.listMissingBlobs").body("text/plain", "x");
    query().send().await.error(401, "AuthMissing");
    query().param("limit", "many").send().await.error(400, "InvalidRequest");
    let call = || server.procedure("com.atproto.server.refreshSession").body("text/plain", "x");
    call().send().await.error(401, "AuthMissing");
    call().bearer("nonsense").send().await.error(400, "InvalidToken");
}

/// XR-9
#[tokio::test]
async fn pages_of_any_origin_may_call_and_read_errors() {
    let server = TestServer::start().await;
    let answer =
        server.query("com.atproto.server.getSession").header("origin", "https://app.example").send().await;
    answer.error(401, "AuthMissing");
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert!(answer.header("access-control-expose-headers").unwrap().contains("www-authenticate"));

    let url = format!("{}/xrpc/com.atproto.repo.createRecord", server.url);
    let preflight = server
        .http
        .request(reqwest::Method::OPTIONS, url)
        .header("origin", "https://app.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,atproto-proxy")
        .send()
        .await
        .unwrap();
    assert!(preflight.status().is_success());
    let header = |name: &str| preflight.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("access-control-max-age"), "86400");
    assert_eq!(header("access-control-allow-headers"), "authorization,atproto-proxy");
    assert!(header("access-control-allow-methods").contains("POST"));
}
