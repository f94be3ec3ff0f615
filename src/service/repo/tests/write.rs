//! Single rules of the write path.

use atproto::{
    data::{BlobRef, Cid, cid},
    event::{self, Frame},
    repo::{Action, Commit, RepoOp, car, verify_commit_event},
};

use super::*;
use crate::store::{account::Status, blob};

const NOTE: &str = "com.example.note";
const LIKE: &str = "app.bsky.feed.like";

async fn bench() -> (Bench, Account) {
    let bench = Bench::new().await;
    let account = bench.account(DID, true).await;
    (bench, account)
}

fn last_ops(events: &[Frame]) -> Vec<RepoOp> {
    match events.last() {
        Some(Frame::Commit(commit)) => commit.ops.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_new_repo_is_one_commit_over_the_empty_node_rp_14() {
    let (bench, account) = bench().await;
    assert_eq!(
        bench.head(&account).await.data.to_string(),
        "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"
    );
    let events = bench.events().await;
    let [Frame::Commit(commit), Frame::Sync(sync)] = &events[..] else { panic!("{events:?}") };
    let key = bench.key(&account).await.public_key();
    verify_commit_event(commit, Some(&key)).unwrap();
    atproto::repo::verify_sync_event(sync, Some(&key)).unwrap();
    assert_eq!((commit.since, commit.prev_data, sync.rev), (None, None, commit.rev));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_writers_to_one_repo_all_land_rp_16() {
    let (bench, account) = bench().await;
    let bench = Arc::new(bench);
    let writers: Vec<_> = (0..40)
        .map(|n| {
            let (bench, account) = (bench.clone(), account.clone());
            tokio::spawn(
                async move { bench.write(&account, create(NOTE, &format!("n{n}"), note("x"))).await },
            )
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(bench.head(&account).await.n_records, 40);
    let key = bench.key(&account).await.public_key();
    let mut revs = Vec::new();
    for event in bench.events().await {
        if let Frame::Commit(commit) = event {
            verify_commit_event(&commit, Some(&key)).unwrap();
            revs.push(commit.rev);
        }
    }
    assert_eq!(revs.len(), 41);
    assert!(revs.is_sorted_by(|a, b| a < b), "SY-20");
}

#[tokio::test]
async fn a_write_whose_group_fails_leaves_nothing_and_the_next_one_stands_on_the_old_tree() {
    let (bench, account) = bench().await;
    let before = bench.write(&account, create(NOTE, "a", note("x"))).await;
    // Holds the writer until the two are queued behind it.
    let (release, held) = std::sync::mpsc::channel::<()>();
    let (start, started) = tokio::sync::oneshot::channel();
    let holding = bench.store.write(move |_| {
        start.send(()).unwrap();
        let _ = held.recv();
        Ok::<_, StoreError>(())
    });
    let lost = bench.apply(&account, vec![create(NOTE, "b", note("y"))]);
    let half_done = bench.store.write_checked(|tx| {
        tx.execute("UPDATE account SET invites_disabled = 1", ())?;
        Err::<(), _>(StoreError::NotCommitted("refused after writing".into()))
    });
    let queued = async {
        started.await.unwrap();
        let both = futures::future::join(lost, half_done);
        tokio::pin!(both);
        assert!(futures::poll!(&mut both).is_pending(), "one poll puts both into the queue");
        release.send(()).unwrap();
        both.await
    };
    let (held, (lost, half_done)) = tokio::join!(holding, queued);
    held.unwrap();
    assert!(matches!(lost, Err(WriteError::Store(_))), "{lost:?}");
    assert!(half_done.is_err());
    assert_eq!(bench.head(&account).await.commit, before.cid);

    for n in 0..20 {
        bench.write(&account, create(NOTE, &format!("c{n}"), note("z"))).await;
    }
    let key = bench.key(&account).await.public_key();
    let mut data = None;
    for event in bench.events().await {
        let Frame::Commit(commit) = event else { continue };
        verify_commit_event(&commit, Some(&key)).unwrap();
        assert_eq!(commit.prev_data, data);
        data = Some(announced_data(&commit));
    }
    assert_eq!(data, Some(bench.head(&account).await.data));
    assert_eq!(bench.head(&account).await.n_records, 21);
}

/// The root that a commit event announces.
fn announced_data(commit: &event::Commit) -> Cid {
    let (_, blocks) = car::decode(&commit.blocks).unwrap();
    Commit::decode(&blocks[&commit.commit]).unwrap().data
}

#[tokio::test]
async fn identical_content_makes_no_commit_whatever_the_swaps_say_xr_16() {
    let (bench, account) = bench().await;
    bench.write(&account, create(NOTE, "a", note("x"))).await;
    let n_events = bench.events().await.len();
    let request = WriteRequest {
        writes: vec![put(NOTE, "a", note("x"), Swap::Absent)],
        validation: Validation::Skip,
        swap_commit: Some(cid::for_cbor(b"not the head")),
    };
    let applied = bench.repos.apply_writes(&account.did, request).await.unwrap();
    assert_eq!(applied.commit, None);
    assert!(applied.results[0].cid.is_some());
    assert_eq!(bench.apply(&account, vec![delete(NOTE, "b", false)]).await.unwrap().commit, None);
    assert_eq!(bench.events().await.len(), n_events);
}

#[tokio::test]
async fn a_swap_that_does_not_hold_changes_nothing_rp_16() {
    let (bench, account) = bench().await;
    let first = bench.write(&account, create(NOTE, "a", note("x"))).await;
    let wrong = cid::for_cbor(b"another");
    for (write, swap_commit) in [
        (put(NOTE, "a", note("y"), Swap::Absent), None),
        (put(NOTE, "a", note("y"), Swap::Is(wrong)), None),
        (put(NOTE, "b", note("y"), Swap::Is(wrong)), None),
        (create(NOTE, "b", note("y")), Some(wrong)),
    ] {
        let request = WriteRequest { writes: vec![write], validation: Validation::Skip, swap_commit };
        let error = bench.repos.apply_writes(&account.did, request).await.unwrap_err();
        assert!(matches!(error, WriteError::SwapCommit { .. } | WriteError::SwapRecord { .. }), "{error}");
        assert_eq!(bench.head(&account).await.commit, first.cid);
    }
    let request = WriteRequest {
        writes: vec![put(NOTE, "b", note("y"), Swap::Absent)],
        validation: Validation::Skip,
        swap_commit: Some(first.cid),
    };
    assert!(bench.repos.apply_writes(&account.did, request).await.unwrap().commit.is_some());
}

#[tokio::test]
async fn a_second_like_replaces_the_first_in_one_commit() {
    let (bench, account) = bench().await;
    let like = |uri: &str| {
        object([("subject", object([("uri", Value::String(format!("at://{DID}/{NOTE}/{uri}")))]))])
    };
    bench.write(&account, create(LIKE, "one", like("a"))).await;
    bench.write(&account, create(LIKE, "two", like("b"))).await;
    bench.write(&account, create(LIKE, "three", like("a"))).await;
    let ops = last_ops(&bench.events().await);
    let ops: Vec<_> = ops.iter().map(|op| (op.action, op.path.rkey())).collect();
    assert!(ops.contains(&(Action::Delete, "one")) && ops.contains(&(Action::Create, "three")));
    assert_eq!(ops.len(), 2);
    // One that changed its subject is no duplicate any more.
    bench.write(&account, update(LIKE, "three", like("c"))).await;
    bench.write(&account, create(LIKE, "four", like("a"))).await;
    assert_eq!(bench.head(&account).await.n_records, 3);
}

#[tokio::test]
async fn too_large_requests_are_refused_before_anything_is_written_sy_13() {
    let (bench, account) = bench().await;
    let before = bench.head(&account).await;
    let big = |bytes: usize| note(&"x".repeat(bytes));
    let many = (0..201).map(|n| create(NOTE, &format!("n{n}"), note("x"))).collect();
    for (writes, says) in [
        (vec![create(NOTE, "a", big(1_000_000))], "at most 1000000"),
        ((0..3).map(|n| create(NOTE, &format!("n{n}"), big(900_000 + n))).collect(), "Max event size"),
        (many, "Too many writes"),
    ] {
        let error = bench.apply(&account, writes).await.unwrap_err();
        assert!(matches!(&error, WriteError::Invalid(problem) if problem.contains(says)), "{error}");
        assert_eq!(bench.head(&account).await, before);
    }
    assert_eq!(bench.count("record").await, 0);
}

#[tokio::test]
async fn a_takedown_between_check_and_write_wins_sy_19() {
    let (bench, account) = bench().await;
    let id = account.id;
    bench
        .store
        .write(move |tx| {
            tx.execute("UPDATE account SET takedown_ref = 'x' WHERE id = ?1", [id])?;
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    let n_events = bench.events().await.len();
    let error = bench.apply(&account, vec![create(NOTE, "a", note("x"))]).await.unwrap_err();
    assert!(matches!(error, WriteError::Inactive(Status::Takendown)), "{error}");
    assert_eq!(bench.events().await.len(), n_events);
}

#[tokio::test]
async fn blobs_must_be_there_and_go_with_their_last_record_bl_5_bl_7() {
    let (bench, account) = bench().await;
    let id = account.id;
    let held = BlobRef { cid: cid::for_raw(b"held"), mime_type: "image/png".into(), size: 4 };
    let with = |blob: &BlobRef| object([("image", blob.to_value())]);
    let missing = BlobRef { cid: cid::for_raw(b"missing"), ..held.clone() };
    let error = bench.apply(&account, vec![create(NOTE, "a", with(&missing))]).await.unwrap_err();
    assert!(matches!(error, WriteError::BlobNotFound(cid) if cid == missing.cid), "{error}");
    assert_eq!(bench.count("record").await, 0);

    let cid = held.cid;
    bench.store.write(move |tx| blob::put(tx, id, &cid, "image/png", 4, tx.now())).await.unwrap();
    for (wrong, is_mime) in [
        (BlobRef { mime_type: "image/gif".into(), ..held.clone() }, true),
        (BlobRef { size: 5, ..held.clone() }, false),
    ] {
        let error = bench.apply(&account, vec![create(NOTE, "a", with(&wrong))]).await.unwrap_err();
        assert_eq!(matches!(error, WriteError::BlobMimeType(_)), is_mime, "{error}");
        assert_eq!(matches!(error, WriteError::BlobSize(_)), !is_mime, "{error}");
    }
    bench.write(&account, create(NOTE, "a", with(&held))).await;
    // The same blob in the record's next version, then in another record.
    let next = object([("image", held.to_value()), ("alt", Value::String("a".into()))]);
    bench.write(&account, update(NOTE, "a", next)).await;
    assert_eq!(bench.count("blob").await, 1);
    let moved = vec![delete(NOTE, "a", true), create(NOTE, "b", with(&held))];
    bench.apply(&account, moved).await.unwrap();
    assert_eq!((bench.count("blob").await, bench.count("record_blob").await), (1, 1));
    bench.write(&account, delete(NOTE, "b", true)).await;
    assert_eq!((bench.count("blob").await, bench.count("record_blob").await), (0, 0));
}

#[tokio::test]
async fn types_and_legacy_blobs_are_checked_without_validation_dm_19_xr_20() {
    let (bench, account) = bench().await;
    let legacy = object([
        ("cid", Value::String(cid::for_raw(b"x").to_string())),
        ("mimeType", Value::String("image/png".into())),
    ]);
    let malformed = object([("$type", Value::String("blob".into())), ("size", Value::Integer(1))]);
    for (record, says) in [
        (object([("$type", Value::String("com.example.other".into()))]), "Invalid $type"),
        (object([("$type", Value::Integer(1))]), "Invalid $type"),
        (Value::Array(vec![]), "object"),
        (object([("image", legacy)]), "legacy"),
        (object([("image", malformed)]), ""),
    ] {
        let error = bench.apply(&account, vec![create(NOTE, "a", record)]).await.unwrap_err();
        let matches = |problem: &str| problem.to_lowercase().contains(&says.to_lowercase());
        assert!(matches!(&error, WriteError::Invalid(problem) if matches(problem)), "{error}");
    }
}

#[tokio::test]
async fn validation_follows_the_flag_xr_19() {
    let (bench, account) = bench().await;
    let post = object([
        ("text", Value::String("hello".into())),
        ("createdAt", Value::String("2024-01-01T00:00:00.000Z".into())),
    ]);
    let bad = object([("text", Value::Integer(1))]);
    let known = "app.bsky.feed.post";
    for (collection, record, flag, expected) in [
        (known, &post, None, Ok(Some("Valid"))),
        (known, &post, Some(true), Ok(Some("Valid"))),
        (known, &post, Some(false), Ok(None)),
        (known, &bad, None, Err("Invalid app.bsky.feed.post record")),
        (known, &bad, Some(true), Err("Invalid app.bsky.feed.post record")),
        (known, &bad, Some(false), Ok(None)),
        (NOTE, &bad, None, Ok(Some("Unknown"))),
        (NOTE, &bad, Some(true), Err("Unknown lexicon type")),
        (NOTE, &bad, Some(false), Ok(None)),
    ] {
        let write = Write::Create {
            collection: nsid(collection),
            rkey: None,
            record: record.clone(),
            replace_duplicates: true,
        };
        let request =
            WriteRequest { writes: vec![write], validation: Validation::from_flag(flag), swap_commit: None };
        match (bench.repos.apply_writes(&account.did, request).await, expected) {
            (Ok(applied), Ok(status)) => {
                let found = applied.results[0].validation_status.map(|status| format!("{status:?}"));
                assert_eq!(found.as_deref(), status, "{collection} {flag:?}");
            }
            (Err(WriteError::Invalid(problem)), Err(says)) => assert!(problem.contains(says), "{problem}"),
            (found, _) => panic!("{collection} {flag:?}: {found:?}"),
        }
    }
}

#[tokio::test]
async fn a_request_without_writes_makes_an_empty_commit_sy_14() {
    let (bench, account) = bench().await;
    let before = bench.head(&account).await;
    bench.apply(&account, vec![]).await.unwrap().commit.unwrap();
    let after = bench.head(&account).await;
    assert_eq!(after.data, before.data);
    assert!(after.rev > before.rev);
    assert_eq!(last_ops(&bench.events().await), []);
}

/// The key that was opened for a write may not be the account's any more when the write's turn comes.
#[tokio::test]
async fn a_write_is_signed_with_the_key_of_its_turn() {
    let (bench, account) = bench().await;
    let old = bench.key(&account).await;
    let new = bench.keys.generate().unwrap();
    let (did_key, sealed) = (new.public_key().did_key(), bench.keys.seal(&new).unwrap());
    // The old key stays open, as in a request that waits.
    let (id, replaced) = (account.id, did_key.clone());
    let replace = bench.store.write(move |tx| signing_key::replace(tx, id, &replaced, &sealed));
    replace.await.unwrap_or_else(|error: StoreError| panic!("{error}"));
    assert_eq!(bench.key(&account).await.public_key().did_key(), old.public_key().did_key());

    bench.write(&account, create(NOTE, "a", note("x"))).await;
    let events = bench.events().await;
    let Some(Frame::Commit(commit)) = events.last() else { panic!("{events:?}") };
    verify_commit_event(commit, Some(&new.public_key())).unwrap();
    assert_eq!(bench.key(&account).await.public_key().did_key(), did_key);
}
