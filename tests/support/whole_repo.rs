//! What a repository has to be, given its records: the tree that its keys make, a commit over it, and nothing else.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use atproto::{
    crypto::{PublicKey, SigningKey},
    data::{Cid, cbor, cid, json},
    mst::{Builder, PlacedNode, Walk},
    repo::{Commit, car},
    syntax::{Did, Tid},
};
use serde_json::Value as Json;

/// Records in canonical CBOR by their path, in the order of the tree.
pub type Records = BTreeMap<String, Vec<u8>>;

/// The block of a record.
pub fn encode(record: &Json) -> Vec<u8> {
    cbor::encode(&json::from_json(record).unwrap())
}

/// Root and nodes of the tree over `records`.
pub fn tree(records: &Records) -> (Cid, Vec<PlacedNode>) {
    let (mut nodes, mut builder) = (Vec::new(), Builder::new());
    for (path, block) in records {
        builder.push(path.as_bytes(), cid::for_cbor(block), &mut |node| nodes.push(node)).unwrap();
    }
    let root = builder.finish(&mut |node| nodes.push(node));
    (root, nodes)
}

/// A repository of `records` as another server would have signed it.
pub fn car_of(did: &str, rev: Tid, records: &Records, key: &SigningKey) -> Vec<u8> {
    let (data, nodes) = tree(records);
    let commit = Commit::sign(Did::parse(did).unwrap(), data, rev, key).encode();
    let commit_cid = cid::for_cbor(&commit);
    let mut blocks: BTreeMap<Cid, Vec<u8>> =
        records.values().map(|block| (cid::for_cbor(block), block.clone())).collect();
    blocks.extend(nodes.into_iter().map(|node| (node.cid, node.block)));
    let blocks = blocks.iter().map(|(cid, block)| (cid, &block[..]));
    car::encode(&[commit_cid], std::iter::once((&commit_cid, &commit[..])).chain(blocks))
}

/// The head of a repository that has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckedHead {
    pub commit: Cid,
    pub rev: Tid,
    pub data: Cid,
}

/// Checks a whole repository: the commit is of `did` and signed by `key`, the tree is the one that its keys make, every
/// record is there, and nothing else is.
pub fn open_whole(bytes: &[u8], did: &str, key: &PublicKey) -> (CheckedHead, Records) {
    let (roots, blocks) = car::decode(bytes).unwrap();
    let [root] = roots[..] else { panic!("{did}: roots {roots:?}") };
    let commit = Commit::decode(&blocks[&root]).unwrap();
    assert_eq!(commit.did.as_str(), did);
    commit.verify(key).unwrap_or_else(|error| panic!("{did}: {error}"));
    let mut records = Records::new();
    let (mut source, mut walk) = (&blocks, Walk::new(commit.data));
    while let Some((key, cid)) = walk.next(&mut source).unwrap_or_else(|error| panic!("{did}: {error}")) {
        let block = blocks.get(&cid).unwrap_or_else(|| panic!("{did}: record {cid} is missing")).clone();
        records.insert(String::from_utf8(key).unwrap(), block);
    }
    let (data, placed) = tree(&records);
    assert_eq!(data, commit.data, "{did}: the tree of the head is not the one that its keys make");
    let mut expected: BTreeSet<Cid> = placed.into_iter().map(|node| node.cid).collect();
    expected.extend(records.values().map(|block| cid::for_cbor(block)));
    expected.insert(root);
    assert_eq!(blocks.keys().copied().collect::<BTreeSet<_>>(), expected, "{did}: blocks of the repository");
    (CheckedHead { commit: root, rev: commit.rev, data }, records)
}
