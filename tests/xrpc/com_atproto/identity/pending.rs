//! What a crash leaves between the directory's answer and our own rows is finished or undone.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use atproto::plc::Operation;
use rookery::{
    service::account::pending::{Settle, UNDER_WAY_MAX},
    store::{StoreError, dev_plc_operation},
    time::SECOND,
};
use serde_json::json;

use super::{gated, handle_of, identities_after, last_seq, plc_data, update_handle::forbid};
use crate::support::{TestServer, plc_gate::Gate};

const UNDER_WAY_SECS: i64 = UNDER_WAY_MAX / SECOND;

async fn pending(server: &TestServer) -> i64 {
    let count = server.app.store.read(|db| {
        Ok::<_, StoreError>(db.query_row("SELECT COUNT(*) FROM pending_identity", (), |row| row.get(0))?)
    });
    count.await.unwrap()
}

/// For each DID of the directory, whether it is tombstoned.
async fn tombstoned(server: &TestServer) -> Vec<bool> {
    let dids = server.app.store.read(|db| {
        let mut statement = db.prepare("SELECT DISTINCT did FROM dev_plc_operation ORDER BY id")?;
        let dids = statement.query_map((), |row| row.get::<_, String>(0))?;
        Ok::<_, StoreError>(dids.collect::<Result<Vec<_>, _>>()?)
    });
    let mut ended = Vec::new();
    for did in dids.await.unwrap() {
        let rows = server.app.store.read(move |db| dev_plc_operation::list(db, &did)).await.unwrap();
        let last: serde_json::Value = serde_json::from_str(&rows.last().unwrap().operation).unwrap();
        ended.push(matches!(Operation::from_json(&last).unwrap(), Operation::Tombstone { .. }));
    }
    ended
}

/// PL-19: the account cannot be written, and the directory is gone when it should hear of it.
#[tokio::test]
async fn a_did_that_no_account_came_of_is_tombstoned_when_the_directory_is_back() {
    let (server, gate) = gated().await;
    forbid(&server, "INSERT ON account").await;
    gate.set(Gate::ShutBehind);
    let sign_up = server.procedure("com.atproto.server.createAccount").json(&server.sign_up("alice"));
    sign_up.send().await.error(502, "UpstreamFailure");
    assert_eq!((tombstoned(&server).await, pending(&server).await), (vec![false], 1));

    // As long as the directory is away it waits.
    server.app.accounts.settle_identities(Settle::All).await.unwrap();
    assert_eq!((tombstoned(&server).await, pending(&server).await), (vec![false], 1));
    gate.set(Gate::Open);
    server.app.accounts.settle_identities(Settle::All).await.unwrap();
    assert_eq!(tombstoned(&server).await, [true]);
    server.advance_secs(UNDER_WAY_SECS);
    server.app.accounts.settle_identities(Settle::Overdue).await.unwrap();
    assert_eq!((tombstoned(&server).await, pending(&server).await), (vec![true], 0));
}

/// The directory may still be reading what it was sent: only after a while is an unknown DID one that never was.
#[tokio::test]
async fn a_did_that_the_directory_never_took_is_forgotten_and_its_handle_is_free() {
    let (server, gate) = gated().await;
    gate.set(Gate::Shut);
    let sign_up = server.procedure("com.atproto.server.createAccount").json(&server.sign_up("alice"));
    sign_up.send().await.error(502, "UpstreamFailure");
    assert_eq!(pending(&server).await, 1);
    gate.set(Gate::Open);
    server.app.accounts.settle_identities(Settle::All).await.unwrap();
    assert_eq!(pending(&server).await, 1);
    server.create_account("alice").await;
    server.advance_secs(UNDER_WAY_SECS);
    server.app.accounts.settle_identities(Settle::Overdue).await.unwrap();
    assert_eq!(pending(&server).await, 0);
    assert_eq!(tombstoned(&server).await, [false]);
}

/// The directory has taken the change, our row could not be written, and the directory was gone for the way back.
#[tokio::test]
async fn a_handle_that_the_directory_has_taken_is_given_later() {
    let (server, gate) = gated().await;
    let alice = server.create_account("alice").await;
    let before = last_seq(&server);
    gate.set(Gate::ShutBehind);
    let update = server.procedure("com.atproto.identity.updateHandle").auth(&alice);
    update.json(&json!({ "handle": "bob.test" })).send().await.error(502, "UpstreamFailure");
    assert_eq!(pending(&server).await, 1);
    // Nobody else gets it meanwhile.
    let sign_up = server.procedure("com.atproto.server.createAccount").json(&server.sign_up("bob"));
    assert_eq!(sign_up.send().await.error(400, "InvalidRequest"), "Handle already taken: bob.test");

    gate.set(Gate::Open);
    assert_eq!(plc_data(&server, &alice.did).await["alsoKnownAs"], json!(["at://bob.test"]));
    assert_eq!(handle_of(&server, &alice.did).await, "alice.test");
    server.app.accounts.settle_identities(Settle::All).await.unwrap();
    assert_eq!(handle_of(&server, &alice.did).await, "bob.test");
    assert_eq!(pending(&server).await, 0);
    let [event] = &identities_after(&server, before)[..] else { panic!("one event") };
    assert_eq!(event.handle.as_ref().unwrap().as_str(), "bob.test");
}

#[tokio::test]
async fn a_handle_that_the_directory_never_took_stays_as_it_was() {
    let (server, gate) = gated().await;
    let alice = server.create_account("alice").await;
    gate.set(Gate::Shut);
    let update = server.procedure("com.atproto.identity.updateHandle").auth(&alice);
    update.json(&json!({ "handle": "bob.test" })).send().await.error(502, "UpstreamFailure");
    gate.set(Gate::Open);
    server.app.accounts.settle_identities(Settle::All).await.unwrap();
    server.advance_secs(UNDER_WAY_SECS);
    server.app.accounts.settle_identities(Settle::Overdue).await.unwrap();
    assert_eq!(handle_of(&server, &alice.did).await, "alice.test");
    assert_eq!(pending(&server).await, 0);
}

/// A sign-up that is under way in another process is not finished when it has been given up here.
#[tokio::test]
async fn a_sign_up_that_was_given_up_cannot_be_finished() {
    let (server, gate) = gated().await;
    gate.set(Gate::Hanging);
    let accounts = server.app.accounts.clone();
    let input = server.sign_up("alice");
    let sign_up = server.procedure("com.atproto.server.createAccount").json(&input).send();
    let give_up = async {
        gate.passed().await;
        // Reads and the tombstone go through; the answer to the sign-up never comes, and its log is read.
        let sql = "UPDATE pending_identity SET abandoned = 1, handle = NULL";
        server.app.store.write(move |tx| Ok::<_, StoreError>(tx.execute_batch(sql)?)).await.unwrap();
        gate.set(Gate::Open);
    };
    let (answer, ()) = tokio::join!(sign_up, give_up);
    answer.error(502, "UpstreamFailure");
    assert!(accounts.list(0).await.unwrap().is_empty());
    assert_eq!(tombstoned(&server).await, [true]);
}

/// The real program, killed after the directory has taken the DID and before it could say so: the next start gives the
/// DID up, and the handle is free.
#[tokio::test]
async fn a_kill_between_directory_and_commit_leaves_no_did_without_account() {
    let (server, gate) = gated().await;
    let dir = tempfile::TempDir::new().unwrap();
    let mut first = Program::start(dir.path(), &gate.url).await;
    gate.set(Gate::Hanging);
    let call = |url: &str| {
        let url = format!("{url}/xrpc/com.atproto.server.createAccount");
        server.http.post(url).json(&server.sign_up("alice")).send()
    };
    let sign_up = tokio::spawn(call(&first.url));
    gate.passed().await;
    first.kill();
    assert!(sign_up.await.unwrap().is_err());
    assert_eq!(tombstoned(&server).await, [false]);

    gate.set(Gate::Open);
    let second = Program::start(dir.path(), &gate.url).await;
    gate.passed().await;
    assert_eq!(tombstoned(&server).await, [true]);
    assert_eq!(call(&second.url).await.unwrap().status(), 200);
    assert_eq!(tombstoned(&server).await, [true, false]);
}

/// `rookery dev` as a process of its own; killed when dropped.
struct Program {
    url: String,
    child: Child,
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Program {
    async fn start(data_dir: &Path, plc_url: &str) -> Program {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rookery"));
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.args(["dev", "--listen", "127.0.0.1:0", "--plc-url", plc_url, "--data-dir"]).arg(data_dir);
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let ready = tokio::task::spawn_blocking(move || {
            let mut lines = output.lines().map(Result::unwrap);
            lines.find_map(|line| Some(line.strip_prefix("rookery is ready: ")?.to_owned()))
        });
        Program { url: ready.await.unwrap().unwrap(), child }
    }

    /// As `kill -9` does.
    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
