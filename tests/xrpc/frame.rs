//! What all methods have in common: order of checks, bodies, verbs, paths, CORS.

use serde_json::json;

use crate::support::TestServer;

const CREATE_SESSION: &str = "com.atproto.server.createSession";

/// XR-1, XR-2
#[tokio::test]
async fn paths_and_verbs_that_no_method_has_are_refused() {
    let server = TestServer::start().await;
    for (path, status, name) in [
        ("com.atproto.server.noSuchMethod", 501, "MethodNotImplemented"),
        ("com.atproto.admin.getAccountInfo", 501, "MethodNotImplemented"),
        ("app.bsky.feed.getTimeline", 501, "MethodNotImplemented"),
        ("nonsense", 400, "InvalidRequest"),
        ("com.atproto..server", 400, "InvalidRequest"),
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
    call()
        .body("application/json", good)
        .header("content-encoding", "br")
        .send()
        .await
        .error(415, "UnsupportedMediaType");
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

/// Auth is judged before the body.
#[tokio::test]
async fn bad_auth_wins_over_a_bad_body() {
    let server = TestServer::start().await;
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
