//! Relays, and what becomes of the numbers of events when a database is restored from a backup: whole servers, relays that
//! answer what the real one answers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{collections::BTreeMap, fs, path::Path, process::Command, time::Instant};

use atproto::{
    event::{Account, Frame, Sync},
    repo::{verify_commit_event, verify_sync_event},
    syntax::{Did, Tid},
};
use rookery::{
    app::{App, Settings},
    service::{
        relays::{
            verdict::Matter,
            watch::{Notice, Watch},
        },
        sequence::{BELIEVED_MAX, MARGIN, START_PATIENCE},
    },
    store::{StoreError, account, repo_seq, seq_repair},
};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{method, path},
};

use crate::support::{
    TestAccount, TestServer,
    firehose::{Subscription, seq, seqs},
};

async fn last_seq(server: &TestServer) -> i64 {
    server.app.store.read(repo_seq::last_seq).await.unwrap()
}

async fn note(server: &TestServer, account: &TestAccount, rkey: &str) -> Json {
    server.put_record(account, &format!("com.example.note/{rkey}"), json!({ "text": rkey })).await
}

/// Copies a database that nobody writes to.
fn copy_database(from: &Path, to: &Path) {
    for name in ["rookery.sqlite", "rookery.sqlite-wal", "rookery.sqlite-shm"] {
        let _ = fs::remove_file(to.join(name));
        if from.join(name).exists() {
            fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}

/// A server whose database has been put back to a copy that is older than what its subscribers saw.
struct Restored {
    server: TestServer,
    /// Active.
    alice: TestAccount,
    bob: TestAccount,
    /// Deactivated since before the backup.
    carol: TestAccount,
    /// What subscribers saw last.
    seen: i64,
    /// The newest rev that they saw of each repository.
    revs: BTreeMap<String, Tid>,
    /// The newest number in the backup.
    backed_up: i64,
}

impl Restored {
    /// `forget` has the data directory between the restore and the start, which asks `relays`.
    async fn start(relays: Vec<String>, forget: impl FnOnce(&Path)) -> Restored {
        let mut server = TestServer::start().await;
        let alice = server.create_account("alice").await;
        let bob = server.create_account("bob").await;
        let carol = server.create_account("carol").await;
        server.deactivate(&carol.did).await;
        note(&server, &alice, "kept").await;
        let backed_up = last_seq(&server).await;
        server.stop().await;
        let backup = TempDir::new().unwrap();
        copy_database(server.data_dir(), backup.path());

        let server = server.restart().await;
        for n in 0..20 {
            note(&server, if n % 2 == 0 { &alice } else { &bob }, &format!("lost-{n}")).await;
        }
        let seen = last_seq(&server).await;
        assert_eq!(seen, backed_up + 20, "a clean stop leaves no number out");
        let frames = server.subscribe("?cursor=0").await.read_to(seen).await;
        let mut revs = BTreeMap::new();
        for frame in &frames {
            if let Frame::Commit(commit) = frame {
                revs.insert(commit.repo.to_string(), commit.rev);
            }
        }
        let dir = server.data_dir().to_owned();
        let restore = |settings: &mut Settings| {
            copy_database(backup.path(), &dir);
            forget(&dir);
            settings.relays = relays;
        };
        let server = server.restart_with(restore).await;
        Restored { server, alice, bob, carol, seen, revs, backed_up }
    }

    /// Checks that a subscriber that comes back gets every account, numbered above all that it saw, and then what is new.
    async fn check(&self) {
        let mut subscriber = self.server.subscribe(&format!("?cursor={}", self.seen)).await;
        let frames = subscriber.take(5).await;
        assert!(seqs(&frames).iter().all(|seq| *seq > self.seen + MARGIN - 1), "{:?}", seqs(&frames));
        let [
            Frame::Account(first),
            Frame::Sync(first_sync),
            Frame::Account(second),
            Frame::Sync(second_sync),
            Frame::Account(third),
        ] = frames.as_slice()
        else {
            panic!("{frames:?}");
        };
        self.check_account(&self.alice, first, Some(first_sync)).await;
        self.check_account(&self.bob, second, Some(second_sync)).await;
        self.check_account(&self.carol, third, None).await;

        note(&self.server, &self.alice, "new").await;
        let Frame::Commit(commit) = subscriber.next().await else { panic!("no commit") };
        let key = self.server.published_key(&self.alice.did).await;
        verify_commit_event(&commit, Some(&key)).unwrap();
        assert_eq!(commit.seq, seq(frames.last().unwrap()).unwrap() + 1);
        assert_eq!(commit.since, Some(first_sync.rev));
    }

    async fn check_account(&self, account: &TestAccount, event: &Account, sync: Option<&Sync>) {
        assert_eq!((event.did.as_str(), event.active), (account.did.as_str(), sync.is_some()));
        let Some(sync) = sync else { return };
        assert_eq!(sync.did.as_str(), account.did);
        let key = self.server.published_key(&account.did).await;
        verify_sync_event(sync, Some(&key)).unwrap();
        assert!(sync.rev > self.revs[&account.did], "consumers drop a state that is not newer than theirs");
        let query = self.server.query("com.atproto.sync.getLatestCommit");
        let latest = query.param("did", &account.did).send().await.ok();
        assert_eq!(latest["rev"], sync.rev.to_string());
    }
}

/// Invariant 2, across a restore: the mark beside the database remembers.
#[tokio::test]
async fn a_restored_backup_numbers_events_above_all_that_subscribers_saw() {
    let restored = Restored::start(vec![], |_| {}).await;
    restored.check().await;
    // Once is enough.
    let before = last_seq(&restored.server).await;
    let server = restored.server.restart().await;
    assert_eq!(last_seq(&server).await, before);
    assert_eq!(server.app.store.read(seq_repair::get).await.unwrap(), None);
}

/// The mark was restored with the database, or lost with the disk: relays remember.
#[tokio::test]
async fn a_restored_backup_without_its_mark_is_told_by_a_relay_what_it_saw() {
    for damage in [None, Some("nonsense\n"), Some("00000000000000000003\n")] {
        let relay = Relay::start().await;
        relay.knows("idle", 43).await;
        let relays = vec!["http://127.0.0.1:1".to_owned(), relay.server.uri()];
        let restored = Restored::start(relays, |dir| match damage {
            None => fs::remove_file(dir.join("sequence.mark")).unwrap(),
            Some(text) => fs::write(dir.join("sequence.mark"), text).unwrap(),
        })
        .await;
        assert!(restored.seen < 43, "the relay above says that it saw more");
        restored.check().await;
    }
}

#[tokio::test]
async fn without_a_witness_numbers_go_on_where_the_database_ends() {
    let restored = Restored::start(vec![], |dir| fs::remove_file(dir.join("sequence.mark")).unwrap()).await;
    assert_eq!(last_seq(&restored.server).await, restored.backed_up);
}

/// The mark trails the database when the process is killed; that is no restore.
#[tokio::test]
async fn after_a_crash_no_number_is_left_out_and_nothing_is_announced() {
    let mut server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    note(&server, &alice, "a").await;
    let before = last_seq(&server).await;
    server.stop().await;
    server.app.store.sequence_mark().write(before - 2).unwrap();
    let server = server.restart().await;
    assert_eq!(last_seq(&server).await, before);
    assert_eq!(server.app.store.sequence_mark().read().unwrap(), Some(before), "the mark has caught up");
    let mut subscriber = server.subscribe("").await;
    note(&server, &alice, "b").await;
    assert_eq!(seqs(&subscriber.take(1).await), [before + 1]);
}

#[tokio::test]
async fn a_repair_that_was_cut_short_goes_on_at_the_next_start() {
    let mut server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let bob = server.create_account("bob").await;
    let before = last_seq(&server).await;
    // As a crash leaves it after the first account.
    let did = Did::parse(&alice.did).unwrap();
    let interrupted = server.app.store.write(move |tx| {
        seq_repair::begin(tx)?;
        let alice_id = account::get_by_did(tx, &did)?.unwrap().id;
        seq_repair::set_after(tx, alice_id)
    });
    interrupted.await.unwrap();
    server.stop().await;
    let server = server.restart().await;
    let frames = server.subscribe(&format!("?cursor={before}")).await.take(2).await;
    let [Frame::Account(account), Frame::Sync(sync)] = frames.as_slice() else { panic!("{frames:?}") };
    assert_eq!((account.did.as_str(), sync.did.as_str()), (bob.did.as_str(), bob.did.as_str()));
    assert_eq!(last_seq(&server).await, before + 2);
}

#[tokio::test]
async fn the_mark_follows_what_is_written_and_never_leads() {
    let server = TestServer::start().await;
    let (app, mark) = (server.app.clone(), server.app.store.sequence_mark());
    let keeping = tokio::spawn(async move { app.sequence.keep_mark(app.store.ring().last_seq()).await });
    let alice = server.create_account("alice").await;
    note(&server, &alice, "a").await;
    let newest = last_seq(&server).await;
    let started = Instant::now();
    loop {
        let marked = mark.read().unwrap().unwrap();
        assert!(marked <= newest);
        if marked == newest {
            break;
        }
        assert!(started.elapsed().as_secs() < 60, "the mark stays at {marked}");
        tokio::task::yield_now().await;
    }
    keeping.abort();
}

/// A relay as the real one answers, with a state to set.
struct Relay {
    server: MockServer,
}

impl Relay {
    async fn start() -> Relay {
        Relay { server: MockServer::start().await }
    }

    async fn answers(&self, nsid: &str, response: ResponseTemplate) {
        Mock::given(path(format!("/xrpc/com.atproto.sync.{nsid}")))
            .respond_with(response)
            .mount(&self.server)
            .await;
    }

    /// Takes requests to crawl, knows this host as said, and every account as active.
    async fn knows(&self, status: &str, seq: i64) {
        self.server.reset().await;
        let host = json!({ "hostname": "localhost", "seq": seq, "accountCount": 2, "status": status });
        self.answers("getHostStatus", ResponseTemplate::new(200).set_body_json(host)).await;
        let repo = json!({ "did": "did:web:example.com", "active": true });
        self.answers("getRepoStatus", ResponseTemplate::new(200).set_body_json(repo)).await;
        self.answers("requestCrawl", ResponseTemplate::new(200)).await;
    }

    async fn n_asked(&self, nsid: &str) -> usize {
        let requests = self.server.received_requests().await.unwrap();
        requests.iter().filter(|request| request.url.path().ends_with(nsid)).count()
    }
}

fn watch(app: &App) -> Watch {
    Watch::new(app.relays.clone(), app.sequence.clone(), app.store.clone(), app.clock.clone())
}

/// What a look found worse, and how many accounts it is about; `None`: all is well again.
async fn look(watch: &mut Watch) -> Vec<Option<(Matter, usize)>> {
    let matter = |(_, notice): &(String, Notice)| match notice {
        Notice::Worse { finding, n_accounts } => Some((finding.matter, *n_accounts)),
        Notice::Well => None,
    };
    watch.look().await.unwrap().iter().map(matter).collect()
}

#[tokio::test]
async fn relays_that_do_not_answer_cost_a_start_its_patience_and_can_still_set_it_right_later() {
    let relay = Relay::start().await;
    let never = ResponseTemplate::new(200).set_delay(std::time::Duration::from_secs(3600));
    relay.answers("getHostStatus", never).await;
    let started = Instant::now();
    let server = TestServer::start_with(|settings| settings.relays = vec![relay.server.uri()]).await;
    assert!(started.elapsed() < START_PATIENCE * 5);
    server.create_account("alice").await;
    let before = last_seq(&server).await;
    let mut subscriber = server.subscribe("").await;

    relay.knows("idle", before + 500).await;
    let mut watch = watch(&server.app);
    assert_eq!(look(&mut watch).await, [Some((Matter::AheadOfUs, 0))]);
    let frames = subscriber.take(2).await;
    assert!(matches!(frames.as_slice(), [Frame::Account(_), Frame::Sync(_)]));
    assert_eq!(seqs(&frames), [before + 500 + MARGIN + 1, before + 500 + MARGIN + 2]);
    assert_eq!(relay.n_asked("requestCrawl").await, 1, "it hung up, and has to be asked to come back");

    // A relay that is ahead every time is believed once.
    let after = last_seq(&server).await;
    relay.knows("active", after + 500).await;
    assert_eq!(look(&mut watch).await, []);
    relay.knows("active", BELIEVED_MAX + 1).await;
    assert_eq!(look(&mut watch).await, [Some((Matter::AbsurdlyAhead, 0))]);
    assert_eq!(last_seq(&server).await, after);
}

#[tokio::test]
async fn a_relay_that_claims_what_no_server_gets_to_moves_nothing_at_the_start() {
    let relay = Relay::start().await;
    relay.knows("active", BELIEVED_MAX + 1).await;
    let server = TestServer::start_with(|settings| settings.relays = vec![relay.server.uri()]).await;
    assert_eq!(last_seq(&server).await, 0);
    relay.knows("active", BELIEVED_MAX).await;
    let server = server.restart().await;
    assert_eq!(last_seq(&server).await, BELIEVED_MAX + MARGIN, "all that it can reach");
    let server = server.restart().await;
    assert_eq!(last_seq(&server).await, BELIEVED_MAX + MARGIN);
    let alice = server.create_account("alice").await;
    note(&server, &alice, "above-2-to-the-52").await;
    server.subscribe(&format!("?cursor={BELIEVED_MAX}")).await.take(5).await;
}

#[tokio::test]
async fn the_log_says_what_has_changed_and_says_it_once() {
    let relay = Relay::start().await;
    relay.knows("active", 0).await;
    let server = TestServer::start_with(|settings| settings.relays = vec![relay.server.uri()]).await;
    server.create_account("alice").await;
    server.create_account("bob").await;
    let mut watch = watch(&server.app);
    assert_eq!(look(&mut watch).await, [], "what is new is on its way");
    server.advance_secs(600);
    assert_eq!(look(&mut watch).await, [Some((Matter::Behind, 0))]);
    assert_eq!(look(&mut watch).await, []);
    relay.knows("banned", 0).await;
    assert_eq!(look(&mut watch).await, [Some((Matter::Banned, 0))]);
    relay.knows("active", last_seq(&server).await).await;
    assert_eq!(look(&mut watch).await, [None]);
    assert_eq!(look(&mut watch).await, []);

    relay.server.reset().await;
    let host = json!({ "hostname": "localhost", "seq": last_seq(&server).await, "status": "active" });
    relay.answers("getHostStatus", ResponseTemplate::new(200).set_body_json(host)).await;
    let throttled = json!({ "did": "did:web:example.com", "active": false, "status": "throttled" });
    relay.answers("getRepoStatus", ResponseTemplate::new(200).set_body_json(throttled)).await;
    assert_eq!(look(&mut watch).await, [Some((Matter::AccountThrottled, 2))], "one line for all accounts");
    assert_eq!(look(&mut watch).await, []);
    relay.server.reset().await;
    assert_eq!(look(&mut watch).await, [None], "a server without the method has no opinion");
    relay.answers("getHostStatus", ResponseTemplate::new(500)).await;
    assert_eq!(look(&mut watch).await, [Some((Matter::NotAsked, 0))]);
}

/// `rookery relay` on the data of `server`, which is running: exit status and standard output.
async fn rookery_relay(server: &TestServer, arguments: &[&str]) -> (i32, String) {
    use std::os::unix::fs::PermissionsExt as _;
    let key = server.data_dir().join("master.key");
    fs::write(&key, "07".repeat(32)).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rookery"));
    command.env_clear().arg("relay").args(arguments).arg("--data-dir").arg(server.data_dir());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    eprintln!("{}", text(&output.stderr));
    (output.status.code().unwrap(), text(&output.stdout))
}

#[tokio::test]
async fn relay_status_says_in_words_and_in_its_exit_status_what_relays_think() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let newest = last_seq(&server).await;
    let relay = Relay::start().await;
    let url = relay.server.uri();
    let ask = ["status", "--hostname", "Localhost:2583", "--relay", &url];

    relay.knows("active", newest).await;
    let (status, out) = rookery_relay(&server, &ask).await;
    assert_eq!(status, 0, "{out}");
    assert!(out.contains("ok  it has seen everything"), "{out}");
    let requests = relay.server.received_requests().await.unwrap();
    assert!(requests.iter().any(|request| request.url.query() == Some("hostname=localhost%3A2583")));

    relay.knows("idle", newest + 7).await;
    let (status, out) = rookery_relay(&server, &ask).await;
    assert_eq!(status, 1, "{out}");
    assert!(out.contains("the newest here is") && out.contains("Restart the server"), "{out}");

    let (status, out) = rookery_relay(&server, &[&ask[..], &["--json", "--did", &alice.did]].concat()).await;
    let report: Json = serde_json::from_str(&out).unwrap();
    assert_eq!(status, 1);
    assert_eq!((&report["seq"], &report["ourSeq"]), (&json!(newest + 7), &json!(newest)));
    assert_eq!(report["findings"][0]["matter"], "aheadOfUs");
    assert_eq!(report["findings"][1]["did"], alice.did);

    let (status, out) = rookery_relay(&server, &["status", "--relay", "http://127.0.0.1:1"]).await;
    assert_eq!(status, 2, "{out}");
    assert!(out.contains("could not be asked"), "{out}");
    let (status, out) = rookery_relay(&server, &["status"]).await;
    assert_eq!((status, out.as_str()), (1, ""), "a sandbox has no relays");
}

#[tokio::test]
async fn relay_request_crawl_and_announce_do_what_status_advises() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let relay = Relay::start().await;
    let refusal = json!({ "error": "DomainBan", "message": "host domain is banned" });
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(401).set_body_json(refusal))
        .up_to_n_times(1)
        .mount(&relay.server)
        .await;
    let url = relay.server.uri();
    let crawl = ["request-crawl", "--hostname", "localhost:2583", "--relay", &url];
    let (status, out) = rookery_relay(&server, &crawl).await;
    assert_eq!(status, 1);
    assert!(out.contains("401 Unauthorized: DomainBan, host domain is banned"), "{out}");
    relay.knows("active", 1).await;
    assert_eq!(rookery_relay(&server, &crawl).await, (0, format!("{url}  ok\n")));
    assert_eq!(relay.n_asked("requestCrawl").await, 1);

    let before = last_seq(&server).await;
    let (status, _) = rookery_relay(&server, &["announce", &alice.did]).await;
    assert_eq!(status, 0);
    let announced = server.app.store.look_for_events_of_others().await;
    announced.map_err(|error: StoreError| error).unwrap();
    let mut subscriber: Subscription = server.subscribe(&format!("?cursor={before}")).await;
    assert!(matches!(subscriber.take(2).await.as_slice(), [Frame::Account(_), Frame::Sync(_)]));
}
