//! Whole repositories from CARs: good ones, damaged ones, and what either leaves behind.

use std::{collections::BTreeMap, io::Cursor, path::PathBuf};

use atproto::{
    crypto::{Curve, SigningKey},
    data::{BlobRef, Cid, cbor, cid},
    event::Frame,
    mst::Builder,
    repo::{Commit, car, verify_commit_event, verify_sync_event},
};

use super::*;
use crate::{
    service::repo::import::{ImportError, ImportOptions, Imported},
    store::{blob, mst_node, record, repo_block},
};

fn options() -> ImportOptions {
    ImportOptions { bytes_max: 10_000_000, known_key: None, progress: Box::new(|_| ()) }
}

async fn import(bench: &Bench, account: &Account, car: Vec<u8>) -> Result<Imported, ImportError> {
    bench.repos.import(account, Cursor::new(car), options()).await
}

/// A repository made by another server.
struct Foreign {
    root: Cid,
    blocks: BTreeMap<Cid, Vec<u8>>,
}

impl Foreign {
    fn new(records: &[(&str, Value)], rev: Tid) -> Foreign {
        let mut records: Vec<_> =
            records.iter().map(|(path, value)| (path.as_bytes(), cbor::encode(value))).collect();
        records.sort();
        let mut blocks = BTreeMap::new();
        let mut builder = Builder::new();
        let mut nodes = Vec::new();
        for (key, block) in records {
            let cid = cid::for_cbor(&block);
            builder.push(key, cid, &mut |node| nodes.push(node)).unwrap();
            blocks.insert(cid, block);
        }
        let data = builder.finish(&mut |node| nodes.push(node));
        blocks.extend(nodes.into_iter().map(|node| (node.cid, node.block)));
        Foreign { root: data, blocks }.signed(DID, rev)
    }

    /// The same tree under another commit.
    fn signed(mut self, did: &str, rev: Tid) -> Foreign {
        let key = SigningKey::from_bytes(Curve::P256, &[3; 32]).unwrap();
        let block = Commit::sign(Did::parse(did).unwrap(), self.root, rev, &key).encode();
        self.root = cid::for_cbor(&block);
        self.blocks.insert(self.root, block);
        self
    }

    fn car(&self) -> Vec<u8> {
        car::encode(&[self.root], self.blocks.iter().map(|(cid, block)| (cid, &block[..])))
    }
}

fn a_rev() -> Tid {
    Tid::from_parts(1_600_000_000_000_000, 3)
}

fn some_records() -> Vec<(&'static str, Value)> {
    vec![
        ("com.example.note/a", note("one")),
        ("com.example.note/b", note("two")),
        ("com.example.note/c", note("one")),
        ("com.example-x.note/a", note("three")),
    ]
}

async fn value(bench: &Bench, account: &Account, at: &str) -> Option<Value> {
    let (repo_id, path) = (bench.head(account).await.repo_id, path(at));
    let found = bench.store.read(move |db| record::get(db, repo_id, &path)).await.unwrap();
    found.map(|record| cbor::decode(&record.body).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_import_replaces_the_repo_and_announces_it_mg_4_mg_10_sy_15() {
    let bench = Bench::new().await;
    let account = bench.account(DID, true).await;
    bench.write(&account, create("com.example.note", "old", note("old"))).await;
    let before = bench.head(&account).await;

    let imported = import(&bench, &account, Foreign::new(&some_records(), a_rev()).car()).await.unwrap();
    let head = bench.head(&account).await;
    assert_eq!(imported.n_records, 4);
    assert_eq!((head.commit, head.rev, head.data), (imported.commit.cid, imported.commit.rev, imported.data));
    assert!(head.rev > before.rev);
    assert_eq!(value(&bench, &account, "com.example.note/old").await, None);
    assert_eq!(value(&bench, &account, "com.example.note/c").await, Some(note("one")));
    let key = bench.key(&account).await.public_key();
    let events = bench.events().await;
    let Some(Frame::Sync(sync)) = events.last() else { panic!("{events:?}") };
    verify_sync_event(sync, Some(&key)).unwrap();

    // The next write stands on the imported tree.
    bench.write(&account, create("com.example.note", "d", note("four"))).await;
    let events = bench.events().await;
    let Some(Frame::Commit(commit)) = events.last() else { panic!("{events:?}") };
    verify_commit_event(commit, Some(&key)).unwrap();
    assert_eq!((commit.since, commit.prev_data), (Some(head.rev), Some(head.data)));

    // Nothing of the old generation stays.
    bench.repos.sweep_generations().await.unwrap();
    assert_eq!((bench.count("repo").await, bench.count("record").await), (1, 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_import_may_be_repeated_and_may_leave_out_what_is_here_mg_4() {
    let bench = Bench::new().await;
    let account = bench.account(DID, false).await;
    let first = Foreign::new(&some_records(), a_rev());
    let one = import(&bench, &account, first.car()).await.unwrap();
    let two = import(&bench, &account, first.car()).await.unwrap();
    assert_eq!(one.data, two.data);
    assert!(one.commit.rev < two.commit.rev);

    let mut records = some_records();
    records.push(("com.example.note/d", note("four")));
    let mut next = Foreign::new(&records, a_rev());
    next.blocks.retain(|cid, _| !first.blocks.contains_key(cid));
    let three = import(&bench, &account, next.car()).await.unwrap();
    assert_eq!(three.n_records, 5);
    assert_eq!(bench.events().await, [], "a deactivated account is not announced (SY-19)");

    // CAR-10: another account's blocks do not count.
    let other = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";
    let stranger = bench.account(other, false).await;
    let borrowed = Foreign { root: three.data, blocks: BTreeMap::new() }.signed(other, a_rev());
    let error = import(&bench, &stranger, borrowed.car()).await.unwrap_err();
    assert!(matches!(error, ImportError::Missing { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_rev_ahead_of_the_clock_is_passed_mg_10() {
    let bench = Bench::new().await;
    let account = bench.account(DID, true).await;
    let ahead = Tid::from_parts(1_900_000_000_000_000, 3);
    let imported = import(&bench, &account, Foreign::new(&some_records(), ahead).car()).await.unwrap();
    assert!(imported.commit.rev > ahead);
    assert!(
        bench.write(&account, create("com.example.note", "x", note("x"))).await.rev > imported.commit.rev
    );
    let last = Tid::from_i64(i64::MAX).unwrap();
    let error = import(&bench, &account, Foreign::new(&some_records(), last).car()).await.unwrap_err();
    assert!(matches!(error, ImportError::LastRev(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn blobs_wait_for_an_imported_record_or_are_settled_by_it_mg_5() {
    let bench = Bench::new().await;
    let account = bench.account(DID, true).await;
    let id = account.id;
    let blob_of = |bytes: &[u8]| BlobRef {
        cid: cid::for_raw(bytes),
        mime_type: "image/png".into(),
        size: bytes.len() as u64,
    };
    let (held, missing) = (blob_of(b"held"), blob_of(b"missing"));
    let cid = held.cid;
    bench.store.write(move |tx| blob::put(tx, id, &cid, "image/png", 4, tx.now())).await.unwrap();
    let records = [
        ("a.b.c/1", object([("one", held.to_value()), ("two", missing.to_value())])),
        ("a.b.c/2", note("x")),
    ];
    import(&bench, &account, Foreign::new(&records, a_rev()).car()).await.unwrap();
    let repo_id = bench.head(&account).await.repo_id;
    let (kept, waiting) = bench
        .store
        .read(move |db| {
            Ok::<_, StoreError>((blob::get(db, id, &cid)?, blob::list_missing(db, id, repo_id, None, 10)?))
        })
        .await
        .unwrap();
    assert!(!kept.unwrap().temporary);
    assert_eq!(waiting, [(missing.cid, "a.b.c/1".to_owned())]);
}

/// CAR-8, CAR-9, RP-7, CAR-2: the refusal says why, and the repo is as it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_is_not_a_whole_good_repo_is_refused_and_leaves_nothing() {
    let bench = Bench::new().await;
    let account = bench.account(DID, true).await;
    bench.write(&account, create("com.example.note", "old", note("old"))).await;
    let before = bench.head(&account).await;
    let good = || Foreign::new(&some_records(), a_rev());
    let without = |wanted: &dyn Fn(&Cid, &[u8]) -> bool| {
        let mut repo = good();
        repo.blocks.retain(|cid, block| !wanted(cid, block));
        repo.car()
    };
    let record = cid::for_cbor(&cbor::encode(&note("two")));
    let data = Commit::decode(&good().blocks[&good().root]).unwrap().data;
    let mut flipped = good().car();
    *flipped.last_mut().unwrap() ^= 1;
    let truncated = good().car()[..good().car().len() - 1].to_vec();
    let two_roots = {
        let repo = good();
        car::encode(&[repo.root, data], repo.blocks.iter().map(|(cid, block)| (cid, &block[..])))
    };
    let not_a_map = Foreign::new(&[("a.b.c/1", Value::Integer(1))], a_rev()).car();
    let bad_path = Foreign::new(&[("nopath", note("x"))], a_rev()).car();
    let other_did = {
        let repo = Foreign { root: data, ..good() };
        repo.signed("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", a_rev()).car()
    };
    for (car, says) in [
        (Vec::new(), "CAR"),
        (truncated, "middle of a section"),
        (flipped, "does not match its hash"),
        (two_roots, "expected one root"),
        (without(&|cid, _| *cid == good().root), "commit"),
        (without(&|cid, _| *cid == data), "tree node"),
        (without(&|cid, _| *cid == record), "record"),
        (other_did, "is of did:plc:aaaa"),
        (not_a_map, "Could not parse record at 'a.b.c/1'"),
        (bad_path, "nopath"),
    ] {
        let error = import(&bench, &account, car).await.unwrap_err();
        assert!(error.to_string().contains(says), "{says}: {error}");
        assert_eq!(bench.head(&account).await, before);
        assert_eq!((bench.count("repo").await, bench.count("record").await), (1, 1), "{says}");
    }
    let tight = ImportOptions { bytes_max: 100, ..options() };
    let error = bench.repos.import(&account, Cursor::new(good().car()), tight).await.unwrap_err();
    assert!(matches!(error, ImportError::TooLarge(100)), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_tree_in_another_form_is_refused_mst_10() {
    let bench = Bench::new().await;
    let account = bench.account(DID, true).await;
    // An entry-less node on top of the tree: reachable, complete, but not what the keys make (MST-5).
    let mut repo = Foreign::new(&some_records(), a_rev());
    let data = Commit::decode(&repo.blocks[&repo.root]).unwrap().data;
    let top = cbor::encode(&object([("e", Value::Array(vec![])), ("l", Value::Link(data))]));
    repo.root = cid::for_cbor(&top);
    repo.blocks.insert(repo.root, top);
    let error = import(&bench, &account, repo.signed(DID, a_rev()).car()).await.unwrap_err();
    assert!(matches!(error, ImportError::NotCanonical { .. } | ImportError::Tree(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_account_imports_once_at_a_time_and_a_write_meanwhile_wins() {
    let bench = Bench::new().await;
    let account = bench.account(DID, true).await;
    let (feed, source) = std::sync::mpsc::channel::<Vec<u8>>();
    let (started, has_started) = tokio::sync::oneshot::channel();
    let running = {
        let (repos, account) = (bench.repos.clone(), account.clone());
        let source = Feed { source, started: Some(started) };
        tokio::spawn(async move { repos.import(&account, source, options()).await })
    };
    has_started.await.unwrap();
    let error = import(&bench, &account, Vec::new()).await.unwrap_err();
    assert!(matches!(error, ImportError::Busy(why) if why.contains("this account")), "{error}");

    bench.write(&account, create("com.example.note", "x", note("x"))).await;
    let before = bench.head(&account).await;
    feed.send(Foreign::new(&some_records(), a_rev()).car()).unwrap();
    drop(feed);
    let error = running.await.unwrap().unwrap_err();
    assert!(matches!(error, ImportError::Moved), "{error}");
    assert_eq!(bench.head(&account).await, before);
    assert_eq!((bench.count("repo").await, bench.count("record").await), (1, 1));
}

/// Says when it is first read, then gives what is sent, one piece per read.
struct Feed {
    source: std::sync::mpsc::Receiver<Vec<u8>>,
    started: Option<tokio::sync::oneshot::Sender<()>>,
}

impl std::io::Read for Feed {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if let Some(started) = self.started.take() {
            started.send(()).unwrap();
        }
        let Ok(piece) = self.source.recv() else { return Ok(0) };
        buffer[..piece.len()].copy_from_slice(&piece);
        Ok(piece.len())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_an_import_brought_is_found_by_cid_and_by_link_and_leaves_with_it() {
    let like = |rkey: &str, of: &str| {
        let uri = format!("at://{DID}/app.bsky.feed.post/{of}");
        let subject = object([("uri", Value::String(uri)), ("cid", Value::String("unchecked".into()))]);
        (format!("app.bsky.feed.like/{rkey}"), object([("subject", subject)]))
    };
    let likes: Vec<_> = (0..50).map(|n| like(&format!("a{n:02}"), &format!("p{n}"))).collect();
    let likes: Vec<_> = likes.iter().map(|(path, value)| (path.as_str(), value.clone())).collect();
    let foreign = Foreign::new(&likes, a_rev());
    let bench = Bench::new().await;
    let account = bench.account(DID, true).await;
    import(&bench, &account, foreign.car()).await.unwrap();
    let head = bench.head(&account).await;
    for (cid, block) in foreign.blocks.iter().filter(|(cid, _)| **cid != foreign.root) {
        let (head, cid) = (head.clone(), *cid);
        let found = bench.store.read::<_, StoreError, _>(move |db| {
            let location = repo_block::locate(db, &head, &[cid])?[&cid];
            repo_block::get(db, &head, location)
        });
        assert_eq!(found.await.unwrap().as_ref(), Some(block));
    }
    // A second like of the same post takes the place of the one that was imported.
    let (_, again) = like("b", "p7");
    bench.write(&account, create("app.bsky.feed.like", "b", again)).await;
    assert_eq!(value(&bench, &account, "app.bsky.feed.like/a07").await, None);
    assert_eq!((bench.count("record").await, bench.count("backlink").await), (50, 50));

    import(&bench, &account, Foreign::new(&[], a_rev()).car()).await.unwrap();
    bench.repos.sweep_generations().await.unwrap();
    let left = ["record", "backlink", "mst_node"].map(|table| bench.count(table));
    assert_eq!(futures::future::join_all(left).await, [0, 0, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_a_crash_leaves_of_an_import_goes_at_the_next_start() {
    let bench = Bench::new().await;
    let account = bench.account(DID, true).await;
    let id = account.id;
    let node = {
        let mut nodes = Vec::new();
        Builder::new().finish(&mut |node| nodes.push(node));
        nodes.remove(0)
    };
    bench
        .store
        .write(move |tx| {
            let orphan = repo::insert(tx, id, tx.now())?;
            mst_node::put(tx, orphan, a_rev(), &node)
        })
        .await
        .unwrap();
    assert_eq!(bench.repos.sweep_generations().await.unwrap(), 1);
    assert_eq!((bench.count("repo").await, bench.count("mst_node").await), (1, 1));
    assert_eq!(bench.repos.sweep_generations().await.unwrap(), 0);
}

/// The CARs of the vectors: version 3 goes in with its keys and root, anything else is refused and leaves nothing.
/// The folder is named by `ROOKERY_VECTORS`; without it this test says that it is skipped.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn real_repositories_go_in_as_they_are() {
    let root =
        std::env::var_os("ROOKERY_VECTORS").map_or("../shared/testdata".into(), PathBuf::from).join("car");
    let Ok(files) = std::fs::read_dir(&root) else {
        eprintln!("skipped: no folder {}", root.display());
        return;
    };
    let mut cars: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    cars.retain(|path| path.extension().is_some_and(|extension| extension == "car"));
    for path in cars {
        let expected = std::fs::read(path.with_extension("car.expected.json")).unwrap();
        let expected: serde_json::Value = serde_json::from_slice(&expected).unwrap();
        let commit = &expected["commit"];
        let bench = Bench::new().await;
        let account = bench.account(commit["did"].as_str().unwrap(), false).await;
        let outcome = import(&bench, &account, std::fs::read(&path).unwrap()).await;
        eprintln!("{}: {:?}", path.display(), outcome.as_ref().map(|done| done.n_records));
        let is_whole = commit["version"] == 3
            && expected["mst"]["missing_nodes"] == 0
            && expected["mst"]["records_present"] == expected["mst"]["keys"];
        match outcome {
            Ok(imported) => {
                assert!(is_whole, "{}", path.display());
                assert_eq!(Some(imported.data.to_string().as_str()), commit["data"].as_str());
                assert_eq!(Some(imported.n_records), expected["mst"]["keys"].as_i64());
                assert!(imported.commit.rev.to_string().as_str() > commit["rev"].as_str().unwrap());
            }
            Err(error) => {
                assert!(!is_whole, "{}: {error}", path.display());
                assert_eq!((bench.count("repo").await, bench.count("record").await), (0, 0));
            }
        }
    }
}
