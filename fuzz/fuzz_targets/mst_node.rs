//! A tree node from a stranger: reading it, walking it and changing it never panics, and a tree that walks from end to end
//! is rebuilt to the same root from its keys, or is not canonical.
#![no_main]

use std::collections::BTreeMap;

use atproto::{
    data::cid,
    mst::{Builder, Tree, Walk},
};
use libfuzzer_sys::fuzz_target;

const RECORDS_MAX: usize = 10_000;

fuzz_target!(|block: &[u8]| {
    let root = cid::for_cbor(block);
    let blocks = BTreeMap::from([(root, block.to_vec())]);
    let mut source = &blocks;

    let mut walk = Walk::new(root);
    let mut keys = Vec::new();
    let complete = loop {
        match walk.next(&mut source) {
            Ok(Some(record)) if keys.len() < RECORDS_MAX => keys.push(record),
            Ok(None) => break true,
            _ => break false,
        }
    };
    assert!(
        keys.is_sorted_by(|(a, _), (b, _)| a < b),
        "a walk gives keys in ascending order"
    );

    if complete {
        let mut builder = Builder::new();
        let built = keys
            .iter()
            .try_for_each(|(key, cid)| builder.push(key, *cid, &mut |_| {}));
        if built.is_ok() && builder.finish(&mut |_| {}) == root {
            let mut tree = Tree::open(root, block).expect("a canonical tree opens");
            for (key, cid) in &keys {
                assert_eq!(
                    tree.get(key, &mut source).expect("the tree is complete"),
                    Some(*cid)
                );
            }
        }
    }
    if let Ok(mut tree) = Tree::open(root, block) {
        let _ = tree.insert(b"com.example.note/3jzfcijpj2z2a", root, &mut source);
        let _ = tree.root();
    }
});
