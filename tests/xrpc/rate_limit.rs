//! Rate limits as clients meet them: what is counted, by whose name, and what the answer says of it.

use futures::future::join_all;
use rookery::{
    app::Settings,
    service::{rate_limit::BypassKey, settings::RateLimitSettings},
};
use serde_json::{Value as Json, json};

use crate::support::{Answer, Call, TestServer};

const CREATE_SESSION: &str = "com.atproto.server.createSession";
const DESCRIBE_SERVER: &str = "com.atproto.server.describeServer";
const BYPASS_KEY: &str = "let this program pass";

fn counted(settings: &mut Settings) {
    settings.rate_limits = RateLimitSettings {
        enabled: true,
        bypass_key: Some(BypassKey::new(BYPASS_KEY)),
        bypass_ips: vec!["203.0.113.64/26".parse().unwrap()],
    };
    settings.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
}

async fn start() -> TestServer {
    TestServer::start_with(counted).await
}

fn remaining(answer: &Answer) -> Option<i64> {
    answer.header("ratelimit-remaining").map(|text| text.parse().unwrap())
}

fn sign_in<'a>(server: &'a TestServer, identifier: &str) -> Call<'a> {
    server.procedure(CREATE_SESSION).json(&json!({ "identifier": identifier, "password": "wrong" }))
}

#[tokio::test]
async fn the_31st_attempt_to_sign_in_within_5_minutes_is_refused() {
    let server = start().await;
    let attempts = (0..30).map(|number| {
        // However it is written, it is the same account.
        let identifier = if number % 2 == 0 { "alice.test" } else { "Alice.TEST" };
        sign_in(&server, identifier).send()
    });
    for answer in join_all(attempts).await {
        answer.error(401, "AuthenticationRequired");
        assert_eq!(answer.header("ratelimit-policy"), Some("30;w=300"));
    }
    let refused = sign_in(&server, "alice.test").send().await;
    assert_eq!(refused.error(429, "RateLimitExceeded"), "Rate Limit Exceeded");
    assert_eq!(refused.header("ratelimit-limit"), Some("30"));
    assert_eq!(refused.header("ratelimit-remaining"), Some("0"));
    assert_eq!(refused.header("ratelimit-policy"), Some("30;w=300"));
    let wait: i64 = refused.header("retry-after").unwrap().parse().unwrap();
    let resets_at: i64 = refused.header("ratelimit-reset").unwrap().parse().unwrap();
    assert!((1..=300).contains(&wait), "{wait}");
    let opens_at = server.app.clock.now() / 1_000_000 + wait;
    assert!((resets_at - opens_at).abs() <= 1, "{resets_at} is not {opens_at}");

    sign_in(&server, "bob.test").send().await.error(401, "AuthenticationRequired");
    let elsewhere = sign_in(&server, "alice.test").header("x-forwarded-for", "198.51.100.7");
    elsewhere.send().await.error(401, "AuthenticationRequired");
    server.advance_secs(wait + 1);
    sign_in(&server, "alice.test").send().await.error(401, "AuthenticationRequired");
}

#[tokio::test]
async fn the_51st_password_reset_within_5_minutes_is_refused() {
    let server = start().await;
    let reset = || {
        let input = json!({ "token": "AAAAA-AAAAA", "password": "new password" });
        server.procedure("com.atproto.server.resetPassword").json(&input).send()
    };
    for answer in join_all((0..50).map(|_| reset())).await {
        assert_ne!(answer.status, 429);
    }
    reset().await.error(429, "RateLimitExceeded");
}

#[tokio::test]
async fn writes_are_charged_to_their_account_by_what_they_do() {
    let server = start().await;
    let alice = server.create_account("alice").await;
    let bob = server.create_account("bob").await;
    let write = |kind: &str, rkey: &str| {
        let kind = format!("com.atproto.repo.applyWrites#{kind}");
        json!({ "$type": kind, "collection": "com.example.note", "rkey": rkey, "value": {} })
    };
    let send = |account, writes: Vec<Json>, swap: Option<&str>| {
        let input = json!({ "repo": account, "writes": writes, "swapCommit": swap });
        (server.procedure("com.atproto.repo.applyWrites"), input)
    };
    // Create 3, update 2, delete 1.
    let (call, input) =
        send(&alice.did, vec![write("create", "a"), write("update", "a"), write("delete", "a")], None);
    let answer = call.auth(&alice).json(&input).send().await;
    // Of the buckets that were charged, the global one has the fewest points left.
    assert_eq!(remaining(&answer), Some(2997));
    let rest = 5000 - 6;

    // A commit that is not the head: the requests are charged, though nothing is written.
    let swap = "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm";
    let creates: Vec<Json> = (0..200).map(|number| write("create", &number.to_string())).collect();
    for count in 1..=8 {
        let (call, input) = send(&alice.did, creates.clone(), Some(swap));
        let answer = call.auth(&alice).json(&input).send().await;
        answer.error(400, "InvalidSwap");
        let left = rest - 600 * count;
        assert_eq!(remaining(&answer), Some(left.min(2997 - count)));
    }
    let (call, input) = send(&alice.did, creates.clone(), Some(swap));
    let refused = call.auth(&alice).json(&input).send().await;
    refused.error(429, "RateLimitExceeded");
    assert_eq!(refused.header("ratelimit-policy"), Some("5000;w=3600"));
    // What was too much took nothing: smaller writes still fit.
    server.put_record(&alice, "com.example.note/b", json!({})).await;
    server.delete_record(&alice, "com.example.note/b").await;
    let (call, input) = send(&bob.did, creates, Some(swap));
    call.auth(&bob).json(&input).send().await.error(400, "InvalidSwap");
}

#[tokio::test]
async fn mails_are_counted_by_the_account_that_asks_for_them() {
    let server = start().await;
    let alice = server.create_account("alice").await;
    let bob = server.create_account("bob").await;
    for method in ["requestAccountDelete", "requestEmailConfirmation", "requestEmailUpdate"] {
        let ask = |account| server.procedure(&format!("com.atproto.server.{method}")).auth(account);
        // From wherever it comes.
        for number in 0..5 {
            let answer = ask(&alice).header("x-forwarded-for", &format!("198.51.100.{number}")).send().await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(answer.header("ratelimit-policy"), Some("5;w=3600"));
        }
        ask(&alice).send().await.error(429, "RateLimitExceeded");
        assert_eq!(ask(&bob).send().await.status, 200);
    }
}

/// Params, then auth, then the body, then the limits.
#[tokio::test]
async fn what_is_refused_before_the_limits_is_charged_nothing() {
    let server = start().await;
    let free = |answer: Answer| assert_eq!(remaining(&answer), None, "{}", answer.text());
    free(server.query("com.atproto.sync.listRepos").param("limit", 0).send().await);
    free(server.query("com.atproto.server.getSession").send().await);
    free(server.query("com.atproto.server.getSession").bearer("nonsense").send().await);
    free(server.query(DESCRIBE_SERVER).body("text/plain", "x").send().await);
    free(server.procedure(CREATE_SESSION).send().await);
    free(server.procedure(CREATE_SESSION).json(&json!({ "identifier": 1 })).send().await);
    assert_eq!(remaining(&server.query(DESCRIBE_SERVER).send().await), Some(2999));
}

#[tokio::test]
async fn every_request_counts_globally_except_for_whole_repositories() {
    let server = start().await;
    let alice = server.create_account("alice").await;
    let global = || async { remaining(&server.query(DESCRIBE_SERVER).send().await).unwrap() };
    let before = global().await;
    // Methods that are not here count, and so do errors of the methods themselves.
    server.query("app.bsky.feed.getTimeline").send().await;
    server.query("com.atproto.identity.resolveHandle").param("handle", "nobody.test").send().await;
    assert_eq!(global().await, before - 3);

    for path in ["com.atproto.sync.getRepo", "com.atproto.sync.getRepo/"] {
        let answer = server.query(path).param("did", &alice.did).send().await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("ratelimit-policy"), Some("6000;w=300"));
    }
    assert_eq!(global().await, before - 4);
    let repo = server.query("com.atproto.sync.getRepo").param("did", &alice.did).send().await;
    assert_eq!(remaining(&repo), Some(5997));
}

#[tokio::test]
async fn the_address_is_the_one_that_a_trusted_proxy_saw() {
    let server = start().await;
    let from =
        |forwarded: &'static str| server.query(DESCRIBE_SERVER).header("x-forwarded-for", forwarded).send();
    assert_eq!(remaining(&from("198.51.100.1").await), Some(2999));
    // What the client wrote itself does not give it a count of its own.
    assert_eq!(remaining(&from("6.6.6.6, 198.51.100.1").await), Some(2998));
    assert_eq!(remaining(&from("127.0.0.1, 198.51.100.1").await), Some(2997));
    assert_eq!(remaining(&from("198.51.100.2").await), Some(2999));
    // One customer has a whole IPv6 network.
    assert_eq!(remaining(&from("2001:db8:1:2::1").await), Some(2999));
    assert_eq!(remaining(&from("2001:db8:1:2:3::9").await), Some(2998));
    assert_eq!(remaining(&from("2001:db8:1:3::1").await), Some(2999));
}

#[tokio::test]
async fn a_client_that_is_no_trusted_proxy_speaks_for_itself() {
    let server = TestServer::start_with(|settings| {
        counted(settings);
        settings.trusted_proxies.clear();
    })
    .await;
    for (number, forwarded) in ["198.51.100.1", "198.51.100.2", "203.0.113.70"].into_iter().enumerate() {
        let answer = server.query(DESCRIBE_SERVER).header("x-forwarded-for", forwarded).send().await;
        assert_eq!(remaining(&answer), Some(2999 - number as i64));
    }
}

#[tokio::test]
async fn the_bypass_key_and_bypass_addresses_are_not_counted() {
    let server = start().await;
    let with =
        |name: &'static str, value: &'static str| server.query(DESCRIBE_SERVER).header(name, value).send();
    assert_eq!(remaining(&with("x-ratelimit-bypass", BYPASS_KEY).await), None);
    assert_eq!(remaining(&with("x-forwarded-for", "203.0.113.70").await), None);
    assert_eq!(remaining(&with("x-ratelimit-bypass", "let this program").await), Some(2999));
    assert_eq!(remaining(&with("x-forwarded-for", "203.0.113.63").await), Some(2999));
}

#[tokio::test]
async fn a_page_may_read_what_the_limits_say() {
    let server = start().await;
    let answer = server.query(DESCRIBE_SERVER).header("origin", "https://app.example").send().await;
    let exposed = answer.header("access-control-expose-headers").unwrap();
    for name in
        ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "ratelimit-policy", "retry-after"]
    {
        assert!(exposed.contains(name), "{exposed}");
        assert!(name == "retry-after" || answer.header(name).is_some());
    }
}

#[tokio::test]
async fn nothing_is_counted_unless_asked() {
    let server = TestServer::start().await;
    assert_eq!(remaining(&server.query(DESCRIBE_SERVER).send().await), None);
}
