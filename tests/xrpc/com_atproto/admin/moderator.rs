//! Who may call the methods of moderators: the operator, and the moderation service by a token of its own.

use atproto::syntax::Did;
use rookery::service::settings::Service;
use serde_json::json;

use crate::support::{Answer, Call, TestAccount, TestServer};

/// The methods, with whether they are procedures.
const METHODS: &[(&str, bool)] = &[
    ("com.atproto.admin.getAccountInfo", false),
    ("com.atproto.admin.getAccountInfos", false),
    ("com.atproto.admin.getSubjectStatus", false),
    ("com.atproto.admin.searchAccounts", false),
    ("com.atproto.admin.updateSubjectStatus", true),
];

/// A good call of `method` about `account`, without a caller.
fn call<'a>(server: &'a TestServer, method: &str, procedure: bool, account: &TestAccount) -> Call<'a> {
    if procedure {
        let subject = json!({ "$type": "com.atproto.admin.defs#repoRef", "did": account.did });
        return server.procedure(method).json(&json!({ "subject": subject }));
    }
    match method {
        "com.atproto.admin.getAccountInfos" => server.query(method).param("dids", &account.did),
        "com.atproto.admin.searchAccounts" => server.query(method),
        _ => server.query(method).param("did", &account.did),
    }
}

#[tokio::test]
async fn nobody_else_may_call_the_methods_of_moderators() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    for (method, procedure) in METHODS {
        let call = || call(&server, method, *procedure, &alice);
        let refused = |answer: Answer| assert_eq!(answer.status, 401, "{method}: {}", answer.text());
        refused(call().send().await);
        refused(call().auth(&alice).send().await);
        refused(call().header("authorization", "Basic YWRtaW46d3Jvbmc=").send().await);
        refused(call().header("authorization", "Basic cm9vdDpvcGVyYXRvcjpzZWNyZXQ=").send().await);
        call().admin().send().await.ok();
    }
}

/// A server whose moderation service is the account `moira`, another account, and someone else.
async fn with_labeler() -> (TestServer, TestAccount, TestAccount) {
    let server = TestServer::start().await;
    let labeler = server.create_account("moira").await;
    let alice = server.create_account("alice").await;
    let did = Did::parse(&labeler.did).unwrap();
    let server = server
        .restart_with(|settings| {
            settings.mod_service = Some(Service { url: "http://localhost:1".into(), did });
        })
        .await;
    (server, labeler, alice)
}

async fn token(server: &TestServer, account: &TestAccount, audience: &str, method: &str) -> String {
    let did = Did::parse(&account.did).unwrap();
    let account = server.app.accounts.find(&did).await.unwrap().unwrap();
    server.app.service_tokens.issue(&account, audience, Some(method), None).await.unwrap()
}

#[tokio::test]
async fn the_moderation_service_may_call_them_with_a_token_for_the_method() {
    let (server, labeler, alice) = with_labeler().await;
    let us = server.app.settings.service_did.to_string();
    for (method, procedure) in METHODS {
        let call = |token: String| call(&server, method, *procedure, &alice).bearer(&token);
        call(token(&server, &labeler, &us, method).await).send().await.ok();
        let others = token(&server, &alice, &us, method).await;
        call(others).send().await.error(401, "UntrustedIss");
        let elsewhere = token(&server, &labeler, "did:web:other.example", method).await;
        call(elsewhere).send().await.error(401, "BadJwtAudience");
        let other_method = token(&server, &labeler, &us, "com.atproto.admin.sendEmail").await;
        call(other_method).send().await.error(401, "BadJwtLexiconMethod");
        let (head, signature) = {
            let token = token(&server, &labeler, &us, method).await;
            let (head, signature) = token.rsplit_once('.').unwrap();
            let other = if signature.starts_with('A') { "B" } else { "A" };
            (head.to_owned(), format!("{other}{}", &signature[1..]))
        };
        call(format!("{head}.{signature}")).send().await.error(401, "BadJwtSignature");
    }
}

/// To change a key is for the operator alone.
#[tokio::test]
async fn the_moderation_service_may_not_change_signing_keys() {
    let (server, labeler, alice) = with_labeler().await;
    let us = server.app.settings.service_did.to_string();
    let method = "com.atproto.admin.updateAccountSigningKey";
    let token = token(&server, &labeler, &us, method).await;
    let input = json!({ "did": alice.did, "signingKey": "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme" });
    let call = server.procedure(method).bearer(&token).json(&input);
    assert_eq!(call.send().await.status, 401);
}
