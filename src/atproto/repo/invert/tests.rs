//! SY-9 over random writes, from the blocks of the event alone, and what is refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    crypto::{Curve, SigningKey},
    data::cid,
    mst::{Builder, PlacedNode, tests::pool},
    repo::{Applied, RecordWrite, apply_writes},
    syntax::Datetime,
};

type Oracle = BTreeMap<RepoPath, Cid>;
type Blocks = BTreeMap<Cid, Vec<u8>>;

fn build(oracle: &Oracle) -> (Cid, Blocks) {
    let mut blocks = Blocks::new();
    let mut builder = Builder::new();
    let mut emit = |node: PlacedNode| drop(blocks.insert(node.cid, node.block));
    for (path, value) in oracle {
        builder.push(path.as_str().as_bytes(), *value, &mut emit).unwrap();
    }
    (builder.finish(&mut emit), blocks)
}

fn record(n: u8) -> Vec<u8> {
    vec![0x18, n]
}

fn record_cid(n: u8) -> Cid {
    cid::for_cbor(&record(n))
}

fn path(i: usize) -> RepoPath {
    RepoPath::parse(&pool()[i]).unwrap()
}

/// A repo with the records of `mask`, and what `steps` did to it: each toggles or updates a key.
fn scene(mask: u64, steps: &[(usize, u8)]) -> (Cid, Applied) {
    let chosen = (0..pool().len()).filter(|i| mask >> i & 1 == 1);
    let oracle: Oracle = chosen.map(|i| (path(i), record_cid(100 + i as u8))).collect();
    let mut now = oracle.clone();
    let mut writes = Vec::new();
    for (i, n) in steps {
        let (path, cid) = (path(*i), record_cid(*n));
        writes.push(match now.contains_key(&path) {
            false => RecordWrite::Create { path: path.clone(), cid },
            true if n % 4 == 0 => RecordWrite::Update { path: path.clone(), cid },
            true => RecordWrite::Delete { path: path.clone() },
        });
        match writes.last().unwrap() {
            RecordWrite::Delete { .. } => drop(now.remove(&path)),
            _ => drop(now.insert(path, cid)),
        }
    }
    let (root, blocks) = build(&oracle);
    let mut tree = Tree::open(root, &blocks[&root]).unwrap();
    let applied = apply_writes(&mut tree, &writes, &mut &blocks).unwrap();
    assert_eq!(applied.data, build(&now).0);
    (root, applied)
}

fn masks() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0u64),
        any::<u64>(),
        (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(a, b, c)| a & b & c),
    ]
}

fn steps(max: usize) -> impl Strategy<Value = Vec<(usize, u8)>> {
    prop::collection::vec((0..pool().len(), 0u8..100), 0..max)
}

/// Calls `visit` with every order of `ops` (Heap's algorithm).
fn permute(ops: &mut [RepoOp], n: usize, visit: &mut impl FnMut(&[RepoOp])) {
    if n <= 1 {
        return visit(ops);
    }
    for i in 0..n {
        permute(ops, n - 1, visit);
        ops.swap(if n.is_multiple_of(2) { i } else { 0 }, n - 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn ops_can_be_undone_in_every_order(mask in masks(), steps in steps(5)) {
        let (root, applied) = scene(mask, &steps);
        let mut ops = applied.ops.clone();
        let n = ops.len();
        permute(&mut ops, n, &mut |order| {
            assert_eq!(invert_ops(applied.data, order, &applied.proof).unwrap(), root);
        });
    }

    #[test]
    fn many_ops_can_be_undone_in_a_random_order(
        mask in masks(),
        (steps, seed) in (steps(36), any::<u64>()),
    ) {
        let (root, applied) = scene(mask, &steps);
        let mut ops = applied.ops;
        ops.sort_by_key(|op| cid::for_cbor(&[op.path.as_str().as_bytes(), &seed.to_be_bytes()].concat()));
        prop_assert_eq!(invert_ops(applied.data, &ops, &applied.proof).unwrap(), root);
    }
}

fn key() -> SigningKey {
    SigningKey::from_bytes(Curve::K256, &[7; 32]).unwrap()
}

/// The event of one create, one update and one delete.
fn event() -> event::Commit {
    let (root, applied) = scene(0x5555_5555, &[(0, 1), (1, 2), (2, 4)]);
    let did = Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap();
    let rev = Tid::from_parts(1_700_000_000_000_000, 0);
    let commit = Commit::sign(did.clone(), applied.data, rev, &key());
    let block = commit.encode();
    let commit = cid::for_cbor(&block);
    let mut blocks = applied.proof;
    blocks.insert(commit, block);
    blocks.extend([1, 2, 4].map(|n| (record_cid(n), record(n))));
    event::Commit {
        seq: 1,
        time: Datetime::from_micros(1_700_000_000_000_000),
        repo: did,
        commit,
        rev,
        since: None,
        prev_data: Some(root),
        blocks: car::encode(&[commit], blocks.iter().map(|(cid, block)| (cid, &**block))),
        ops: applied.ops,
    }
}

/// The error after `change`, which gets the event and its blocks.
fn refused(change: impl FnOnce(&mut event::Commit, &mut Blocks)) -> InvertError {
    let mut event = event();
    let (roots, mut blocks) = car::decode(&event.blocks).unwrap();
    let before = blocks.clone();
    change(&mut event, &mut blocks);
    if blocks != before {
        event.blocks = car::encode(&roots, blocks.iter().map(|(cid, block)| (cid, &**block)));
    }
    verify_commit_event(&event, Some(&key().public_key())).unwrap_err()
}

#[test]
fn a_good_event_passes() {
    let event = event();
    assert_eq!(event.ops.len(), 3);
    verify_commit_event(&event, Some(&key().public_key())).unwrap();
    verify_commit_event(&event, None).unwrap();
}

#[test]
fn fields_must_be_those_of_the_commit() {
    // SY-4.
    let other = Did::parse("did:web:example.com").unwrap();
    assert!(matches!(refused(|e, _| e.repo = other), InvertError::FieldMismatch("repo")));
    let later = Tid::from_parts(1_700_000_000_000_001, 0);
    assert!(matches!(refused(|e, _| e.rev = later), InvertError::FieldMismatch("rev")));
    let another = record_cid(9);
    assert!(matches!(refused(|e, _| e.commit = another), InvertError::FieldMismatch("commit")));
}

#[test]
fn the_signature_must_be_by_the_key() {
    let other = SigningKey::from_bytes(Curve::K256, &[8; 32]).unwrap().public_key();
    let refused = verify_commit_event(&event(), Some(&other));
    assert!(matches!(refused, Err(InvertError::Signature(crypto::Error::Mismatch))));
}

#[test]
fn blocks_must_suffice() {
    // SY-8: without any one of them something is missing.
    let (_, blocks) = car::decode(&event().blocks).unwrap();
    let mut needed = 0;
    for cid in blocks.keys() {
        let error = match std::panic::catch_unwind(|| refused(|_, blocks| drop(blocks.remove(cid)))) {
            Ok(error) => error,
            // A covering proof is a little more than what this order of undoing needs.
            Err(_) => continue,
        };
        needed += 1;
        let missing = match error {
            InvertError::MissingBlock(cid) | InvertError::Tree(mst::Error::MissingNode(cid)) => cid,
            error => panic!("{error}"),
        };
        assert_eq!(missing, *cid);
    }
    assert!(needed >= 5);
}

#[test]
fn ops_must_be_what_happened() {
    // SY-6, SY-7, SY-9.
    let problem = |change: &dyn Fn(&mut Vec<RepoOp>)| match refused(|e, _| change(&mut e.ops)) {
        InvertError::Op { problem, .. } => problem,
        InvertError::Inversion { .. } => "inversion",
        error => panic!("{error}"),
    };
    let actions: Vec<_> = event().ops.iter().map(|op| op.action).collect();
    let at = |action| actions.iter().position(|a| *a == action).unwrap();
    let (create, update) = (at(Action::Create), at(Action::Update));
    let delete = at(Action::Delete);
    assert_eq!(problem(&|ops| ops.push(ops[0].clone())), "the path has more than one op");
    assert_eq!(problem(&|ops| ops[delete].cid = Some(record_cid(1))), "a delete has a CID");
    assert_eq!(problem(&|ops| ops[create].cid = None), "it has no CID");
    assert_eq!(problem(&|ops| ops[create].prev = Some(record_cid(1))), "a create has a prev");
    assert_eq!(problem(&|ops| ops[update].prev = None), "it has no prev");
    assert_eq!(problem(&|ops| ops[create].cid = ops[update].cid), "the tree has another CID there");
    assert_eq!(problem(&|ops| ops[delete].path = ops[create].path.clone()), "the path has more than one op");
    assert_eq!(problem(&|ops| ops[update].prev = Some(record_cid(50))), "inversion");
    assert_eq!(problem(&|ops| drop(ops.remove(create))), "inversion");
    assert_eq!(problem(&|ops| ops[create].action = Action::Update), "it has no prev");
    let to_delete = |ops: &mut Vec<RepoOp>| {
        let there = ops[create].clone();
        ops[delete] = RepoOp { action: Action::Delete, cid: None, prev: there.cid, ..there };
        ops.remove(create);
    };
    assert_eq!(problem(&to_delete), "the tree still has a record there");
    let to_create = |ops: &mut Vec<RepoOp>| {
        ops[delete] =
            RepoOp { action: Action::Create, prev: None, cid: ops[create].cid, ..ops[delete].clone() };
    };
    assert_eq!(problem(&to_create), "the tree has nothing there");
}

#[test]
fn limits_are_kept() {
    // SY-10.
    let too_large = refused(|e, _| e.blocks = vec![0; COMMIT_BLOCKS_BYTES_MAX + 1]);
    assert!(matches!(too_large, InvertError::BlocksTooLarge { .. }));
    let too_many = refused(|e, _| e.ops = vec![e.ops[0].clone(); COMMIT_OPS_MAX + 1]);
    assert!(matches!(too_many, InvertError::TooManyOps(201)));
}

#[test]
fn a_sync_event_is_checked_against_its_commit() {
    // SY-15.
    let event = event();
    let (roots, blocks) = car::decode(&event.blocks).unwrap();
    let mut sync = event::Sync {
        seq: 2,
        time: event.time,
        did: event.repo,
        rev: event.rev,
        blocks: car::encode(&roots, [(&roots[0], &*blocks[&roots[0]])]),
    };
    verify_sync_event(&sync, Some(&key().public_key())).unwrap();
    sync.blocks.resize(SYNC_BLOCKS_BYTES_MAX + 1, 0);
    let refused = verify_sync_event(&sync, None);
    assert!(matches!(refused, Err(InvertError::BlocksTooLarge { .. })));
}
