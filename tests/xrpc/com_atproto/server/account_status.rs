//! An account's states as the services change them: rows, events in their order, and what is left.

use atproto::{
    event::{Account, Frame, Identity},
    syntax::Did,
};
use rookery::{
    service::{account::status::StatusError, identity::ValidityError},
    store::{StoreError, account},
    time::SECOND,
};
use serde_json::json;

use crate::support::{PASSWORD, TestAccount, TestServer, firehose::seq};

fn did(account: &TestAccount) -> Did {
    Did::parse(&account.did).unwrap()
}

/// Every event that the log still has.
async fn events(server: &TestServer) -> Vec<Frame> {
    let last = *server.app.store.ring().last_seq().borrow();
    server.subscribe("?cursor=0").await.read_to(last).await
}

fn kind(frame: &Frame) -> String {
    match frame {
        Frame::Commit(_) => "commit".into(),
        Frame::Sync(_) => "sync".into(),
        Frame::Identity(Identity { handle, .. }) => {
            format!("identity {}", handle.as_ref().map_or("-", |handle| handle.as_str()))
        }
        Frame::Account(Account { active, status, .. }) => {
            format!("account {}", status.as_deref().unwrap_or(if *active { "active" } else { "inactive" }))
        }
        other => format!("{other:?}"),
    }
}

/// What was emitted after the event numbered `after`.
async fn kinds_after(server: &TestServer, after: i64) -> Vec<String> {
    events(server).await.iter().filter(|frame| seq(frame) > Some(after)).map(kind).collect()
}

async fn count(server: &TestServer, sql: &'static str) -> i64 {
    server
        .app
        .store
        .read(move |db| Ok::<_, StoreError>(db.query_row(sql, (), |row| row.get(0))?))
        .await
        .unwrap()
}

fn last_seq(server: &TestServer) -> i64 {
    *server.app.store.ring().last_seq().borrow()
}

#[tokio::test]
async fn each_change_of_state_has_its_events_in_their_order_ac_10() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let (accounts, did) = (&server.app.accounts, did(&alice));

    let before = last_seq(&server);
    accounts.deactivate(&did, None).await.unwrap();
    assert_eq!(kinds_after(&server, before).await, ["account deactivated"]);

    let before = last_seq(&server);
    accounts.activate(&did).await.unwrap();
    assert_eq!(kinds_after(&server, before).await, ["account active", "identity alice.test", "sync"]);

    // Takedown wins over deactivation, whichever came first.
    let before = last_seq(&server);
    accounts.set_takedown(&did, Some("reason".into())).await.unwrap();
    accounts.deactivate(&did, None).await.unwrap();
    accounts.set_takedown(&did, None).await.unwrap();
    accounts.announce(&did).await.unwrap();
    let kinds = kinds_after(&server, before).await;
    assert_eq!(
        kinds,
        ["account takendown", "account takendown", "account deactivated", "account deactivated"]
    );
}

#[tokio::test]
async fn a_takedown_and_its_end_revoke_every_session_ac_12() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    server.app.accounts.set_takedown(&did(&alice), Some("reason".into())).await.unwrap();
    server.app.accounts.set_takedown(&did(&alice), None).await.unwrap();
    let refresh = server.procedure("com.atproto.server.refreshSession").bearer(&alice.refresh_jwt);
    refresh.send().await.error(400, "ExpiredToken");
}

#[tokio::test]
async fn a_taken_down_account_cannot_be_activated_ac_12() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    server.app.accounts.set_takedown(&did(&alice), Some("reason".into())).await.unwrap();
    let refused = server.app.accounts.activate(&did(&alice)).await;
    assert!(matches!(refused, Err(StatusError::NoAccount)), "{refused:?}");
}

#[tokio::test]
async fn an_account_is_activated_only_where_its_did_says_it_lives_ac_10() {
    let server =
        TestServer::start_with(|settings| settings.public_url = "http://elsewhere.test".into()).await;
    let alice = server.create_account("alice").await;
    let elsewhere = server.restart_with(|settings| settings.public_url = "http://here.test".into()).await;
    let refused = elsewhere.app.accounts.activate(&did(&alice)).await;
    assert!(matches!(refused, Err(StatusError::Did(ValidityError::Endpoint))), "{refused:?}");
    assert_eq!(
        refused.unwrap_err().to_string(),
        "DID document atproto_pds service endpoint does not match PDS public url"
    );
}

#[tokio::test]
async fn deletion_leaves_one_event_and_nothing_else_ac_6_ev_12() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let bob = server.create_account("bob").await;
    let both = server.upload(&alice, "text/plain", "the same bytes").await;
    server.upload(&bob, "text/plain", "the same bytes").await;
    for (rkey, account) in [("1", &alice), ("2", &alice), ("1", &bob)] {
        let record = json!({ "blob": both });
        server.put_record(account, &format!("com.example.thing/{rkey}"), record).await;
    }
    server.procedure("com.atproto.server.requestAccountDelete").auth(&alice).send().await.empty();
    let name = json!({ "name": "a program" });
    server.procedure("com.atproto.server.createAppPassword").auth(&alice).json(&name).send().await.ok();
    let preferences =
        json!({ "preferences": [{ "$type": "app.bsky.actor.defs#adultContentPref", "enabled": true }] });
    server.procedure("app.bsky.actor.putPreferences").auth(&alice).json(&preferences).send().await.empty();
    // Someone who is reading already sees all that happened; who comes later does not.
    let mut live = server.subscribe("?cursor=0").await;
    let seen = live.read_to(last_seq(&server)).await.len();
    assert!(seen > 8);

    server.app.accounts.delete(&did(&alice)).await.unwrap();
    assert_eq!(kind(&live.next().await), "account deleted");
    let left = events(&server).await;
    let of_alice = |frame: &&Frame| match frame {
        Frame::Commit(commit) => commit.repo.as_str() == alice.did,
        Frame::Sync(sync) => sync.did.as_str() == alice.did,
        Frame::Identity(identity) => identity.did.as_str() == alice.did,
        Frame::Account(account) => account.did.as_str() == alice.did,
        _ => false,
    };
    let kinds: Vec<String> = left.iter().filter(of_alice).map(kind).collect();
    assert_eq!(kinds, ["account deleted"]);
    assert_eq!(left.len(), 6, "bob's are all there");

    let session = json!({ "identifier": "alice.test", "password": PASSWORD });
    server
        .procedure("com.atproto.server.createSession")
        .json(&session)
        .send()
        .await
        .error(401, "AuthenticationRequired");
    server.query("com.atproto.server.getSession").auth(&alice).send().await.error(403, "AccountNotFound");
    let latest = server.query("com.atproto.sync.getLatestCommit").param("did", &alice.did).send().await;
    latest.error(400, "RepoNotFound");

    assert_eq!(server.app.accounts.purge_deleted().await.unwrap(), 1);
    for table in ["account", "repo", "blob", "signing_key", "refresh_token"] {
        let sql = format!("SELECT COUNT(*) FROM {table}");
        assert_eq!(count(&server, Box::leak(sql.into_boxed_str())).await, 1, "{table}: only bob's is left");
    }
    assert_eq!(count(&server, "SELECT COUNT(*) FROM record").await, 1);
    for table in ["account_pref", "app_password", "email_token"] {
        let sql = format!("SELECT COUNT(*) FROM {table}");
        assert_eq!(count(&server, Box::leak(sql.into_boxed_str())).await, 0, "{table}");
    }
    assert_eq!(count(&server, "SELECT COUNT(*) FROM blob_garbage").await, 0);
    let folders = std::fs::read_dir(server.data_dir().join("blobs")).unwrap();
    let files = folders.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
    assert_eq!(files.count(), 1, "bob's file is left");
    assert_eq!(server.app.accounts.purge_deleted().await.unwrap(), 0);
}

#[tokio::test]
async fn a_deleted_handle_and_address_are_free_at_once_and_numbers_are_not_reused() {
    let server = TestServer::start().await;
    let sign_up = server.sign_up("alice");
    let first = server.procedure("com.atproto.server.createAccount").json(&sign_up).send().await.ok();
    let number = count(&server, "SELECT id FROM account").await;
    server.app.accounts.delete(&Did::parse(first["did"].as_str().unwrap()).unwrap()).await.unwrap();
    let second = server.procedure("com.atproto.server.createAccount").json(&sign_up).send().await.ok();
    assert_ne!(first["did"], second["did"]);
    assert!(count(&server, "SELECT id FROM account").await > number);
    assert_eq!(server.app.accounts.purge_deleted().await.unwrap(), 1);
    let latest =
        server.query("com.atproto.sync.getLatestCommit").param("did", second["did"].as_str().unwrap());
    latest.send().await.ok();
}

#[tokio::test]
async fn what_a_crash_leaves_of_a_deletion_goes_at_the_next_start() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    server.put_record(&alice, "com.example.thing/1", json!({})).await;
    server.app.accounts.delete(&did(&alice)).await.unwrap();
    assert_eq!(count(&server, "SELECT COUNT(*) FROM record").await, 1);
    let server = server.restart().await;
    assert_eq!(server.app.accounts.purge_deleted().await.unwrap(), 1);
    assert_eq!(count(&server, "SELECT COUNT(*) FROM record").await, 0);
    assert_eq!(count(&server, "SELECT COUNT(*) FROM repo").await, 0);
}

#[tokio::test]
async fn deleting_a_did_that_is_not_here_announces_it_all_the_same() {
    let server = TestServer::start().await;
    let stranger = Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap();
    server.app.accounts.delete(&stranger).await.unwrap();
    assert_eq!(kinds_after(&server, 0).await, ["account deleted"]);
}

#[tokio::test]
async fn a_date_of_deletion_is_kept_and_no_earlier_ac_11() {
    let server = TestServer::start().await;
    let (accounts, clock) = (&server.app.accounts, &server.app.clock);
    let mut dids = Vec::new();
    for name in ["leaves", "stays", "came-back", "evidence"] {
        let account = server.create_account(name).await;
        let did = did(&account);
        let date = (name != "stays").then(|| clock.now() + 7200 * SECOND);
        accounts.deactivate(&did, date).await.unwrap();
        dids.push(did);
    }
    accounts.activate(&dids[2]).await.unwrap();
    accounts.set_takedown(&dids[3], Some("evidence".into())).await.unwrap();
    server.advance_secs(3600);
    assert_eq!(accounts.delete_due().await.unwrap(), 0);
    let before = last_seq(&server);
    server.advance_secs(3600);
    assert_eq!(accounts.delete_due().await.unwrap(), 1);
    assert_eq!(kinds_after(&server, before).await, ["account deleted"]);
    for (did, is_here) in dids.into_iter().zip([false, true, true, true]) {
        let found = server.app.store.read(move |db| account::get_by_did(db, &did)).await;
        assert_eq!(found.map_err(|error: StoreError| error).unwrap().is_some(), is_here);
    }
    assert_eq!(accounts.delete_due().await.unwrap(), 0);
}
