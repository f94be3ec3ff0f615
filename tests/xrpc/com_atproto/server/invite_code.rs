//! createInviteCode, createInviteCodes, getAccountInviteCodes, and what invites are good for.

use std::time::Duration;

use rookery::{service::settings::InviteSchedule, store::StoreError};
use serde_json::{Value as Json, json};

use crate::support::{Answer, PASSWORD, TestAccount, TestServer};

const CREATE: &str = "com.atproto.server.createInviteCode";
const CREATE_MANY: &str = "com.atproto.server.createInviteCodes";
const MINE: &str = "com.atproto.server.getAccountInviteCodes";
const DAY_SECS: i64 = 24 * 60 * 60;

/// A server where an account earns a code a week.
async fn closed_server() -> TestServer {
    TestServer::start_with(|settings| {
        settings.invite_required = true;
        settings.invite_schedule =
            Some(InviteSchedule { interval: Duration::from_secs(7 * 24 * 60 * 60), epoch: 0 });
    })
    .await
}

async fn sign_up(server: &TestServer, name: &str, code: &str) -> Answer {
    let mut input = server.sign_up(name);
    input["inviteCode"] = json!(code);
    server.procedure("com.atproto.server.createAccount").json(&input).send().await
}

/// Signs up with a code of the operator's.
async fn member(server: &TestServer, name: &str) -> TestAccount {
    let code = server.app.accounts.create_invite(1).await.unwrap();
    let output = sign_up(server, name, &code).await.ok();
    let text = |field: &str| output[field].as_str().unwrap().to_owned();
    TestAccount {
        did: text("did"),
        handle: text("handle"),
        access_jwt: text("accessJwt"),
        refresh_jwt: text("refreshJwt"),
    }
}

/// Access tokens do not last as long as the intervals here.
async fn signed_in(server: &TestServer, account: &TestAccount) -> TestAccount {
    let input = json!({ "identifier": account.did, "password": PASSWORD });
    let session = server.procedure("com.atproto.server.createSession").json(&input).send().await.ok();
    TestAccount { access_jwt: session["accessJwt"].as_str().unwrap().to_owned(), ..account.clone() }
}

async fn codes_of(server: &TestServer, account: &TestAccount) -> Vec<Json> {
    let account = signed_in(server, account).await;
    server.query(MINE).auth(&account).send().await.ok()["codes"].as_array().unwrap().clone()
}

fn name(code: &Json) -> &str {
    code["code"].as_str().unwrap()
}

#[tokio::test]
async fn the_operator_makes_codes_and_nobody_else_does() {
    let server = TestServer::start_with(|settings| settings.invite_required = true).await;
    let made = server.procedure(CREATE).admin().json(&json!({ "useCount": 2 })).send().await.ok();
    let code = made["code"].as_str().unwrap();
    let random = code.strip_prefix("localhost-").unwrap();
    assert_eq!((random.len(), &random[5..6]), (11, "-"), "{code}");
    for person in ["alice", "bob"] {
        sign_up(&server, person, code).await.ok();
    }
    let message = sign_up(&server, "carol", code).await.error(400, "InvalidInviteCode");
    assert_eq!(message, "Provided invite code not available");

    let input = json!({ "useCount": 1 });
    server.procedure(CREATE).json(&input).send().await.error(401, "AuthenticationRequired");
    let code = server.app.accounts.create_invite(1).await.unwrap();
    let output = sign_up(&server, "carol", &code).await.ok();
    let token = output["accessJwt"].as_str().unwrap();
    server.procedure(CREATE).bearer(token).json(&input).send().await.error(401, "AuthenticationRequired");
    server.procedure(CREATE_MANY).json(&input).send().await.error(401, "AuthenticationRequired");
}

#[tokio::test]
async fn useless_and_countless_codes_are_refused_by_field() {
    let server = TestServer::start().await;
    for (method, input, said) in [
        (CREATE, json!({ "useCount": 0 }), "useCount must be between 1 and 100000"),
        (CREATE, json!({ "useCount": -1 }), "useCount"),
        (CREATE, json!({ "useCount": 100_001 }), "useCount"),
        (CREATE, json!({}), "useCount"),
        (CREATE, json!({ "useCount": 1, "forAccount": "alice.test" }), "forAccount"),
        (CREATE_MANY, json!({ "codeCount": 0, "useCount": 1 }), "codeCount"),
        (CREATE_MANY, json!({ "codeCount": 1001, "useCount": 1 }), "codeCount"),
        (CREATE_MANY, json!({ "codeCount": 1, "useCount": 1, "forAccounts": ["admin"] }), "forAccounts"),
    ] {
        let message = server.procedure(method).admin().json(&input).send().await.error(400, "InvalidRequest");
        assert!(message.contains(said), "{input}: {message}");
    }
}

#[tokio::test]
async fn many_codes_are_made_for_each_account() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let made = server.procedure(CREATE_MANY).admin().json(&json!({ "useCount": 3 })).send().await.ok();
    assert_eq!(made["codes"][0]["account"], "admin");
    assert_eq!(made["codes"][0]["codes"].as_array().unwrap().len(), 1, "one unless said otherwise");

    // The second has no account here, yet.
    let accounts = [alice.did.as_str(), "did:plc:ewvi7nxzyoun6zhxrhs64oiz"];
    let input = json!({ "codeCount": 2, "useCount": 3, "forAccounts": accounts });
    let made = server.procedure(CREATE_MANY).admin().json(&input).send().await.ok();
    assert_eq!(made["codes"].as_array().unwrap().len(), 2);
    for (made, account) in made["codes"].as_array().unwrap().iter().zip(accounts) {
        assert_eq!(made["account"], account);
        assert_eq!(made["codes"].as_array().unwrap().len(), 2);
    }
    let listed = server.query(MINE).auth(&alice).send().await.ok();
    let listed = listed["codes"].as_array().unwrap();
    assert_eq!(listed.len(), 2);
    for code in listed {
        assert_eq!(
            (&code["available"], &code["disabled"], &code["uses"]),
            (&json!(3), &json!(false), &json!([]))
        );
        assert_eq!((&code["forAccount"], &code["createdBy"]), (&json!(alice.did), &json!("admin")));
    }
}

#[tokio::test]
async fn an_account_earns_a_code_a_week_and_gives_it_away() {
    let server = closed_server().await;
    let alice = member(&server, "alice").await;
    assert!(codes_of(&server, &alice).await.is_empty());
    server.advance_secs(7 * DAY_SECS - 60);
    assert!(codes_of(&server, &alice).await.is_empty());
    server.advance_secs(61);
    let codes = codes_of(&server, &alice).await;
    assert_eq!(codes.len(), 1);
    assert_eq!((&codes[0]["available"], &codes[0]["createdBy"]), (&json!(1), &json!(alice.did)));
    assert_eq!(codes_of(&server, &alice).await, codes, "asking again earns nothing");

    let bob = sign_up(&server, "bob", name(&codes[0])).await.ok();
    let codes = codes_of(&server, &alice).await;
    assert_eq!(codes[0]["uses"][0]["usedBy"], bob["did"]);
    let alice = signed_in(&server, &alice).await;
    let unused = server.query(MINE).auth(&alice).param("includeUsed", false).send().await.ok();
    assert_eq!(unused, json!({ "codes": [] }));

    // Five unused ones at most, however long nobody asks.
    server.advance_secs(100 * 7 * DAY_SECS);
    let alice = signed_in(&server, &alice).await;
    let left_alone = server.query(MINE).auth(&alice).param("createAvailable", false).send().await.ok();
    assert_eq!(left_alone["codes"].as_array().unwrap().len(), 1);
    assert_eq!(codes_of(&server, &alice).await.len(), 6);
}

/// In the reference the loser of such a race is told `DuplicateCreate`; here there is none.
#[tokio::test]
async fn ten_racing_calls_earn_as_many_codes_as_one() {
    let server = closed_server().await;
    let alice = member(&server, "alice").await;
    server.advance_secs(3 * 7 * DAY_SECS + 60);
    let alice = signed_in(&server, &alice).await;
    let calls = (0..10).map(|_| server.query(MINE).auth(&alice).send());
    for answer in futures::future::join_all(calls).await {
        assert_eq!(answer.ok()["codes"].as_array().unwrap().len(), 3);
    }
}

#[tokio::test]
async fn gifts_of_the_operator_do_not_count_as_earned() {
    let server = closed_server().await;
    let alice = member(&server, "alice").await;
    let input = json!({ "codeCount": 9, "useCount": 1, "forAccounts": [alice.did] });
    server.procedure(CREATE_MANY).admin().json(&input).send().await.ok();
    server.advance_secs(2 * 7 * DAY_SECS + 60);
    assert_eq!(codes_of(&server, &alice).await.len(), 9 + 2);
}

#[tokio::test]
async fn what_was_before_the_epoch_earns_nothing() {
    let server = TestServer::start_with(|settings| {
        settings.invite_required = true;
        settings.invite_schedule =
            Some(InviteSchedule { interval: Duration::from_secs(7 * 24 * 60 * 60), epoch: i64::MAX });
    })
    .await;
    let alice = member(&server, "alice").await;
    server.advance_secs(50 * 7 * DAY_SECS);
    assert!(codes_of(&server, &alice).await.is_empty());
}

/// Codes without the right to them are made for the books, and are good for nothing.
#[tokio::test]
async fn an_account_whose_invites_are_disabled_earns_useless_codes() {
    let server = closed_server().await;
    let alice = member(&server, "alice").await;
    let set = async |method: &str| {
        let input = json!({ "account": alice.did, "note": "spam" });
        let answer =
            server.procedure(&format!("com.atproto.admin.{method}")).admin().json(&input).send().await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, String::new()), "{method}");
    };
    set("disableAccountInvites").await;
    server.advance_secs(2 * 7 * DAY_SECS + 60);
    assert!(codes_of(&server, &alice).await.is_empty(), "disabled ones are not shown");
    set("enableAccountInvites").await;
    assert!(codes_of(&server, &alice).await.is_empty(), "what it would have earned is gone");
    server.advance_secs(7 * DAY_SECS);
    assert_eq!(codes_of(&server, &alice).await.len(), 1);
}

/// Checklist 45
#[tokio::test]
async fn codes_of_an_account_that_is_taken_down_are_good_again_when_it_is_back() {
    let server = TestServer::start_with(|settings| settings.invite_required = true).await;
    let alice = member(&server, "alice").await;
    let input = json!({ "useCount": 5, "forAccount": alice.did });
    let made = server.procedure(CREATE).admin().json(&input).send().await.ok();
    let code = name(&made);
    sign_up(&server, "bob", code).await.ok();
    server.take_down(&alice.did).await;
    sign_up(&server, "carol", code).await.error(400, "InvalidInviteCode");
    let did = alice.did.clone();
    let restored = server.app.store.write(move |tx| {
        tx.execute("UPDATE account SET takedown_ref = NULL WHERE did = ?1", (did,))?;
        Ok::<_, StoreError>(())
    });
    restored.await.unwrap();
    sign_up(&server, "carol", code).await.ok();
}

/// As in the reference: a code that is given counts, and has to be good, also where none is needed.
#[tokio::test]
async fn an_open_server_notes_who_was_invited() {
    let server = TestServer::start().await;
    sign_up(&server, "alice", "nonsense").await.error(400, "InvalidInviteCode");
    sign_up(&server, "alice", "").await.ok();
    let code = server.app.accounts.create_invite(1).await.unwrap();
    sign_up(&server, "bob", &code).await.ok();
    sign_up(&server, "carol", &code).await.error(400, "InvalidInviteCode");
}

#[tokio::test]
async fn a_list_of_codes_is_for_the_account_itself_while_it_is_active() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    server.query(MINE).send().await.error(401, "AuthMissing");
    server.query(MINE).param("includeUsed", "maybe").send().await.error(400, "InvalidRequest");
    server.deactivate(&alice.did).await;
    server.query(MINE).auth(&alice).send().await.error(400, "NotFound");
    server.take_down(&alice.did).await;
    server.query(MINE).auth(&alice).send().await.error(401, "AccountTakedown");
}
