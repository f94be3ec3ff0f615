//! `mst/`: prefixes, depths, trees of known shape, commit proofs, and differences of two trees.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use atproto::{
    data::{Cid, cid},
    mst::{Builder, Diff, KeyDiff, NoNodes, PlacedNode, Tree, Walk, common_prefix, key_depth},
    repo::car,
};
use serde_json::Value;

use super::report::{Outcome, cases, ensure, ensure_eq, files, lines, name, text};

type Blocks = BTreeMap<Cid, Vec<u8>>;
type Listing = BTreeMap<Vec<u8>, Cid>;

pub fn run(dir: &Path) -> Outcome {
    let mut outcome = Outcome::default();
    for file in files(dir) {
        match name(&file) {
            n if n.ends_with(".jsonl") => {
                for line in lines(&file) {
                    let case: Value = serde_json::from_str(&line).expect("a JSON line");
                    let vector = case["name"].as_str().unwrap_or_default();
                    outcome.check(&file, vector, tree_diff(&file, &case));
                }
            }
            n if n.ends_with(".json") => {
                for (idx, case) in cases(&file).iter().enumerate() {
                    match case_kind(case) {
                        Some(check) => outcome.check(&file, idx, check(case)),
                        None => outcome.skip(format!("unknown case in {n}")),
                    }
                }
            }
            n if n.ends_with(".txt") => outcome.check(&file, "all keys", example_keys(&file)),
            n if n.ends_with(".car") => outcome.check(&file, "tree", open_car(&file).map(drop)),
            n => outcome.skip(format!("unknown file {n}")),
        }
    }
    outcome
}

/// Runs one case.
type Check = fn(&Value) -> Result<(), String>;

fn case_kind(case: &Value) -> Option<Check> {
    if case.get("left").is_some() {
        Some(prefix)
    } else if case.get("height").is_some() {
        Some(depth)
    } else if case.get("blocksInProof").is_some() {
        Some(commit_proof)
    } else {
        None
    }
}

/// MST-8.
fn prefix(case: &Value) -> Result<(), String> {
    let shared = common_prefix(text(case, "left")?.as_bytes(), text(case, "right")?.as_bytes());
    ensure_eq("shared bytes", Some(shared as u64), case["len"].as_u64())
}

/// MST-2.
fn depth(case: &Value) -> Result<(), String> {
    let depth = key_depth(text(case, "key")?.as_bytes());
    ensure_eq("depth", Some(u64::from(depth)), case["height"].as_u64())
}

/// The digit in a key is its depth. Both ways to make a tree agree (MST-1).
fn example_keys(file: &Path) -> Result<(), String> {
    let mut listing = Listing::new();
    for key in lines(file) {
        let digit = key.chars().nth(1).and_then(|c| c.to_digit(10));
        ensure_eq(&format!("depth of {key}"), Some(key_depth(key.as_bytes())), digit)?;
        listing.insert(key.into_bytes(), cid::for_cbor(b"x"));
    }
    let mut tree = Tree::empty();
    for (key, value) in listing.iter().rev() {
        tree.insert(key, *value, &mut NoNodes).map_err(|e| e.to_string())?;
    }
    ensure_eq("root", tree.root(), build(&listing)?.0)
}

/// Root and blocks of the tree with these records.
fn build(listing: &Listing) -> Result<(Cid, Blocks), String> {
    let mut blocks = Blocks::new();
    let mut builder = Builder::new();
    let mut emit = |node: PlacedNode| drop(blocks.insert(node.cid, node.block));
    for (key, value) in listing {
        builder.push(key, *value, &mut emit).map_err(|e| e.to_string())?;
    }
    let root = builder.finish(&mut emit);
    Ok((root, blocks))
}

fn open(root: Cid, blocks: &Blocks) -> Result<Tree, String> {
    let block = blocks.get(&root).ok_or("the root is missing")?;
    Tree::open(root, block).map_err(|e| e.to_string())
}

/// What was done to one key.
struct Op {
    key: Vec<u8>,
    before: Option<Cid>,
    after: Option<Cid>,
}

fn apply(tree: &mut Tree, op: &Op, mut blocks: &Blocks) -> Result<(), String> {
    match (op.before, op.after) {
        (Some(_), None) => tree.remove(&op.key, &mut blocks).map(drop),
        (Some(_), Some(cid)) => tree.update(&op.key, cid, &mut blocks).map(drop),
        (None, Some(cid)) => tree.insert(&op.key, cid, &mut blocks),
        (None, None) => Ok(()),
    }
    .map_err(|e| e.to_string())
}

/// The nodes that undoing `ops` takes: what `apply_writes` computes, for keys that are no paths.
fn proof_of(tree: &mut Tree, ops: &[Op], mut blocks: &Blocks) -> Result<Blocks, String> {
    let changes = tree.changes();
    let new = changes.written.into_iter().filter(|node| changes.new_cids.contains(&node.cid));
    let mut proof = new.map(|node| (node.cid, node.block)).collect();
    for op in ops.iter().filter(|op| op.before.is_none() || op.after.is_none()) {
        tree.covering_proof(&op.key, &mut proof, &mut blocks).map_err(|e| e.to_string())?;
    }
    Ok(proof)
}

/// SY-9, in both directions of undoing.
fn inverts(root: Cid, ops: &[Op], proof: &Blocks, before: Cid) -> Result<(), String> {
    ensure_eq("root after undoing", undo(root, ops.iter(), proof)?, before)?;
    ensure_eq("root after undoing backwards", undo(root, ops.iter().rev(), proof)?, before)
}

fn undo<'o>(root: Cid, ops: impl Iterator<Item = &'o Op>, proof: &Blocks) -> Result<Cid, String> {
    let block = proof.get(&root).ok_or("the root is not in the proof")?;
    let mut tree = Tree::open_for_root_only(root, block).map_err(|e| e.to_string())?;
    for op in ops {
        let undone = Op { key: op.key.clone(), before: op.after, after: op.before };
        apply(&mut tree, &undone, proof)?;
    }
    Ok(tree.root())
}

/// SY-8: exactly the nodes that are expected, and they suffice.
fn commit_proof(case: &Value) -> Result<(), String> {
    let leaf = link(&case["leafValue"])?;
    let keys = |field: &str| -> Result<Vec<Vec<u8>>, String> {
        let keys = case[field].as_array().ok_or("no list of keys")?.iter();
        keys.map(|k| Ok(k.as_str().ok_or("key is no text")?.as_bytes().to_vec())).collect()
    };
    let listing = keys("keys")?.into_iter().map(|key| (key, leaf)).collect();
    let (before, blocks) = build(&listing)?;
    ensure_eq("root before", before, link(&case["rootBeforeCommit"])?)?;

    let adds = keys("adds")?.into_iter().map(|key| Op { key, before: None, after: Some(leaf) });
    let dels = keys("dels")?.into_iter().map(|key| Op { key, before: Some(leaf), after: None });
    let ops: Vec<_> = adds.chain(dels).collect();
    let mut tree = open(before, &blocks)?;
    for op in &ops {
        apply(&mut tree, op, &blocks)?;
    }
    ensure_eq("root after", tree.root(), link(&case["rootAfterCommit"])?)?;
    let root = tree.root();
    let proof = proof_of(&mut tree, &ops, &blocks)?;
    ensure_eq("proof", cids(&proof), links(&case["blocksInProof"])?)?;
    inverts(root, &ops, &proof, before)
}

/// All fields of the suite but `firehose_cids`, which it has not filled in.
fn tree_diff(file: &Path, case: &Value) -> Result<(), String> {
    let (before, before_blocks) = suite_car(file, &case["inputs"]["mst_a"])?;
    let (after, after_blocks) = suite_car(file, &case["inputs"]["mst_b"])?;
    let results = &case["results"];

    let mut all = before_blocks.clone();
    all.extend(after_blocks.clone());
    let ops = differences(before, after, &all)?;
    check_record_ops(&ops, &results["record_ops"])?;

    let mut tree = open(before, &before_blocks)?;
    for op in &ops {
        apply(&mut tree, op, &before_blocks)?;
    }
    ensure_eq("root", tree.root(), after)?;
    let created = tree.changes().new_cids;
    ensure_eq("created nodes", &created, &links(&results["created_nodes"])?)?;
    let kept: BTreeSet<_> = cids(&after_blocks).difference(&created).copied().collect();
    let deleted: BTreeSet<_> = cids(&before_blocks).difference(&kept).copied().collect();
    ensure_eq("deleted nodes", deleted, links(&results["deleted_nodes"])?)?;

    let mut paths = BTreeSet::new();
    for op in &ops {
        let path = tree.path_proof(&op.key, &mut &before_blocks).map_err(|e| e.to_string())?;
        paths.extend(path.into_iter().map(|(cid, _)| cid));
    }
    // The suite stops at the depth of a key that is not there. Ours go to the bottom, for readers
    // that do not compute depths.
    ensure_holds("proof nodes", &paths, &links(&results["proof_nodes"])?)?;

    if ops.is_empty() {
        return Ok(());
    }
    // The suite leaves out neighbours that its own order of undoing does not need. Ours are what
    // the commit proofs have, and serve every order.
    let proof = proof_of(&mut tree, &ops, &before_blocks)?;
    ensure_holds("inductive proof", &cids(&proof), &links(&results["inductive_proof_nodes"])?)?;
    inverts(after, &ops, &proof, before)
}

fn ensure_holds(what: &str, got: &BTreeSet<Cid>, least: &BTreeSet<Cid>) -> Result<(), String> {
    ensure(got.is_superset(least), format!("{what} are {got:?}, which lack some of {least:?}"))
}

fn differences(before: Cid, after: Cid, mut blocks: &Blocks) -> Result<Vec<Op>, String> {
    let mut diff = Diff::new(before, after);
    let mut ops = Vec::new();
    while let Some(KeyDiff { key, before, after }) = diff.next(&mut blocks).map_err(|e| e.to_string())? {
        ops.push(Op { key, before, after });
    }
    Ok(ops)
}

fn check_record_ops(ops: &[Op], expected: &Value) -> Result<(), String> {
    let expected = expected.as_array().ok_or("no list of record ops")?;
    let optional = |value: &Value| match value {
        Value::Null => Ok(None),
        value => link(value).map(Some),
    };
    let mut want = BTreeSet::new();
    for op in expected {
        let key = text(op, "rpath")?.as_bytes().to_vec();
        want.insert((key, optional(&op["old_value"])?, optional(&op["new_value"])?));
    }
    let got = ops.iter().map(|op| (op.key.clone(), op.before, op.after)).collect();
    ensure_eq("record ops", got, want)
}

fn suite_car(file: &Path, input: &Value) -> Result<(Cid, Blocks), String> {
    let input = Path::new(input.as_str().ok_or("an input is no text")?);
    let cars = file.parent().expect("a file is in a folder").join("cars");
    open_car(&cars.join(name(input)))
}

/// Root and blocks of a CAR that holds a tree and nothing else; the tree is canonical.
fn open_car(file: &Path) -> Result<(Cid, Blocks), String> {
    let bytes = fs::read(file).map_err(|e| format!("{}: {e}", file.display()))?;
    let (roots, blocks) = car::decode(&bytes).map_err(|e| e.to_string())?;
    let root = *roots.first().ok_or("no root")?;
    let mut listing = Listing::new();
    let mut walk = Walk::new(root);
    while let Some((key, value)) = walk.next(&mut &blocks).map_err(|e| e.to_string())? {
        listing.insert(key, value);
    }
    let (rebuilt, nodes) = build(&listing)?;
    ensure_eq("root of the tree built anew", rebuilt, root)?;
    ensure(nodes == blocks, "the tree built anew has other nodes")?;
    Ok((root, blocks))
}

fn cids(blocks: &Blocks) -> BTreeSet<Cid> {
    blocks.keys().copied().collect()
}

fn link(value: &Value) -> Result<Cid, String> {
    cid::parse(value.as_str().ok_or("a CID is no text")?).map_err(|e| e.to_string())
}

fn links(value: &Value) -> Result<BTreeSet<Cid>, String> {
    value.as_array().ok_or("no list of CIDs")?.iter().map(link).collect()
}
