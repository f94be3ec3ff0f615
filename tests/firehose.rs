//! The firehose as a consumer meets it: a websocket on a whole server, every event checked with what is public.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;

use atproto::{
    crypto::PublicKey,
    data::{Value, cbor},
    event::{self, Frame},
    mst::Walk,
    repo::{Action, Commit, car, verify_commit_event, verify_sync_event},
};
use rookery::store::repo_seq;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{
    TestAccount, TestServer,
    firehose::{Subscription, seqs},
};

const HOUR_SECS: i64 = 3600;

/// The number of the newest event.
async fn last_seq(server: &TestServer) -> i64 {
    server.app.store.read(repo_seq::last_seq).await.unwrap()
}

#[track_caller]
fn commit(frame: Frame) -> event::Commit {
    match frame {
        Frame::Commit(commit) => commit,
        other => panic!("{other:?}"),
    }
}

/// Checks the event with the key, and returns the commit in it.
#[track_caller]
fn verified(event: &event::Commit, key: &PublicKey) -> Commit {
    verify_commit_event(event, Some(key)).unwrap();
    let (roots, blocks) = car::decode(&event.blocks).unwrap();
    Commit::decode(&blocks[&roots[0]]).unwrap()
}

async fn note(server: &TestServer, account: &TestAccount, rkey: &str, text: &str) -> String {
    let output =
        server.put_record(account, &format!("com.example.note/{rkey}"), json!({ "text": text })).await;
    output["commit"]["cid"].as_str().unwrap_or_default().to_owned()
}

/// The error that ends a subscription: its name is in the frame and in the close (EV-4, EV-5).
async fn refusal(subscription: &mut Subscription) -> String {
    let Frame::Error(error) = subscription.next().await else { panic!("no error frame") };
    assert!(error.message.is_some());
    assert_eq!(subscription.closed().await, (1008, error.error.clone()));
    error.error
}

/// EV-8, and a client that hears that it is connected misses nothing from then on.
#[tokio::test]
async fn without_a_cursor_a_subscription_is_live_only() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    note(&server, &alice, "before", "x").await;
    for query in ["", "?cursor="] {
        for n in 0..10 {
            let mut subscription = server.subscribe(query).await;
            let cid = note(&server, &alice, "after", &format!("{query}{n}")).await;
            assert_eq!(commit(subscription.next().await).commit.to_string(), cid);
        }
    }
}

/// AC-9, SY-15, and the reference's order.
#[tokio::test]
async fn a_sign_up_is_identity_account_commit_sync() {
    let server = TestServer::start().await;
    let mut subscription = server.subscribe("").await;
    let alice = server.create_account("alice").await;
    let key = server.published_key(&alice.did).await;
    let frames = subscription.take(4).await;
    assert_eq!(seqs(&frames), [1, 2, 3, 4]);
    let [Frame::Identity(identity), Frame::Account(account), Frame::Commit(commit), Frame::Sync(sync)] =
        frames.as_slice()
    else {
        panic!("{frames:?}");
    };
    assert_eq!(identity.did.as_str(), alice.did);
    assert_eq!(identity.handle.as_ref().unwrap().as_str(), alice.handle);
    assert_eq!((account.did.as_str(), account.active, &account.status), (alice.did.as_str(), true, &None));
    assert_eq!((commit.since, commit.prev_data, commit.ops.len()), (None, None, 0));
    let first = verified(commit, &key);
    verify_sync_event(sync, Some(&key)).unwrap();
    assert_eq!((sync.did.as_str(), sync.rev), (alice.did.as_str(), first.rev));
    let (_, blocks) = car::decode(&sync.blocks).unwrap();
    assert_eq!(blocks.into_keys().collect::<Vec<_>>(), [commit.commit]);
}

/// SY-4 to SY-9, SY-20: each event from its own bytes, and each after the one before.
#[tokio::test]
async fn every_commit_verifies_inverts_and_follows_the_last() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let key = server.published_key(&alice.did).await;
    for n in 0..30 {
        note(&server, &alice, &format!("key-{}", n % 20), &n.to_string()).await;
        if n % 4 == 3 {
            server.delete_record(&alice, &format!("com.example.note/key-{}", n / 2)).await;
        }
    }
    let write = |kind: &str, rkey: &str| {
        json!({ "$type": format!("com.atproto.repo.applyWrites#{kind}"), "collection": "com.example.note",
                "rkey": rkey, "value": { "text": kind } })
    };
    let writes = [write("update", "key-0"), write("delete", "key-2"), write("create", "other")];
    let input = json!({ "repo": alice.did, "writes": writes });
    server.procedure("com.atproto.repo.applyWrites").auth(&alice).json(&input).send().await.ok();

    let mut subscription = server.subscribe("?cursor=0").await;
    let frames = subscription.read_to(last_seq(&server).await).await;
    let events: Vec<_> = frames
        .into_iter()
        .filter_map(|frame| match frame {
            Frame::Commit(commit) => Some(commit),
            _ => None,
        })
        .collect();
    assert_eq!(events.len(), 1 + 30 + 7 + 1);
    let mut before: Option<Commit> = None;
    for event in &events {
        let commit = verified(event, &key);
        assert_eq!(event.since, before.as_ref().map(|before| before.rev));
        assert_eq!(event.prev_data, before.as_ref().map(|before| before.data));
        assert!(before.is_none_or(|before| before.rev < commit.rev));
        for op in &event.ops {
            assert_eq!(op.prev.is_some(), op.action != Action::Create, "{op:?}");
        }
        before = Some(commit);
    }
    let last = events.last().unwrap();
    let mut actions: Vec<_> = last.ops.iter().map(|op| (op.path.as_str(), op.action)).collect();
    actions.sort_by_key(|(path, _)| *path);
    assert_eq!(
        actions,
        [
            ("com.example.note/key-0", Action::Update),
            ("com.example.note/key-2", Action::Delete),
            ("com.example.note/other", Action::Create),
        ]
    );
}

/// EV-1 to EV-3, SY-3, SY-6: what is on the wire beside what our own reader looks at.
#[tokio::test]
async fn frames_have_the_fields_of_the_lexicon_and_no_others() {
    let server = TestServer::start().await;
    let mut subscription = server.subscribe("").await;
    let alice = server.create_account("alice").await;
    note(&server, &alice, "a", "one").await;
    note(&server, &alice, "a", "two").await;
    server.delete_record(&alice, "com.example.note/a").await;
    let mut seen = Vec::new();
    for _ in 0..7 {
        let bytes = subscription.next_bytes().await;
        let (header, len) = cbor::decode_prefix(&bytes).unwrap();
        assert_eq!(header.get("op").and_then(Value::as_integer), Some(1));
        let payload = cbor::decode(&bytes[len..]).unwrap();
        let mut fields: Vec<_> = payload.as_map().unwrap().iter().map(|(name, _)| name.to_owned()).collect();
        fields.sort();
        let ops = payload.get("ops").and_then(Value::as_array).unwrap_or_default().iter();
        let ops: Vec<_> = ops
            .map(|op| {
                let mut fields: Vec<_> =
                    op.as_map().unwrap().iter().map(|(name, _)| name.to_owned()).collect();
                fields.sort();
                fields.join(" ")
            })
            .collect();
        if header.get("t").and_then(Value::as_str) == Some("#commit") {
            assert_eq!(payload.get("rebase"), Some(&Value::Bool(false)));
            assert_eq!(payload.get("tooBig"), Some(&Value::Bool(false)));
            assert_eq!(payload.get("blobs").and_then(Value::as_array), Some([].as_slice()));
        }
        seen.push(format!(
            "{} {} {}",
            header.get("t").and_then(Value::as_str).unwrap(),
            fields.join(" "),
            ops.join(", ")
        ));
    }
    let first = "blobs blocks commit ops rebase repo rev seq since time tooBig";
    let later = "blobs blocks commit ops prevData rebase repo rev seq since time tooBig";
    assert_eq!(
        seen,
        [
            "#identity did handle seq time ".to_owned(),
            "#account active did seq time ".to_owned(),
            format!("#commit {first} "),
            "#sync blocks did rev seq time ".to_owned(),
            format!("#commit {later} action cid path"),
            format!("#commit {later} action cid path prev"),
            format!("#commit {later} action cid path prev"),
        ]
    );
}

#[tokio::test]
async fn writes_that_change_nothing_are_not_announced() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let mut subscription = server.subscribe("").await;
    let first = note(&server, &alice, "a", "same").await;
    note(&server, &alice, "a", "same").await;
    server.delete_record(&alice, "com.example.note/nothing").await;
    let second = note(&server, &alice, "b", "other").await;
    assert_eq!(commit(subscription.next().await).commit.to_string(), first);
    assert_eq!(commit(subscription.next().await).commit.to_string(), second);
}

/// SY-15: whoever follows starts over from the import, and the commits after it build on that.
#[tokio::test]
async fn an_import_is_announced_as_sync_while_the_account_is_active() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let key = server.published_key(&alice.did).await;
    note(&server, &alice, "a", "first").await;
    let car = server.query("com.atproto.sync.getRepo").param("did", &alice.did).send().await.bytes;
    note(&server, &alice, "a", "second").await;
    let mut subscription = server.subscribe("").await;
    let import = async || {
        let call = server.procedure("com.atproto.repo.importRepo").auth(&alice);
        assert_eq!(call.body("application/vnd.ipld.car", car.clone()).send().await.status, 200);
    };
    import().await;
    let Frame::Sync(sync) = subscription.next().await else { panic!("no #sync") };
    verify_sync_event(&sync, Some(&key)).unwrap();
    let (roots, blocks) = car::decode(&sync.blocks).unwrap();
    let imported = Commit::decode(&blocks[&roots[0]]).unwrap();

    note(&server, &alice, "b", "third").await;
    let next = commit(subscription.next().await);
    verified(&next, &key);
    assert_eq!((next.since, next.prev_data), (Some(imported.rev), Some(imported.data)));

    let before = last_seq(&server).await;
    server.deactivate(&alice.did).await;
    import().await;
    assert_eq!(last_seq(&server).await, before, "nothing is said of an inactive account (SY-19)");
}

/// SY-29
#[tokio::test]
async fn an_export_and_the_commits_after_it_are_the_later_state() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    for n in 0..10 {
        note(&server, &alice, &n.to_string(), "first").await;
    }
    let export = async || {
        let answer = server.query("com.atproto.sync.getRepo").param("did", &alice.did).send().await;
        let (roots, blocks) = car::decode(&answer.bytes).unwrap();
        let commit = Commit::decode(&blocks[&roots[0]]).unwrap();
        let (mut walk, mut records) = (Walk::new(commit.data), BTreeMap::new());
        while let Some((path, cid)) = walk.next(&mut &blocks).unwrap() {
            records.insert(String::from_utf8(path).unwrap(), cid);
        }
        (commit, records)
    };
    let (early, mut records) = export().await;
    for n in 5..15 {
        note(&server, &alice, &n.to_string(), "second").await;
        server.delete_record(&alice, &format!("com.example.note/{}", n - 5)).await;
    }
    let (late, expected) = export().await;
    for frame in server.subscribe("?cursor=0").await.read_to(last_seq(&server).await).await {
        let Frame::Commit(commit) = frame else { continue };
        for op in commit.ops.iter().filter(|_| commit.rev > early.rev) {
            match op.cid {
                Some(cid) => records.insert(op.path.as_str().to_owned(), cid),
                None => records.remove(op.path.as_str()),
            };
        }
        assert!(commit.rev <= late.rev);
    }
    assert_eq!(records, expected);
}

#[tokio::test]
async fn a_cursor_is_exclusive_and_zero_or_less_is_the_whole_window_ev_8_ev_9() {
    let server = TestServer::start().await;
    server.create_account("alice").await;
    for (cursor, expected) in
        [("0", vec![1, 2, 3, 4]), ("-1", vec![1, 2, 3, 4]), ("1", vec![2, 3, 4]), ("3", vec![4])]
    {
        let mut subscription = server.subscribe(&format!("?cursor={cursor}")).await;
        assert_eq!(seqs(&subscription.take(expected.len()).await), expected, "{cursor}");
    }
    let mut caught_up = server.subscribe("?cursor=4").await;
    server.create_account("bob").await;
    assert_eq!(seqs(&caught_up.take(4).await), [5, 6, 7, 8]);
}

#[tokio::test]
async fn a_cursor_from_the_future_is_refused_by_name_ev_8() {
    let server = TestServer::start().await;
    assert_eq!(refusal(&mut server.subscribe("?cursor=1").await).await, "FutureCursor");
    server.create_account("alice").await;
    for cursor in ["5", "9007199254740993", "9223372036854775807"] {
        let mut subscription = server.subscribe(&format!("?cursor={cursor}")).await;
        assert_eq!(refusal(&mut subscription).await, "FutureCursor");
        subscription.gone().await;
    }
}

#[tokio::test]
async fn a_cursor_before_the_window_is_told_and_gets_the_window_ev_8() {
    let server = TestServer::start().await;
    server.create_account("alice").await;
    server.advance_secs(25 * HOUR_SECS);
    server.create_account("bob").await;
    let mut outdated = server.subscribe("?cursor=1").await;
    let Frame::Info(info) = outdated.next().await else { panic!("no #info") };
    assert_eq!(info.name, "OutdatedCursor");
    assert_eq!(seqs(&outdated.take(4).await), [5, 6, 7, 8]);
    for cursor in [0, 4] {
        let mut subscription = server.subscribe(&format!("?cursor={cursor}")).await;
        assert_eq!(seqs(&subscription.take(4).await), [5, 6, 7, 8], "{cursor}");
    }
    server.create_account("carol").await;
    assert_eq!(seqs(&outdated.take(4).await), [9, 10, 11, 12]);
}

/// EV-9, SY-20: subscribers join at any point while several accounts write; all read the same bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn replay_goes_over_into_live_without_gap_or_double() {
    const WRITERS: usize = 4;
    const WRITES: usize = 30;
    let server = &TestServer::start().await;
    let mut accounts = Vec::new();
    for n in 0..WRITERS {
        accounts.push(server.create_account(&format!("writer{n}")).await);
    }
    let before = last_seq(server).await;
    let last = before + (WRITERS * WRITES) as i64;
    let writing = futures::future::join_all(accounts.iter().map(async |account| {
        for n in 0..WRITES {
            note(server, account, "a", &n.to_string()).await;
        }
    }));
    let reading = futures::future::join_all((0..20).map(async |n| {
        let cursor = n % (before + 1);
        // The later ones join when more has been written.
        while last_seq(server).await < before + n * 5 {
            tokio::task::yield_now().await;
        }
        let mut subscription = server.subscribe(&format!("?cursor={cursor}")).await;
        let mut bytes = Vec::new();
        for _ in cursor..last {
            bytes.push(subscription.next_bytes().await);
        }
        (cursor, bytes)
    }));
    let (_, read) = futures::future::join(writing, reading).await;
    assert_eq!(last_seq(server).await, last);
    let (_, all) = &read[0];
    let frames: Vec<_> = all.iter().map(|bytes| Frame::decode(bytes).unwrap()).collect();
    assert_eq!(seqs(&frames), Vec::from_iter(1..=last));
    for (cursor, bytes) in &read {
        assert!(*bytes == all[*cursor as usize..], "cursor {cursor}");
    }
    let mut revs = BTreeMap::new();
    for frame in frames {
        let Frame::Commit(commit) = frame else { continue };
        let rev = revs.insert(commit.repo.as_str().to_owned(), commit.rev);
        assert_eq!(rev, commit.since, "{}", commit.repo.as_str());
    }
    assert_eq!(revs.len(), WRITERS);
}

/// SY-21, EV-7
#[tokio::test]
async fn after_a_restart_the_log_is_the_same_and_goes_on() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    note(&server, &alice, "a", "before").await;
    let mut subscription = server.subscribe("?cursor=0").await;
    let mut before = Vec::new();
    for _ in 0..5 {
        before.push(subscription.next_bytes().await);
    }

    let server = server.restart().await;
    assert_eq!(subscription.closed().await.0, 1001, "subscribers are told");
    let mut caught_up = server.subscribe("?cursor=5").await;
    let mut replay = server.subscribe("?cursor=0").await;
    let cid = note(&server, &alice, "b", "after").await;
    for expected in before {
        assert_eq!(replay.next_bytes().await, expected);
    }
    let next = commit(caught_up.next().await);
    assert_eq!((next.seq, next.commit.to_string()), (6, cid));
    assert_eq!(commit(replay.next().await), next);
    verified(&next, &server.published_key(&alice.did).await);
}

/// EV-6
#[tokio::test]
async fn what_clients_send_is_ignored_and_pings_are_answered() {
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let mut subscription = server.subscribe("").await;
    subscription.send(Message::text("hello")).await;
    subscription.send(Message::binary(vec![0xff; 1000])).await;
    subscription.send(Message::Ping("are you there".into())).await;
    assert_eq!(subscription.next_message().await, Message::Pong("are you there".into()));
    let cid = note(&server, &alice, "a", "x").await;
    assert_eq!(commit(subscription.next().await).commit.to_string(), cid);

    let mut talkative = server.subscribe("").await;
    talkative.send(Message::binary(vec![0; 100_000])).await;
    talkative.gone().await;
    let cid = note(&server, &alice, "a", "y").await;
    assert_eq!(commit(subscription.next().await).commit.to_string(), cid);
}

/// EV-13
#[tokio::test]
#[ignore = "takes half a minute"]
async fn a_quiet_subscription_is_pinged() {
    let server = TestServer::start().await;
    let mut subscription = server.subscribe("").await;
    subscription.pinged().await;
    server.create_account("alice").await;
    assert_eq!(seqs(&subscription.take(4).await), [1, 2, 3, 4]);
}

/// EV-10: more is written than the sockets hold and the ring keeps, and it leaves the window before it is read.
#[tokio::test]
async fn a_consumer_that_falls_out_of_the_window_is_too_slow_and_holds_up_nobody() {
    const EVENTS: i64 = 16;
    const RECEIVE_BUFFER_BYTES: u32 = 64 * 1024;
    let server = TestServer::start().await;
    let alice = server.create_account("alice").await;
    let mut slow = server.try_subscribe("", Some(RECEIVE_BUFFER_BYTES)).await.unwrap();
    let mut quick = server.subscribe("").await;
    for n in 0..EVENTS {
        note(&server, &alice, "a", &format!("{n}{}", "x".repeat(900_000))).await;
        assert_eq!(commit(quick.next().await).seq, 5 + n);
    }
    server.advance_secs(26 * HOUR_SECS);
    server.app.firehose.prune().await.unwrap();
    let mut seq = 4;
    let error = loop {
        match slow.next().await {
            Frame::Commit(commit) => {
                assert_eq!(commit.seq, seq + 1, "what comes is without gaps");
                seq = commit.seq;
            }
            Frame::Error(error) => break error,
            other => panic!("{other:?}"),
        }
    };
    assert!(seq < 4 + EVENTS);
    assert_eq!(error.error, "ConsumerTooSlow");
    assert_eq!(slow.closed().await, (1008, "ConsumerTooSlow".to_owned()));
    server.create_account("bob").await;
    assert_eq!(seqs(&quick.take(4).await), Vec::from_iter(5 + EVENTS..9 + EVENTS));
}
