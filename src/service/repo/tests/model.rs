//! Random requests against a sorted map.

use std::collections::BTreeMap;

use atproto::{
    data::{Cid, cbor, cid},
    event::Frame,
    mst::{Builder, PlacedNode},
    repo::verify_commit_event,
    syntax::{RepoPath, Tid},
};
use proptest::prelude::*;

use super::*;
use crate::{
    service::repo::records::{Order, Page, RowRecord},
    store::column::CidColumn,
};

/// `-` sorts before `/`: order by path is not order by collection.
const COLLECTIONS: [&str; 3] = ["com.foo.bar", "com.foo.barn", "com.foo-x.bar"];
const KEYS: usize = 40;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Create,
    Update,
    Put,
    Delete,
    DeleteIfThere,
}

#[derive(Clone, Debug)]
struct Step {
    kind: Kind,
    collection: &'static str,
    key: String,
    text: String,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let kind = prop_oneof![
        4 => Just(Kind::Create),
        1 => Just(Kind::Update),
        2 => Just(Kind::Put),
        1 => Just(Kind::Delete),
        2 => Just(Kind::DeleteIfThere),
    ];
    let collection = prop::sample::select(&COLLECTIONS[..]);
    // Few texts: the same record stands at several paths.
    let step = (kind, collection, 0..KEYS, 0..3_u8).prop_map(|(kind, collection, key, text)| Step {
        kind,
        collection,
        key: format!("key{key}"),
        text: text.to_string(),
    });
    prop::collection::vec(step, 0..8)
}

impl Step {
    fn path(&self) -> RepoPath {
        path(&format!("{}/{}", self.collection, self.key))
    }

    fn write(&self) -> Write {
        let record = note(&self.text);
        match self.kind {
            Kind::Create => create(self.collection, &self.key, record),
            Kind::Update => update(self.collection, &self.key, record),
            Kind::Put => put(self.collection, &self.key, record, Swap::Any),
            Kind::Delete => delete(self.collection, &self.key, true),
            Kind::DeleteIfThere => delete(self.collection, &self.key, false),
        }
    }

    /// What the step does to a map; false when it is an error.
    fn apply(&self, map: &mut Model) -> bool {
        let there = map.contains_key(&self.path());
        match self.kind {
            Kind::Create if there => return false,
            Kind::Update | Kind::Delete if !there => return false,
            Kind::Create | Kind::Update | Kind::Put => map.insert(self.path(), self.text.clone()),
            Kind::Delete | Kind::DeleteIfThere => map.remove(&self.path()),
        };
        true
    }
}

type Model = BTreeMap<RepoPath, String>;

/// The record as the write path stores it, with its `$type`.
fn stored(path: &RepoPath, text: &str) -> Vec<u8> {
    let record =
        object([("$type", Value::String(path.collection().into())), ("text", Value::String(text.into()))]);
    cbor::encode(&record)
}

/// The tree that the keys make.
fn rebuild(model: &Model) -> (Cid, Vec<PlacedNode>) {
    let mut nodes = Vec::new();
    let mut builder = Builder::new();
    for (path, text) in model {
        let cid = cid::for_cbor(&stored(path, text));
        builder.push(path.as_str().as_bytes(), cid, &mut |node| nodes.push(node)).unwrap();
    }
    let root = builder.finish(&mut |node| nodes.push(node));
    nodes.sort_by(|a, b| a.place.cmp(&b.place));
    (root, nodes)
}

async fn stored_nodes(bench: &Bench, repo_id: i64) -> Vec<PlacedNode> {
    let nodes = bench.store.read(move |db| {
        let mut statement =
            db.prepare("SELECT low, depth, cid, block FROM mst_node WHERE repo_id = ?1 ORDER BY low, depth")?;
        let rows = statement.query_map([repo_id], |row| {
            Ok(PlacedNode {
                place: atproto::mst::Place { low: row.get::<_, String>(0)?.into_bytes(), depth: row.get(1)? },
                cid: row.get::<_, CidColumn>(2)?.0,
                block: row.get(3)?,
            })
        })?;
        Ok::<_, StoreError>(rows.collect::<Result<Vec<_>, _>>()?)
    });
    nodes.await.unwrap()
}

async fn check_tables(bench: &Bench, account: &Account, model: &Model) {
    let head = bench.head(account).await;
    let (root, nodes) = rebuild(model);
    assert_eq!(head.data, root);
    assert_eq!(head.n_records, i64::try_from(model.len()).unwrap());
    assert_eq!(stored_nodes(bench, head.repo_id).await, nodes);
    let rows = bench.store.read(move |db| crate::store::record::scan(db, head.repo_id, "", 10_000));
    let rows = rows.await.unwrap_or_else(|error: StoreError| panic!("{error}"));
    let found: Vec<_> = rows.iter().map(|row| (row.path.clone(), row.body.clone())).collect();
    let expected: Vec<_> = model.iter().map(|(path, text)| (path.clone(), stored(path, text))).collect();
    assert_eq!(found, expected);
}

/// The getters say what the map says.
async fn check_reads(bench: &Bench, account: &Account, model: &Model) {
    let repo_id = bench.head(account).await.repo_id;
    let mut expected: Vec<String> = Vec::new();
    for path in model.keys() {
        if expected.last().map(String::as_str) != Some(path.collection()) {
            expected.push(path.collection().to_owned());
        }
    }
    assert_eq!(bench.repos.list_collections(repo_id).await.unwrap(), expected);
    for collection in COLLECTIONS {
        let mut ascending: Vec<&RepoPath> =
            model.keys().filter(|path| path.collection() == collection).collect();
        for order in [Order::Ascending, Order::Descending] {
            let (mut found, mut cursor) = (Vec::new(), None);
            loop {
                let page = Page { collection: nsid(collection), cursor, order, limit: 3 };
                let add = |paths: &mut Vec<RepoPath>, record: RowRecord<'_>| {
                    paths.push(RepoPath::parse(record.path).unwrap());
                    Ok(())
                };
                let page = bench.repos.list_records(repo_id, page, Vec::new(), add).await.unwrap();
                let Some(last) = page.last() else { break };
                cursor = Some(rkey(last.rkey()));
                found.extend(page);
            }
            assert_eq!(found.iter().collect::<Vec<_>>(), ascending);
            ascending.reverse();
        }
    }
}

/// Every commit inverts, follows the one before it, and later is greater (SY-4..SY-9, SY-20, RP-10).
async fn check_events(bench: &Bench, account: &Account) {
    let key = bench.key(account).await.public_key();
    let (mut last_seq, mut last): (i64, Option<(Tid, Cid)>) = (0, None);
    for frame in bench.events().await {
        let Frame::Commit(commit) = frame else { continue };
        verify_commit_event(&commit, Some(&key)).unwrap();
        assert!(commit.seq > last_seq);
        assert_eq!((commit.since, commit.prev_data), (last.map(|(rev, _)| rev), last.map(|(_, data)| data)));
        assert!(last.is_none_or(|(rev, _)| rev < commit.rev));
        let (_, blocks) = atproto::repo::car::decode(&commit.blocks).unwrap();
        let data = atproto::repo::Commit::decode(&blocks[&commit.commit]).unwrap().data;
        (last_seq, last) = (commit.seq, Some((commit.rev, data)));
    }
    let head = bench.head(account).await;
    assert_eq!(last, Some((head.rev, head.data)));
}

async fn run(requests: Vec<(Vec<Step>, i64)>) {
    let bench = Bench::new().await;
    let account = bench.account(DID, true).await;
    let mut model = Model::new();
    for (steps, clock_step) in requests {
        bench.move_clock(clock_step);
        let mut after = model.clone();
        let is_fine = steps.iter().all(|step| step.apply(&mut after));
        let before = bench.head(&account).await;
        match bench.apply(&account, steps.iter().map(Step::write).collect()).await {
            Ok(applied) => {
                assert!(is_fine, "{steps:?}");
                assert_eq!(applied.results.len(), steps.len());
                let expected =
                    applied.commit.map_or((before.commit, before.rev), |meta| (meta.cid, meta.rev));
                let head = bench.head(&account).await;
                assert_eq!((head.commit, head.rev), expected);
                model = after;
            }
            Err(WriteError::Invalid(_)) => {
                assert!(!is_fine, "{steps:?}");
                assert_eq!(bench.head(&account).await, before);
            }
            Err(error) => panic!("{error}"),
        }
        check_tables(&bench, &account, &model).await;
    }
    check_reads(&bench, &account, &model).await;
    check_events(&bench, &account).await;
    bench.store.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// RP-10, RP-17, MST-1, SY-9: whatever is written, tables, tree and events agree; also when the clock steps back.
    #[test]
    fn writes_leave_what_a_map_would_hold(
        requests in prop::collection::vec((steps(), -2_000_000_i64..2_000_000), 1..25)
    ) {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap()
            .block_on(run(requests));
    }
}
