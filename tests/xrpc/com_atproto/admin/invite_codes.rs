//! getInviteCodes, disableInviteCodes, disableAccountInvites, enableAccountInvites.

use serde_json::{Value as Json, json};

use crate::support::{Answer, TestServer};

const LIST: &str = "com.atproto.admin.getInviteCodes";
const DISABLE: &str = "com.atproto.admin.disableInviteCodes";

async fn sign_up(server: &TestServer, name: &str, code: &str) -> Answer {
    let mut input = server.sign_up(name);
    input["inviteCode"] = json!(code);
    server.procedure("com.atproto.server.createAccount").json(&input).send().await
}

async fn disable(server: &TestServer, input: Json) -> Answer {
    server.procedure(DISABLE).admin().json(&input).send().await
}

/// All codes, by pages of two.
async fn list(server: &TestServer, sort: &str) -> Vec<Json> {
    let mut codes = Vec::new();
    let mut cursor = String::new();
    loop {
        let call = server.query(LIST).admin().param("sort", sort).param("limit", 2).param("cursor", &cursor);
        let page = call.send().await.ok();
        let listed = page["codes"].as_array().unwrap();
        assert!(listed.len() <= 2);
        let Some(next) = page["cursor"].as_str() else {
            assert!(listed.is_empty(), "a page that is not empty has a cursor");
            return codes;
        };
        codes.extend(listed.iter().cloned());
        cursor = next.to_owned();
    }
}

#[tokio::test]
async fn all_codes_are_listed_newest_first_or_most_used_first() {
    let server = TestServer::start().await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(server.app.accounts.create_invite(5).await.unwrap());
        server.advance_secs(1);
    }
    for (person, code) in [("alice", 1), ("bob", 3), ("carol", 3)] {
        sign_up(&server, person, &made[code]).await.ok();
    }
    let names =
        |codes: &[Json]| codes.iter().map(|it| it["code"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let recent = list(&server, "recent").await;
    assert_eq!(names(&recent), made.iter().rev().cloned().collect::<Vec<_>>());
    let used: Vec<_> = recent.iter().map(|code| code["uses"].as_array().unwrap().len()).collect();
    assert_eq!(used, [0, 2, 0, 1, 0]);
    assert!(recent[1]["uses"][0]["usedBy"].as_str().unwrap().starts_with("did:plc:"));

    let usage = names(&list(&server, "usage").await);
    assert_eq!(usage[..2], [made[3].clone(), made[1].clone()]);
    assert_eq!(usage.len(), 5);
    let by_default = server.query(LIST).admin().send().await.ok();
    assert_eq!(names(by_default["codes"].as_array().unwrap()), names(&recent));
}

#[tokio::test]
async fn sorts_and_cursors_that_mean_nothing_are_refused() {
    let server = TestServer::start().await;
    let message =
        server.query(LIST).admin().param("sort", "oldest").send().await.error(400, "InvalidRequest");
    assert_eq!(message, "unknown sort method: oldest");
    for cursor in ["x", "1", "::code", "1::", "x::code", "1::a::b"] {
        for sort in ["recent", "usage"] {
            let call = server.query(LIST).admin().param("sort", sort).param("cursor", cursor);
            assert_eq!(call.send().await.error(400, "InvalidRequest"), "Malformed cursor", "{cursor}");
        }
    }
    for limit in ["0", "501", "x"] {
        server.query(LIST).admin().param("limit", limit).send().await.error(400, "InvalidRequest");
    }
}

#[tokio::test]
async fn codes_are_disabled_by_name_and_by_account() {
    let server = TestServer::start_with(|settings| settings.invite_required = true).await;
    let one = server.app.accounts.create_invite(9).await.unwrap();
    let alice = sign_up(&server, "alice", &one).await.ok();
    let input = json!({ "codeCount": 2, "useCount": 9, "forAccounts": [alice["did"]] });
    let made =
        server.procedure("com.atproto.server.createInviteCodes").admin().json(&input).send().await.ok();
    let hers = made["codes"][0]["codes"].as_array().unwrap().clone();

    let answer = disable(&server, json!({ "codes": [one, "unknown"] })).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, String::new()));
    sign_up(&server, "bob", &one).await.error(400, "InvalidInviteCode");
    let code = hers[0].as_str().unwrap();
    sign_up(&server, "bob", code).await.ok();
    assert_eq!(disable(&server, json!({ "accounts": [alice["did"]] })).await.status, 200);
    for code in &hers {
        sign_up(&server, "carol", code.as_str().unwrap()).await.error(400, "InvalidInviteCode");
    }
    let token = alice["accessJwt"].as_str().unwrap();
    let listed = server.query("com.atproto.server.getAccountInviteCodes").bearer(token).send().await.ok();
    assert_eq!(listed, json!({ "codes": [] }), "disabled codes are not shown");

    let message = disable(&server, json!({ "accounts": ["admin"] })).await.error(400, "InvalidRequest");
    assert_eq!(message, "cannot disable admin invite codes");
    assert_eq!(disable(&server, json!({})).await.status, 200);
}

#[tokio::test]
async fn invites_are_looked_after_by_the_operator_alone() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    server.query(LIST).send().await.error(401, "AuthenticationRequired");
    assert_eq!(server.query(LIST).auth(&alice).send().await.status, 401);
    for method in ["disableInviteCodes", "disableAccountInvites", "enableAccountInvites"] {
        let nsid = format!("com.atproto.admin.{method}");
        let input = json!({ "account": alice.did });
        server.procedure(&nsid).json(&input).send().await.error(401, "AuthenticationRequired");
        assert_eq!(server.procedure(&nsid).auth(&alice).json(&input).send().await.status, 401);
    }
}
