//! Methods that this server does not have, sent on to the service that has them.

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Body, http::HeaderName, response::IntoResponse, routing::any};
use bytes::Bytes;
use futures::{StreamExt, stream};
use rookery::service::{auth::Scope, proxy::RESPONSE_BYTES_MAX};
use serde_json::json;
use tokio::sync::{Notify, mpsc};

use crate::support::{
    TestServer,
    upstream::{SERVICE_DID, Upstream, answer, ok, server_with_appview},
};

const METHOD: &str = "com.example.thing.get";
const NAMED_DID: &str = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";

/// PX-1, PX-2
#[tokio::test]
async fn a_bad_proxy_header_is_told_before_anything_about_the_caller() {
    let server = TestServer::start().await;
    server.publish_services(NAMED_DID, &[("#other", "Other", "https://a.example.com")]).await;
    for (header, message) in [
        ("#svc", "no did specified in proxy header"),
        (NAMED_DID, "no service id specified in proxy header"),
        (&format!("{NAMED_DID}#"), "no service id specified in proxy header"),
        (&format!("{NAMED_DID}#a#b"), "invalid proxy header format"),
        (&format!("{NAMED_DID}# a"), "proxy header cannot contain spaces"),
        ("did:plc:bbbbbbbbbbbbbbbbbbbbbbbb#svc", "could not resolve proxy did"),
        ("nonsense#svc", "could not resolve proxy did"),
        (&format!("{NAMED_DID}#svc"), "could not resolve proxy did service url"),
    ] {
        let answer = server.query(METHOD).header("atproto-proxy", header).send().await;
        assert_eq!(answer.error(400, "InvalidRequest"), message, "{header}");
    }
    let message = server.query(METHOD).send().await.error(400, "InvalidRequest");
    assert_eq!(message, "No service configured for com.example.thing.get");
}

/// PX-4, SA-1 and following, checklist 54 and 56
#[tokio::test]
async fn a_call_goes_on_in_the_name_of_the_caller_and_with_nothing_else_of_theirs() {
    let upstream = Upstream::start(|_| {
        answer(
            203,
            &[
                ("content-type", "text/plain"),
                ("content-language", "de"),
                ("atproto-repo-rev", "3kznmn7xqxl22"),
                ("atproto-content-labelers", "did:web:l.example.com"),
                ("retry-after", "7"),
                ("set-cookie", "secret=1"),
                ("x-other", "1"),
            ],
            "hallo",
        )
    })
    .await;
    let server = server_with_appview(&upstream).await;
    let alice = server.create_account("alice").await;

    let call = server.query(METHOD).auth(&alice).param("q", "a b&c=ü").param("r", "%2F");
    let answer = call
        .header("accept-language", "de")
        .header("atproto-accept-labelers", "did:web:l.example.com")
        .header("x-bsky-topics", "t")
        .header("x-atproto-new", "n")
        .header("cookie", "secret")
        .header("dpop", "secret")
        .header("x-forwarded-for", "192.0.2.1")
        .send()
        .await;

    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (203, "hallo"));
    for (name, value) in [
        ("content-type", Some("text/plain")),
        ("content-language", Some("de")),
        ("atproto-repo-rev", Some("3kznmn7xqxl22")),
        ("atproto-content-labelers", Some("did:web:l.example.com")),
        ("retry-after", Some("7")),
        ("set-cookie", None),
        ("x-other", None),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    let seen = upstream.seen_once(METHOD);
    assert_eq!(seen.path_and_query, "/xrpc/com.example.thing.get?q=a+b%26c%3D%C3%BC&r=%252F");
    for (name, value) in [
        ("accept-language", Some("de")),
        ("atproto-accept-labelers", Some("did:web:l.example.com")),
        ("x-bsky-topics", Some("t")),
        ("x-atproto-new", Some("n")),
        ("accept-encoding", Some("identity")),
        ("cookie", None),
        ("dpop", None),
        ("x-forwarded-for", None),
    ] {
        assert_eq!(seen.header(name), value, "{name}");
    }
    let claims = seen.claims();
    assert_eq!(claims["iss"], alice.did);
    assert_eq!(claims["aud"], SERVICE_DID);
    assert_eq!(claims["lxm"], METHOD);
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 60);
    let token = seen.header("authorization").unwrap().strip_prefix("Bearer ").unwrap();
    assert_ne!(token, alice.access_jwt);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, signature);
    server.published_key(&alice.did).await.verify(signed.as_bytes(), &signature.unwrap()).unwrap();
}

#[tokio::test]
async fn a_service_named_by_the_header_is_found_in_its_did_document() {
    let upstream = Upstream::start(|_| ok(json!({ "from": "named" }))).await;
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let absolute = format!("{NAMED_DID}#svc");
    server.publish_services(NAMED_DID, &[(&absolute, "Any", &upstream.url)]).await;
    let call = server.query(METHOD).auth(&alice).header("atproto-proxy", &absolute);
    assert_eq!(call.send().await.ok()["from"], "named");
    assert_eq!(upstream.seen_once(METHOD).claims()["aud"], NAMED_DID);
}

/// A service that the operator has set is reached by what the operator wrote: nobody resolves its DID.
#[tokio::test]
async fn configured_services_are_reached_by_header_and_by_method() {
    let appview = Upstream::start(|_| ok(json!({ "from": "appview" }))).await;
    let moderation = Upstream::start(|_| ok(json!({ "from": "moderation" }))).await;
    let (appview_at, mut moderation_at) = (appview.service(), moderation.service());
    moderation_at.did = "did:web:mod.example.com".parse().unwrap();
    let server = TestServer::start_with(|settings| {
        settings.appview = Some(appview_at);
        settings.mod_service = Some(moderation_at);
    })
    .await;
    let alice = server.create_account("alice").await;
    let from = async |nsid: &str, header: &str| {
        let call = server.query(nsid).auth(&alice).header("atproto-proxy", header);
        call.send().await.ok()["from"].as_str().unwrap().to_owned()
    };
    assert_eq!(from(METHOD, "").await, "appview");
    assert_eq!(from("chat.bsky.convo.listConvos", "").await, "appview");
    assert_eq!(from("tools.ozone.moderation.queryEvents", "").await, "moderation");
    assert_eq!(from("tools.ozone.set.querySets", "").await, "appview");
    assert_eq!(from(METHOD, "did:web:mod.example.com#atproto_labeler").await, "moderation");
    assert_eq!(
        from("tools.ozone.moderation.queryEvents", &format!("{SERVICE_DID}#bsky_appview")).await,
        "appview"
    );
}

/// XR-11, PX-7, checklist 10
#[tokio::test]
async fn some_methods_are_for_nobody_and_some_not_for_app_passwords() {
    let upstream = Upstream::start(|_| ok(json!({}))).await;
    let server = server_with_appview(&upstream).await;
    let alice = server.create_account("alice").await;
    let app_password = server.token(&alice, Scope::AppPass);
    let privileged = server.token(&alice, Scope::AppPassPrivileged);

    let bad_method = server.procedure("com.atproto.server.UPDATEEMAIL").auth(&alice).send().await;
    assert_eq!(bad_method.error(400, "InvalidToken"), "Bad token method");
    let call = |token: &str| server.query("chat.bsky.convo.listconvos").bearer(token);
    assert_eq!(call(&app_password).send().await.error(400, "InvalidToken"), "Bad token method");
    assert!(upstream.seen().is_empty());
    call(&privileged).send().await.ok();
    server.query(METHOD).bearer(&app_password).send().await.ok();
    assert_eq!(upstream.seen().len(), 2);

    server.query(METHOD).send().await.error(401, "AuthMissing");
    let takendown = server.token(&alice, Scope::Takendown);
    server.query(METHOD).bearer(&takendown).send().await.error(400, "InvalidToken");
    let call = server.http.put(format!("{}/xrpc/{METHOD}", server.url)).bearer_auth(&alice.access_jwt);
    assert_eq!(call.send().await.unwrap().status(), 400);
    assert_eq!(upstream.seen().len(), 2);
}

/// PX-3: an access token lives on for two hours after its account has been taken down.
#[tokio::test]
async fn nothing_goes_on_in_the_name_of_an_account_that_is_taken_down() {
    let upstream = Upstream::start(|_| ok(json!({}))).await;
    let server = server_with_appview(&upstream).await;
    let alice = server.create_account("alice").await;
    server.query(METHOD).auth(&alice).send().await.ok();
    server.take_down(&alice.did).await;
    server.query(METHOD).auth(&alice).send().await.error(401, "AccountTakedown");
    assert_eq!(upstream.seen().len(), 1);
}

/// Checklist 55
#[tokio::test]
async fn refusals_keep_their_name_and_message_and_a_500_is_a_502() {
    let upstream = Upstream::start(|seen| {
        let query = seen.path_and_query.split_once('?').unwrap().1;
        let (status, rest) = query.strip_prefix("s=").unwrap().split_once('&').unwrap();
        let (content_type, body) = match rest {
            "json=1" => ("application/json", r#"{"error":"Custom","message":"why","other":1}"#),
            "html=1" => ("text/html", r#"{"error":"Custom","message":"why"}"#),
            _ => ("application/json", "nonsense"),
        };
        let headers = [("content-type", content_type), ("retry-after", "9"), ("content-language", "de")];
        answer(status.parse().unwrap(), &headers, body)
    })
    .await;
    let server = server_with_appview(&upstream).await;
    let alice = server.create_account("alice").await;
    for (status, kind, expected) in [
        (400, "json", (400, "Custom", "why")),
        (500, "json", (502, "Custom", "why")),
        (501, "json", (501, "Custom", "why")),
        (404, "html", (404, "XRPCNotSupported", "XRPC Not Supported")),
        (500, "html", (502, "UpstreamFailure", "Upstream Failure")),
        (429, "broken", (429, "RateLimitExceeded", "Rate Limit Exceeded")),
        (418, "broken", (418, "InvalidRequest", "Invalid Request")),
    ] {
        let answer = server.query(METHOD).auth(&alice).param("s", status).param(kind, 1).send().await;
        assert_eq!(answer.error(expected.0, expected.1), expected.2, "{status} {kind}");
        assert_eq!(answer.header("retry-after"), Some("9"));
        assert_eq!(answer.header("content-language"), None);
    }
    let head = server.query(METHOD).auth(&alice).param("s", 404).param("json", 1).head().send().await;
    assert_eq!((head.status.as_u16(), head.bytes.len()), (404, 0));
}

#[tokio::test]
async fn a_service_that_is_not_there_is_a_502_that_does_not_say_where() {
    let server = {
        let upstream = Upstream::start(|_| ok(json!({}))).await;
        server_with_appview(&upstream).await
    };
    let alice = server.create_account("alice").await;
    let message = server.query(METHOD).auth(&alice).send().await.error(502, "UpstreamFailure");
    assert_eq!(message, "Upstream service unreachable");
}

/// PX-6: redirects are the client's to see, not ours to follow.
#[tokio::test]
async fn a_redirect_is_not_followed() {
    let upstream =
        Upstream::start(|_| answer(302, &[("location", "/xrpc/com.example.other.thing")], "")).await;
    let server = server_with_appview(&upstream).await;
    let alice = server.create_account("alice").await;
    let answer = server.query(METHOD).auth(&alice).send().await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (302, None));
    assert_eq!(upstream.seen().len(), 1);
}

/// PX-6: outside a sandbox, a DID document cannot send this server to an address of its own network.
#[tokio::test]
async fn addresses_that_only_this_server_can_see_are_not_called() {
    let upstream = Upstream::start(|_| ok(json!({}))).await;
    let server = TestServer::start_with(|settings| settings.dev = false).await;
    let alice = server.create_account("alice").await;
    for endpoint in [
        &upstream.url,
        "https://127.0.0.1",
        "https://169.254.169.254",
        "https://[::1]",
        "https://[::ffff:10.0.0.1]",
        "https://localhost",
        "https://intranet",
        "http://service.example.com",
    ] {
        server.publish_services(NAMED_DID, &[("#svc", "Any", endpoint)]).await;
        let call = server.query(METHOD).auth(&alice).header("atproto-proxy", &format!("{NAMED_DID}#svc"));
        let message = call.send().await.error(400, "InvalidRequest");
        assert!(message.starts_with("could not use proxy did service url"), "{endpoint}: {message}");
    }
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn the_body_of_a_post_goes_on_as_it_is() {
    let upstream = Upstream::start(|seen| ok(json!({ "length": seen.body.len() }))).await;
    let server = server_with_appview(&upstream).await;
    let alice = server.create_account("alice").await;
    let long = vec![b'x'; 3 << 20];
    let sized = server.procedure(METHOD).auth(&alice).body("application/x-thing", long.clone());
    assert_eq!(sized.header("content-encoding", "br").send().await.ok()["length"], long.len());
    let seen = upstream.seen_once(METHOD);
    assert_eq!(seen.header("content-type"), Some("application/x-thing"));
    assert_eq!(seen.header("content-encoding"), Some("br"));
    assert_eq!(seen.header("content-length"), Some(long.len().to_string().as_str()));
    assert!(seen.body == long);

    let pieces = stream::iter(["ab", "cd"]).map(Ok::<_, std::io::Error>);
    let chunked = server.procedure("com.example.thing.put").auth(&alice);
    let chunked = chunked.body("text/plain", reqwest::Body::wrap_stream(pieces));
    assert_eq!(chunked.send().await.ok()["length"], 4);
    let empty = server.procedure("com.example.thing.touch").auth(&alice);
    assert_eq!(empty.send().await.ok()["length"], 0);
    let seen = upstream.seen_once("com.example.thing.touch");
    assert_eq!((seen.header("content-length"), seen.header("transfer-encoding")), (Some("0"), None));
}

/// What the service sends is passed on as it comes: the first piece arrives while the rest has not been written.
#[tokio::test]
async fn answers_are_not_held_back_until_they_are_whole() {
    let go_on = Arc::new(Notify::new());
    let waits = go_on.clone();
    let router = Router::new().fallback(move || {
        let waits = waits.clone();
        async move {
            let second = stream::once(async move {
                waits.notified().await;
                Ok::<_, std::io::Error>(Bytes::from_static(b"second"))
            });
            let first = stream::iter([Ok(Bytes::from_static(b"first"))]);
            Body::from_stream(first.chain(second)).into_response()
        }
    });
    let upstream = Upstream::of(router).await;
    let server = server_with_appview(&upstream).await;
    let alice = server.create_account("alice").await;
    let request = server.http.get(format!("{}/xrpc/{METHOD}", server.url)).bearer_auth(&alice.access_jwt);
    let mut response = request.send().await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "first");
    go_on.notify_one();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "second");
    assert_eq!(response.chunk().await.unwrap(), None);
}

/// The answer of a service that breaks off, or never ends, must not look whole.
#[tokio::test]
async fn an_answer_that_breaks_off_or_never_ends_breaks_off_here() {
    let break_off = Arc::new(Notify::new());
    let waits = break_off.clone();
    let broken = move || {
        let waits = waits.clone();
        async move {
            let end = stream::once(async move {
                waits.notified().await;
                Err(std::io::Error::other("gone"))
            });
            Body::from_stream(stream::iter([Ok(Bytes::from_static(b"some"))]).chain(end))
        }
    };
    let endless =
        || Body::from_stream(stream::repeat(Bytes::from(vec![b'x'; 64 * 1024])).map(Ok::<_, std::io::Error>));
    let announced = [(HeaderName::from_static("content-length"), (RESPONSE_BYTES_MAX + 1).to_string())];
    let router = Router::new()
        .route("/xrpc/com.example.thing.broken", any(broken))
        .route("/xrpc/com.example.thing.endless", any(async move || endless()))
        .route("/xrpc/com.example.thing.long", any(async move || (announced, endless())));
    let upstream = Upstream::of(router).await;
    let server = server_with_appview(&upstream).await;
    let alice = server.create_account("alice").await;
    let get = async |nsid: &str| {
        let request = server.http.get(format!("{}/xrpc/{nsid}", server.url));
        request.bearer_auth(&alice.access_jwt).send().await.unwrap()
    };
    for nsid in ["com.example.thing.broken", "com.example.thing.endless"] {
        let mut response = get(nsid).await;
        assert_eq!(response.status(), 200);
        let mut read = 0;
        let end = loop {
            match response.chunk().await {
                Ok(Some(piece)) => read += piece.len() as u64,
                end => break end,
            }
            break_off.notify_one();
        };
        assert!(end.is_err(), "{nsid} looked whole after {read} bytes");
        assert!(read <= RESPONSE_BYTES_MAX, "{nsid}: {read}");
    }
    assert_eq!(get("com.example.thing.long").await.status(), 502);
}

/// Ten seconds for the head of an answer, and a service that takes the call and says nothing.
#[tokio::test]
async fn a_service_that_does_not_answer_in_time_is_a_502() {
    let upstream = Upstream::of(Router::new().fallback(std::future::pending::<()>)).await;
    let server = server_with_appview(&upstream).await;
    let alice = server.create_account("alice").await;
    let started = std::time::Instant::now();
    let message = server.query(METHOD).auth(&alice).send().await.error(502, "UpstreamFailure");
    assert_eq!(message, "Upstream service unreachable");
    assert!(started.elapsed() >= Duration::from_secs(9) && started.elapsed() < Duration::from_secs(25));
}

/// Checklist 59: a client that goes away takes its call with it, and the next client is served.
#[tokio::test]
async fn a_client_that_hangs_up_is_felt_by_the_service_and_by_nobody_else() {
    let (dropped, mut felt) = mpsc::unbounded_channel();
    let router = Router::new()
        .route(
            "/xrpc/com.example.thing.slow",
            any(move || {
                let dropped = dropped.clone();
                async move {
                    struct Guard(mpsc::UnboundedSender<()>);
                    impl Drop for Guard {
                        fn drop(&mut self) {
                            let _ = self.0.send(());
                        }
                    }
                    let guard = Guard(dropped);
                    let pieces = stream::unfold(guard, |guard| async move {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                        Some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), guard))
                    });
                    Body::from_stream(pieces)
                }
            }),
        )
        .fallback(|| async { axum::Json(json!({ "fine": true })) });
    let upstream = Upstream::of(router).await;
    let server = server_with_appview(&upstream).await;
    let alice = server.create_account("alice").await;
    for _ in 0..3 {
        let request = server.http.get(format!("{}/xrpc/com.example.thing.slow", server.url));
        let mut response = request.bearer_auth(&alice.access_jwt).send().await.unwrap();
        assert!(response.chunk().await.unwrap().is_some());
        drop(response);
        tokio::time::timeout(Duration::from_secs(20), felt.recv()).await.unwrap().unwrap();
        assert_eq!(server.query(METHOD).auth(&alice).send().await.ok()["fine"], true);
    }
}
