//! Exports and proofs against the tree they come from.

use std::collections::{BTreeMap, BTreeSet};

use atproto::{
    data::{Cid, cid},
    mst::{Builder, NodeSource, Place, Tree, Walk},
    repo::{Commit, car},
    syntax::{RepoPath, Tid},
};
use futures::StreamExt;

use super::*;
use crate::{
    service::repo::export::{BLOCKS_MAX, ExportError},
    store::account::Account,
};

/// Roots and blocks of a CAR, in the order of the file.
type Car = (Vec<Cid>, Vec<(Cid, Vec<u8>)>);

fn read_car(bytes: &[u8]) -> Car {
    let mut decoder = car::Decoder::new(2_000_000);
    decoder.push(bytes);
    let (mut roots, mut blocks) = (Vec::new(), Vec::new());
    while let Some(item) = decoder.next_item().unwrap() {
        match item {
            car::Item::Header { roots: found } => roots = found,
            car::Item::Block { cid, data } => blocks.push((cid, data.to_vec())),
        }
    }
    decoder.finish().unwrap();
    (roots, blocks)
}

async fn export(bench: &Bench, account: &Account, since: Option<Tid>) -> Car {
    let mut stream = bench.repos.export(account.repo_id.unwrap(), since, None).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        bytes.extend(chunk.unwrap());
    }
    read_car(&bytes)
}

/// Records of many collections, among them neighbours that sort differently by path than by collection.
async fn fill(bench: &Bench, account: &Account, from: usize, to: usize) {
    let collections =
        ["com.foo", "com.foo-bar", "com.foo.baz", "org.example"].map(|name| format!("{name}.note"));
    let writes: Vec<Write> = (from..to)
        .map(|n| create(&collections[n % 4], &format!("k{:x}", n * 7919), note(&format!("note {n}"))))
        .collect();
    for some in writes.chunks(50) {
        bench.apply(account, some.to_vec()).await.unwrap();
    }
}

/// Records every node that is asked for, in order.
struct Recording<'a> {
    blocks: &'a BTreeMap<Cid, Vec<u8>>,
    order: Vec<Cid>,
}

impl NodeSource for Recording<'_> {
    type Error = std::convert::Infallible;

    fn node(&mut self, _place: &Place, cid: &Cid) -> Result<Option<Vec<u8>>, Self::Error> {
        self.order.push(*cid);
        Ok(self.blocks.get(cid).cloned())
    }
}

/// Blocks of the tree in pre-order, by walking it.
fn pre_order(root: Cid, blocks: &BTreeMap<Cid, Vec<u8>>) -> (Vec<Cid>, BTreeMap<Vec<u8>, Cid>) {
    let mut source = Recording { blocks, order: Vec::new() };
    let mut walk = Walk::new(root);
    let mut records = BTreeMap::new();
    while let Some((key, value)) = walk.next(&mut source).unwrap() {
        source.order.push(value);
        records.insert(key, value);
    }
    (source.order, records)
}

#[tokio::test]
async fn an_export_is_the_whole_repo_in_depth_first_order_car_3_car_6() {
    let bench = Bench::new().await;
    let account = bench.account(DID, true).await;
    for (from, to) in [(0, 0), (0, 1), (1, 300)] {
        fill(&bench, &account, from, to).await;
        let head = bench.head(&account).await;
        let (roots, blocks) = export(&bench, &account, None).await;

        assert_eq!(roots, [head.commit]);
        assert_eq!(blocks[0], (head.commit, head.commit_block.clone()));
        let by_cid: BTreeMap<Cid, Vec<u8>> = blocks.iter().cloned().collect();
        let (order, records) = pre_order(head.data, &by_cid);
        let sent: Vec<Cid> = blocks[1..].iter().map(|(cid, _)| *cid).collect();
        assert_eq!(sent, order);
        assert_eq!(records.len(), to);

        // The same records make the same tree, so nothing is missing and nothing is too much.
        let mut builder = Builder::new();
        for (key, value) in &records {
            builder.push(key, *value, &mut |_| {}).unwrap();
        }
        assert_eq!(builder.finish(&mut |_| {}), head.data);
        assert_eq!(Commit::decode(&head.commit_block).unwrap().data, head.data);
    }
}

#[tokio::test]
async fn a_diff_and_the_old_export_make_the_new_repo_car_12() {
    let bench = Bench::new().await;
    let account = bench.account(DID, true).await;
    fill(&bench, &account, 0, 200).await;
    let (_, old) = export(&bench, &account, None).await;
    let since = bench.head(&account).await.rev;
    fill(&bench, &account, 200, 210).await;
    bench.write(&account, delete("com.foo.note", "k0", true)).await;
    bench.write(&account, update("com.foo-bar.note", &format!("k{:x}", 7919), note("changed"))).await;

    let head = bench.head(&account).await;
    let (roots, diff) = export(&bench, &account, Some(since)).await;
    let (_, new) = export(&bench, &account, None).await;
    assert_eq!(roots, [head.commit]);
    assert_eq!(diff[0].0, head.commit);
    let old: BTreeSet<Cid> = old.into_iter().map(|(cid, _)| cid).collect();
    let diff: BTreeSet<Cid> = diff.into_iter().map(|(cid, _)| cid).collect();
    for (cid, _) in &new {
        assert!(old.contains(cid) || diff.contains(cid), "{cid} is missing");
    }
    assert!(diff.len() < new.len() / 2, "{} of {} blocks are no diff", diff.len(), new.len());
    assert!(diff.iter().all(|cid| new.iter().any(|(held, _)| held == cid)));
}

#[tokio::test]
async fn a_diff_since_the_head_or_the_future_is_the_commit_alone_sy_28() {
    let bench = Bench::new().await;
    let account = bench.account(DID, true).await;
    fill(&bench, &account, 0, 20).await;
    let head = bench.head(&account).await;
    for since in [head.rev, Tid::parse("7zzzzzzzzzzzz").unwrap()] {
        let (roots, blocks) = export(&bench, &account, Some(since)).await;
        assert_eq!(roots, [head.commit]);
        assert_eq!(blocks, [(head.commit, head.commit_block.clone())]);
    }
    let (_, all) = export(&bench, &account, Some(Tid::parse("2222222222222").unwrap())).await;
    assert_eq!(all.len(), export(&bench, &account, None).await.1.len());
}

#[tokio::test]
async fn a_reader_that_stops_gives_its_place_back() {
    let bench = Bench::new().await;
    let account = bench.account(DID, true).await;
    fill(&bench, &account, 0, 20).await;
    for _ in 0..3 * crate::service::repo::export::EXPORTS_MAX {
        drop(bench.repos.export(account.repo_id.unwrap(), None, None).await.unwrap());
    }
}

#[tokio::test]
async fn a_proof_shows_a_record_or_its_absence_mst_16() {
    let bench = Bench::new().await;
    let account = bench.account(DID, true).await;
    fill(&bench, &account, 0, 200).await;
    let head = bench.head(&account).await;
    for (path, expected) in [("com.foo.note/k0", true), ("com.foo.note/nothing", false), ("a.b.c/x", false)] {
        let path = RepoPath::parse(path).unwrap();
        let proof = bench.repos.prove_record(account.repo_id.unwrap(), path.clone()).await.unwrap();
        let (roots, blocks) = read_car(&proof);
        assert_eq!(roots, [head.commit]);
        assert_eq!(blocks[0].0, head.commit);
        assert!(blocks.len() < 20, "{} blocks are more than a path", blocks.len());

        let blocks: BTreeMap<Cid, Vec<u8>> = blocks.into_iter().collect();
        let commit = Commit::decode(&blocks[&roots[0]]).unwrap();
        let mut tree = Tree::open(commit.data, &blocks[&commit.data]).unwrap();
        let found = tree.get(path.as_str().as_bytes(), &mut &blocks).unwrap();
        assert_eq!(found.is_some(), expected, "{path}");
        if let Some(cid) = found {
            assert!(cid::matches(&cid, &blocks[&cid]));
        }
    }
}

#[tokio::test]
async fn blocks_are_given_by_cid_all_or_none() {
    let bench = Bench::new().await;
    let account = bench.account(DID, true).await;
    fill(&bench, &account, 0, 50).await;
    let repo_id = account.repo_id.unwrap();
    let (_, all) = export(&bench, &account, None).await;
    let wanted: Vec<Cid> = all.iter().rev().map(|(cid, _)| *cid).take(BLOCKS_MAX).collect();
    let mut stream = bench.repos.export_blocks(repo_id, wanted.clone(), None).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        bytes.extend(chunk.unwrap());
    }
    let (roots, blocks) = read_car(&bytes);
    assert_eq!(roots, []);
    assert_eq!(blocks.iter().map(|(cid, _)| *cid).collect::<Vec<_>>(), wanted);

    let missing = cid::for_cbor(b"nowhere");
    let refused = bench.repos.export_blocks(repo_id, vec![wanted[0], missing], None).await;
    assert!(matches!(refused, Err(ExportError::BlocksNotFound(cids)) if cids == [missing]));
}
