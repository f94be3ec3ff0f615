//! The tree against an oracle: a sorted map, and the trees that [`Builder`] makes of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::OnceLock,
};

use proptest::prelude::*;

use super::*;
use crate::data::{Cid, cid};

/// MST-12.
const EMPTY_ROOT: &str = "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm";

const POOL_DEPTHS: u32 = 6;
const POOL_KEYS_PER_DEPTH: usize = 6;
const POOL_KEYS: usize = POOL_DEPTHS as usize * POOL_KEYS_PER_DEPTH;

/// Keys with as many deep ones as shallow ones, so that nearly every change splits or merges
/// nodes over several levels. In key order.
pub(crate) fn pool() -> &'static [String] {
    static POOL: OnceLock<Vec<String>> = OnceLock::new();
    POOL.get_or_init(|| {
        let mut wanted = [POOL_KEYS_PER_DEPTH; POOL_DEPTHS as usize];
        let mut keys = Vec::new();
        // Spread over the key space: the digits are reversed, so depths mix.
        for i in 0u32.. {
            let digits: String = format!("{i:06}").chars().rev().collect();
            let key = format!("com.example.note/{digits}");
            if let Some(left) = wanted.get_mut(key_depth(key.as_bytes()) as usize)
                && *left > 0
            {
                *left -= 1;
                keys.push(key);
            }
            if keys.len() == POOL_KEYS {
                break;
            }
        }
        keys.sort();
        keys
    })
}

pub(crate) fn value(n: u8) -> Cid {
    cid::for_cbor(&[n])
}

type Oracle = BTreeMap<Vec<u8>, Cid>;
/// A store that keys nodes by place.
type Stored = BTreeMap<Place, (Cid, Vec<u8>)>;

fn build(oracle: &Oracle) -> (Cid, Stored) {
    let mut stored = Stored::new();
    let mut builder = Builder::new();
    let mut emit = |node: PlacedNode| {
        let before = stored.insert(node.place, (node.cid, node.block));
        assert!(before.is_none(), "a place holds one node");
    };
    for (key, value) in oracle {
        builder.push(key, *value, &mut emit).unwrap();
    }
    (builder.finish(&mut emit), stored)
}

/// Finds nodes by place and insists that the CID asked for stands there.
struct ByPlace<'s>(&'s Stored);

impl NodeSource for ByPlace<'_> {
    type Error = Infallible;

    fn node(&mut self, place: &Place, cid: &Cid) -> Result<Option<Vec<u8>>, Infallible> {
        let (at_place, block) = self.0.get(place).unwrap_or_else(|| panic!("no node at {place:?}"));
        assert_eq!(at_place, cid, "at {place:?}");
        Ok(Some(block.clone()))
    }
}

fn open(root: Cid, stored: &Stored) -> Tree {
    let (_, block) = stored.values().find(|(cid, _)| *cid == root).unwrap();
    Tree::open(root, block).unwrap()
}

fn by_cid(stored: &Stored) -> BTreeMap<Cid, Vec<u8>> {
    stored.values().cloned().collect()
}

/// Does to the key what can be done: toggles it, or gives it another value.
fn change<S: NodeSource<Error = Infallible>>(
    tree: &mut Tree,
    oracle: &mut Oracle,
    (key, action): (usize, u8),
    source: &mut S,
) -> Result<(), Error> {
    let key = pool()[key].as_bytes();
    match oracle.get(key) {
        None => {
            tree.insert(key, value(action), source)?;
            oracle.insert(key.to_vec(), value(action));
        }
        Some(before) if action == 0 => {
            assert_eq!(tree.update(key, value(99), source)?, *before);
            oracle.insert(key.to_vec(), value(99));
        }
        Some(before) => {
            assert_eq!(tree.remove(key, source)?, *before);
            oracle.remove(key);
        }
    }
    Ok(())
}

fn oracle_of(mask: u64) -> Oracle {
    let chosen = pool().iter().enumerate().filter(|(i, _)| mask >> i & 1 == 1);
    chosen.map(|(i, key)| (key.clone().into_bytes(), value(i as u8))).collect()
}

/// Many keys, few, or none.
fn oracles() -> impl Strategy<Value = Oracle> {
    prop_oneof![
        Just(0u64),
        any::<u64>(),
        (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(a, b, c)| a & b & c),
    ]
    .prop_map(oracle_of)
}

fn batches() -> impl Strategy<Value = Vec<(usize, u8)>> {
    prop::collection::vec((0..POOL_KEYS, 0u8..4), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// MST-1, MST-5, MST-14, and that a store by place can follow the changes.
    #[test]
    fn changes_turn_the_stored_tree_into_the_tree_built_anew(
        mut oracle in oracles(),
        batch in batches(),
    ) {
        let (root, before) = build(&oracle);
        let mut tree = open(root, &before);
        for step in batch {
            change(&mut tree, &mut oracle, step, &mut ByPlace(&before)).unwrap();
        }
        let changes = tree.changes();
        let (root, after) = build(&oracle);
        prop_assert_eq!(tree.root(), root);

        let mut stored = before.clone();
        for place in &changes.vacated {
            prop_assert!(stored.remove(place).is_some(), "was not held: {:?}", place);
        }
        for PlacedNode { place, cid, block } in &changes.written {
            let replaced = stored.insert(place.clone(), (*cid, block.clone()));
            prop_assert_ne!(replaced.map(|(cid, _)| cid), Some(*cid), "not changed: {:?}", place);
        }
        prop_assert_eq!(&stored, &after);

        let cids = |stored: &Stored| stored.values().map(|(cid, _)| *cid).collect::<BTreeSet<_>>();
        let new: BTreeSet<_> = cids(&after).difference(&cids(&before)).copied().collect();
        prop_assert_eq!(changes.new_cids, new);
    }

    /// One tree used for several commits is as good as one opened for each.
    #[test]
    fn a_settled_tree_goes_on_as_if_it_had_been_opened_anew(
        mut oracle in oracles(),
        batches in prop::collection::vec((batches(), 0..POOL_KEYS), 1..5),
    ) {
        let (root, mut stored) = build(&oracle);
        let mut tree = open(root, &stored);
        for (batch, key) in batches {
            for step in batch {
                change(&mut tree, &mut oracle, step, &mut ByPlace(&stored)).unwrap();
            }
            let changes = tree.changes();
            for place in &changes.vacated {
                prop_assert!(stored.remove(place).is_some(), "was not held: {:?}", place);
            }
            for PlacedNode { place, cid, block } in changes.written {
                stored.insert(place, (cid, block));
            }
            let (root, anew) = build(&oracle);
            prop_assert_eq!(tree.root(), root);
            prop_assert_eq!(&stored, &anew);

            let key = pool()[key].as_bytes();
            tree.settle(key);
            prop_assert!(tree.loaded_places().count() <= 1 + DEPTH_MAX as usize);
            for place in tree.loaded_places() {
                prop_assert!(stored.contains_key(place), "not stored: {:?}", place);
            }
            let changes = tree.changes();
            prop_assert!(changes.written.is_empty() && changes.vacated.is_empty());
            prop_assert_eq!(tree.get(key, &mut ByPlace(&stored)).unwrap(), oracle.get(key).copied());
        }
    }

    /// The same from a tree that was never stored.
    #[test]
    fn a_tree_made_in_memory_reports_all_of_itself(batch in batches()) {
        let mut oracle = Oracle::new();
        let mut tree = Tree::empty();
        for step in batch {
            change(&mut tree, &mut oracle, step, &mut NoNodes).unwrap();
        }
        let (root, stored) = build(&oracle);
        let changes = tree.changes();
        prop_assert_eq!(tree.root(), root);
        prop_assert!(changes.vacated.is_empty());
        let written: Stored =
            changes.written.into_iter().map(|node| (node.place, (node.cid, node.block))).collect();
        prop_assert_eq!(written, stored);
    }

    /// MST-13.
    #[test]
    fn undoing_each_change_restores_the_root(oracle in oracles(), key in 0..POOL_KEYS) {
        let (root, stored) = build(&oracle);
        let mut tree = open(root, &stored);
        let source = &mut ByPlace(&stored);
        let key = pool()[key].as_bytes();
        match oracle.get(key) {
            Some(value) => {
                tree.remove(key, source).unwrap();
                prop_assert_ne!(tree.root(), root);
                tree.insert(key, *value, source).unwrap();
            }
            None => {
                tree.insert(key, value(77), source).unwrap();
                prop_assert_ne!(tree.root(), root);
                tree.remove(key, source).unwrap();
            }
        }
        let changes = tree.changes();
        prop_assert_eq!(tree.root(), root);
        prop_assert!(changes.written.is_empty() && changes.vacated.is_empty());
    }

    #[test]
    fn a_change_that_misses_a_node_leaves_the_tree_as_it_was(
        mut oracle in oracles(),
        batch in batches(),
        holes in prop::collection::vec(any::<prop::sample::Index>(), 1..3),
    ) {
        let (root, stored) = build(&oracle);
        let whole = by_cid(&stored);
        let mut torn = whole.clone();
        for hole in holes {
            torn.remove(hole.get(&whole.keys().copied().collect::<Vec<_>>()));
        }
        let mut tree = open(root, &stored);
        for step in batch {
            match change(&mut tree, &mut oracle, step, &mut &torn) {
                Ok(()) => {}
                Err(Error::MissingNode(cid)) => {
                    prop_assert!(!torn.contains_key(&cid));
                    change(&mut tree, &mut oracle, step, &mut &whole).unwrap();
                }
                Err(error) => panic!("{error}"),
            }
        }
        prop_assert_eq!(tree.root(), build(&oracle).0);
    }

    #[test]
    fn reads_walks_and_differences_agree_with_the_oracle(
        before in oracles(),
        mut after in oracles(),
        shared in any::<bool>(),
    ) {
        if shared {
            after.extend(before.iter().skip(2).map(|(key, value)| (key.clone(), *value)));
        }
        let ((before_root, before_stored), (after_root, after_stored)) =
            (build(&before), build(&after));
        let mut tree = open(before_root, &before_stored);
        for key in pool() {
            let found = tree.get(key.as_bytes(), &mut ByPlace(&before_stored)).unwrap();
            prop_assert_eq!(found, before.get(key.as_bytes()).copied());
        }

        let mut blocks = by_cid(&before_stored);
        let mut walk = Walk::new(before_root);
        let mut walked = Oracle::new();
        while let Some((key, value)) = walk.next(&mut &blocks).unwrap() {
            prop_assert!(walked.last_key_value().is_none_or(|(last, _)| *last < key));
            walked.insert(key, value);
        }
        prop_assert_eq!(&walked, &before);

        blocks.extend(by_cid(&after_stored));
        let mut diff = Diff::new(before_root, after_root);
        let mut found = Vec::new();
        while let Some(item) = diff.next(&mut &blocks).unwrap() {
            found.push(item);
        }
        let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
        let expected: Vec<_> = keys
            .into_iter()
            .map(|key| KeyDiff {
                key: key.clone(),
                before: before.get(key).copied(),
                after: after.get(key).copied(),
            })
            .filter(|diff| diff.before != diff.after)
            .collect();
        prop_assert_eq!(found, expected);
    }

    /// CB-11, MST-10: bytes from anywhere are refused, never a crash.
    #[test]
    fn a_block_with_a_changed_byte_is_refused_or_still_canonical(
        oracle in oracles(),
        node in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let (_, stored) = build(&oracle);
        let mut blocks: Vec<_> = stored.into_values().map(|(_, block)| block).collect();
        let block = &mut blocks[node.index(stored_len(&oracle))];
        let at = at.index(block.len());
        block[at] = byte;
        let cid = cid::for_cbor(block);
        if let Ok(mut tree) = Tree::open(cid, block) {
            tree.root.cid = None;
            prop_assert_eq!(tree.root(), cid);
        }
    }
}

fn stored_len(oracle: &Oracle) -> usize {
    build(oracle).1.len()
}

#[test]
fn removing_the_last_key_returns_to_the_empty_node() {
    // MST-12, RP-14.
    let mut tree = Tree::empty();
    assert_eq!(tree.root().to_string(), EMPTY_ROOT);
    assert_eq!(build(&Oracle::new()).0.to_string(), EMPTY_ROOT);
    for key in pool() {
        tree.insert(key.as_bytes(), value(1), &mut NoNodes).unwrap();
        assert_ne!(tree.root().to_string(), EMPTY_ROOT);
        tree.remove(key.as_bytes(), &mut NoNodes).unwrap();
        assert_eq!(tree.root().to_string(), EMPTY_ROOT);
    }
}

#[test]
fn order_of_inserts_does_not_matter() {
    // MST-13.
    let mut forth = Tree::empty();
    let mut back = Tree::empty();
    for key in pool() {
        forth.insert(key.as_bytes(), value(1), &mut NoNodes).unwrap();
    }
    for key in pool().iter().rev() {
        back.insert(key.as_bytes(), value(1), &mut NoNodes).unwrap();
    }
    assert_eq!(forth.root(), back.root());
}

#[test]
fn inserting_before_an_untouched_subtree_moves_its_first_chain() {
    // "" < a deep key < the subtree: the deep key becomes the `low` of nodes that do not change.
    let deep = pool().iter().position(|key| key_depth(key.as_bytes()) == 5).unwrap();
    let oracle: Oracle = pool()[deep + 1..]
        .iter()
        .filter(|key| key_depth(key.as_bytes()) < 4)
        .map(|key| (key.clone().into_bytes(), value(1)))
        .collect();
    let (root, stored) = build(&oracle);
    let mut tree = open(root, &stored);
    tree.insert(pool()[deep].as_bytes(), value(2), &mut ByPlace(&stored)).unwrap();
    let changes = tree.changes();
    let moved: Vec<_> = changes.written.iter().filter(|node| !changes.new_cids.contains(&node.cid)).collect();
    assert!(moved.len() >= 2, "{moved:?}");
    for node in &moved {
        assert_eq!(node.place.low, pool()[deep].as_bytes());
        let before = Place { low: Vec::new(), depth: node.place.depth };
        assert_eq!(stored[&before].0, node.cid);
        assert!(changes.vacated.contains(&before));
    }
}

#[test]
fn keys_that_are_there_or_not_there_are_told_apart() {
    let mut tree = Tree::empty();
    let (key, other) = (pool()[0].as_bytes(), pool()[1].as_bytes());
    tree.insert(key, value(1), &mut NoNodes).unwrap();
    let source = &mut NoNodes;
    assert!(matches!(tree.insert(key, value(2), source), Err(Error::KeyExists(k)) if k == key));
    assert!(matches!(tree.update(other, value(2), source), Err(Error::KeyMissing(_))));
    assert!(matches!(tree.remove(other, source), Err(Error::KeyMissing(_))));
    assert!(matches!(tree.insert(b"", value(2), source), Err(Error::KeyLength(0))));
    let long = [b'a'; KEY_BYTES_MAX + 1];
    assert!(matches!(tree.insert(&long, value(2), source), Err(Error::KeyLength(1025))));
    assert_eq!(tree.update(key, value(3), source).unwrap(), value(1));
    assert_eq!(tree.get(key, source).unwrap(), Some(value(3)));
}

#[test]
fn a_node_does_not_pass_its_limit() {
    // MST-11. Keys at depth 0 only, in ascending order.
    let keys: Vec<_> = (0u32..)
        .map(|i| format!("com.example.note/{i:06}").into_bytes())
        .filter(|key| key_depth(key) == 0)
        .take(NODE_ENTRIES_MAX + 1)
        .collect();
    let mut tree = Tree::empty();
    let mut builder = Builder::new();
    let (last, rest) = keys.split_last().unwrap();
    for key in rest {
        tree.insert(key, value(1), &mut NoNodes).unwrap();
        builder.push(key, value(1), &mut drop).unwrap();
    }
    let root = tree.root();
    assert!(matches!(tree.insert(last, value(1), &mut NoNodes), Err(Error::NodeFull)));
    assert!(matches!(builder.push(last, value(1), &mut drop), Err(Error::NodeFull)));
    assert_eq!(tree.root(), root);

    // A deeper key in the middle makes two nodes; without it they would be one that is too large.
    let middle = (0u32..)
        .map(|i| [keys[512].as_slice(), format!("-{i}").as_bytes()].concat())
        .find(|key| key_depth(key) == 1)
        .unwrap();
    tree.insert(&middle, value(1), &mut NoNodes).unwrap();
    tree.insert(last, value(1), &mut NoNodes).unwrap();
    let root = tree.root();
    assert!(matches!(tree.remove(&middle, &mut NoNodes), Err(Error::NodeFull)));
    assert_eq!(tree.root(), root);
    tree.remove(last, &mut NoNodes).unwrap();
    tree.remove(&middle, &mut NoNodes).unwrap();
}

#[test]
fn the_builder_wants_ascending_keys() {
    let mut builder = Builder::new();
    builder.push(b"com.example.note/b", value(1), &mut drop).unwrap();
    for key in ["com.example.note/b", "com.example.note/a"] {
        let refused = builder.push(key.as_bytes(), value(1), &mut drop);
        assert!(matches!(refused, Err(Error::KeyOrder(_))), "{key}");
    }
}

mod hostile {
    //! MST-10: what a reader of an untrusted tree refuses.

    use super::*;
    use crate::data::cbor::Writer;

    /// `2653ae71` and `asdf` have depth 0, `blue` depth 1.
    struct Entry<'e>(&'e str, i64, Option<Cid>);

    fn node(left: Option<Cid>, entries: &[Entry<'_>]) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.map(2).text("e").array(entries.len() as u64);
        for Entry(rest, shared, right) in entries {
            writer.map(4).text("k").bytes(rest.as_bytes()).text("p").integer(*shared);
            writer.text("t").nullable_link(right.as_ref()).text("v").link(&value(1));
        }
        writer.text("l").nullable_link(left.as_ref());
        writer.finish()
    }

    fn problem(block: &[u8]) -> &'static str {
        match Tree::open(cid::for_cbor(block), block) {
            Err(Error::Malformed { problem, .. }) => problem,
            Err(error) => panic!("{error}"),
            Ok(_) => "",
        }
    }

    #[test]
    fn malformed_roots_are_refused() {
        let child = Some(value(1));
        assert_eq!(problem(&node(None, &[Entry("2653ae71", 0, None), Entry("asdf", 0, None)])), "");
        let cases: [(&str, Vec<u8>); 9] = [
            ("no entries where", node(child, &[])),
            ("bottom has a child", node(child, &[Entry("asdf", 0, None)])),
            ("bottom has a child", node(None, &[Entry("asdf", 0, child)])),
            ("do not ascend", node(None, &[Entry("asdf", 0, None), Entry("2653ae71", 0, None)])),
            ("do not ascend", node(None, &[Entry("asdf", 0, None), Entry("", 4, None)])),
            ("wrong depth", node(None, &[Entry("asdf", 0, None), Entry("blue", 0, None)])),
            ("more than the previous", node(None, &[Entry("asdf", 1, None)])),
            ("than `p` says", node(None, &[Entry("asdf", 0, None), Entry("asdg", 0, None)])),
            ("do not ascend", node(None, &[Entry("", 0, None)])),
        ];
        for (expected, block) in cases {
            let problem = problem(&block);
            assert!(problem.contains(expected), "{expected}: {problem}");
        }
        let mut longer = node(None, &[]);
        longer.push(0);
        assert_eq!(problem(&longer), "bytes follow it");
        assert_eq!(problem(b"\xa2\x61e\x80\x61m\xf6"), "it has a wrong field");
        assert_eq!(problem(b"\xa1\x61e\x80"), "it is not a map of the right size");
        assert_eq!(problem(b""), "it is not a map of the right size");
    }

    #[test]
    fn unusual_links_are_kept_for_records_and_refused_for_children() {
        // CID-3, CID-4: a raw link where a record would be.
        let raw = cid::for_raw(b"x");
        let mut tree = Tree::empty();
        tree.insert(b"blue", raw, &mut NoNodes).unwrap();
        let node_with_raw_value = tree.changes().written.remove(0);
        assert_eq!(problem(&node_with_raw_value.block), "");
        let block = node(Some(raw), &[Entry("blue", 0, None)]);
        assert_eq!(problem(&block), "the link of a child has an unusual form");
    }

    #[test]
    fn a_root_with_another_hash_is_refused() {
        // CID-6.
        let refused = Tree::open(value(1), &node(None, &[]));
        assert!(matches!(refused, Err(Error::Malformed { cid, .. }) if cid == value(1)));
    }

    #[test]
    fn children_out_of_their_range_or_depth_are_refused() {
        // MST-3, MST-9: every child here is a legal root, but does not belong under its parent.
        let child_problem = |child: Vec<u8>, in_front: bool| {
            let cid = cid::for_cbor(&child);
            let (left, right) = if in_front { (Some(cid), None) } else { (None, Some(cid)) };
            let root = node(left, &[Entry("blue", 0, right)]);
            let root_cid = cid::for_cbor(&root);
            let blocks = BTreeMap::from([(cid, child), (root_cid, root.clone())]);
            let mut tree = Tree::open(root_cid, &root).unwrap();
            let key: &[u8] = if in_front { b"a" } else { b"c" };
            let got = tree.get(key, &mut &blocks).map(drop).map_err(|error| error.to_string());
            let mut walk = Walk::new(root_cid);
            let walked = loop {
                match walk.next(&mut &blocks) {
                    Ok(Some(_)) => {}
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error.to_string()),
                }
            };
            assert_eq!(got, walked);
            got.err().unwrap_or_default()
        };
        let child = || node(None, &[Entry("asdf", 0, None)]);
        assert_eq!(child_problem(child(), true), "");
        assert!(child_problem(child(), false).contains("do not ascend"));
        let after = (0u32..).map(|i| format!("c{i}")).find(|key| key_depth(key.as_bytes()) == 0).unwrap();
        let child = node(None, &[Entry(&after, 0, None)]);
        assert!(child_problem(child.clone(), true).contains("passes the key after"));
        assert_eq!(child_problem(child, false), "");
        let same_depth = node(None, &[Entry("blue", 0, None)]);
        assert!(child_problem(same_depth, true).contains("wrong depth"));
        assert!(child_problem(node(None, &[]), true).contains("no entries"));
    }
}
