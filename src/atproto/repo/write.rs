//! What writes do to a tree: operations, changed nodes, and the nodes that let a consumer undo
//! them.
//!
//! Not for: swaps, record validation, or the commit that is made afterwards.

use std::collections::BTreeMap;

use crate::{
    data::Cid,
    mst::{self, Changes, NodeSource, Tree},
    syntax::RepoPath,
};

/// One write, in the sense of `applyWrites`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordWrite {
    /// The record must not exist.
    Create {
        /// Where.
        path: RepoPath,
        /// The new record.
        cid: Cid,
    },
    /// The record must exist.
    Update {
        /// Where.
        path: RepoPath,
        /// The new record.
        cid: Cid,
    },
    /// The record must exist.
    Delete {
        /// Where.
        path: RepoPath,
    },
}

/// What happened at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing was there.
    Create,
    /// Another record was there.
    Update,
    /// Nothing is there any more.
    Delete,
}

/// One operation of a `#commit` (SY-6). At most one for each path (SY-7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepoOp {
    /// What happened.
    pub action: Action,
    /// Where.
    pub path: RepoPath,
    /// The record now; `None` for a delete.
    pub cid: Option<Cid>,
    /// The record before; `None` for a create, and in events older than sync v1.1.
    pub prev: Option<Cid>,
}

/// Why writes cannot be applied. `S` is the error of the [`NodeSource`].
#[derive(Debug, thiserror::Error)]
pub enum WriteError<S> {
    /// A create where there is a record.
    #[error("record {0} already exists")]
    RecordExists(RepoPath),
    /// An update or delete where there is none.
    #[error("record {0} does not exist")]
    RecordMissing(RepoPath),
    /// The tree could not be read or changed.
    #[error(transparent)]
    Tree(#[from] mst::Error<S>),
}

/// What writes amounted to.
#[derive(Debug)]
pub struct Applied {
    /// In the order in which their paths were first written.
    pub ops: Vec<RepoOp>,
    /// Root of the new tree.
    pub data: Cid,
    /// What to store.
    pub changes: Changes,
    /// The tree nodes that the firehose event must carry (SY-8): the root, all new ones, and the
    /// covering proofs of all creates and deletes, with which the ops can be undone in any order.
    pub proof: BTreeMap<Cid, Vec<u8>>,
}

/// What became of one path.
struct Outcome<'w> {
    path: &'w RepoPath,
    before: Option<Cid>,
    now: Option<Cid>,
}

/// Applies `writes` in order, all or none: after an error the tree must be thrown away.
///
/// Each write sees what those before it did; several to one path are merged into what they amount
/// to, which may be nothing. No writes at all are fine (SY-14).
///
/// # Errors
///
/// [`WriteError`].
pub fn apply_writes<S: NodeSource>(
    tree: &mut Tree,
    writes: &[RecordWrite],
    source: &mut S,
) -> Result<Applied, WriteError<S::Error>> {
    let outcomes = play(tree, writes, source)?;
    let ops: Vec<RepoOp> = outcomes.iter().filter_map(Outcome::op).collect();
    for op in &ops {
        let key = op.path.as_str().as_bytes();
        match (op.prev, op.cid) {
            (None, Some(cid)) => tree.insert(key, cid, source)?,
            (_, Some(cid)) => drop(tree.update(key, cid, source)?),
            (_, None) => drop(tree.remove(key, source)?),
        }
    }
    let changes = tree.changes();
    let data = tree.root();

    let new_nodes = changes.written.iter().filter(|node| changes.new_cids.contains(&node.cid));
    let mut proof = new_nodes.map(|node| (node.cid, node.block.clone())).collect();
    tree.root_proof(&mut proof);
    // The path of an updated key is new in any case, and undoing it moves nothing.
    for op in ops.iter().filter(|op| op.action != Action::Update) {
        tree.covering_proof(op.path.as_str().as_bytes(), &mut proof, source)?;
    }
    Ok(Applied { ops, data, changes, proof })
}

/// Plays the writes against what the tree holds, without changing it.
fn play<'w, S: NodeSource>(
    tree: &mut Tree,
    writes: &'w [RecordWrite],
    source: &mut S,
) -> Result<Vec<Outcome<'w>>, WriteError<S::Error>> {
    let mut outcomes: Vec<Outcome<'w>> = Vec::with_capacity(writes.len());
    let mut index_of: BTreeMap<&RepoPath, usize> = BTreeMap::new();
    for write in writes {
        let (RecordWrite::Create { path, .. }
        | RecordWrite::Update { path, .. }
        | RecordWrite::Delete { path }) = write;
        let i = match index_of.get(path) {
            Some(i) => *i,
            None => {
                let before = tree.get(path.as_str().as_bytes(), source)?;
                outcomes.push(Outcome { path, before, now: before });
                index_of.insert(path, outcomes.len() - 1);
                outcomes.len() - 1
            }
        };
        let Some(outcome) = outcomes.get_mut(i) else {
            continue;
        };
        outcome.now = match (write, outcome.now) {
            (RecordWrite::Create { .. }, Some(_)) => {
                return Err(WriteError::RecordExists(path.clone()));
            }
            (RecordWrite::Update { .. } | RecordWrite::Delete { .. }, None) => {
                return Err(WriteError::RecordMissing(path.clone()));
            }
            (RecordWrite::Create { cid, .. } | RecordWrite::Update { cid, .. }, _) => Some(*cid),
            (RecordWrite::Delete { .. }, Some(_)) => None,
        };
    }
    Ok(outcomes)
}

impl Outcome<'_> {
    /// `None`: nothing changed in the end.
    fn op(&self) -> Option<RepoOp> {
        let action = match (self.before, self.now) {
            (before, now) if before == now => return None,
            (None, _) => Action::Create,
            (Some(_), Some(_)) => Action::Update,
            (Some(_), None) => Action::Delete,
        };
        Some(RepoOp { action, path: self.path.clone(), cid: self.now, prev: self.before })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::{data::cid, mst::NoNodes};

    fn path(rkey: &str) -> RepoPath {
        RepoPath::parse(&format!("com.example.note/{rkey}")).unwrap()
    }

    fn record(n: u8) -> Cid {
        cid::for_cbor(&[n])
    }

    fn create(rkey: &str, n: u8) -> RecordWrite {
        RecordWrite::Create { path: path(rkey), cid: record(n) }
    }

    fn update(rkey: &str, n: u8) -> RecordWrite {
        RecordWrite::Update { path: path(rkey), cid: record(n) }
    }

    fn delete(rkey: &str) -> RecordWrite {
        RecordWrite::Delete { path: path(rkey) }
    }

    /// Applies to a tree in which `old` is record 1.
    fn apply(writes: &[RecordWrite]) -> Result<Applied, String> {
        let mut tree = Tree::empty();
        tree.insert(path("old").as_str().as_bytes(), record(1), &mut NoNodes).unwrap();
        apply_writes(&mut tree, writes, &mut NoNodes).map_err(|error| error.to_string())
    }

    type Short = (Action, &'static str, Option<u8>, Option<u8>);

    fn assert_ops(writes: &[RecordWrite], expected: &[Short]) {
        let expected: Vec<_> = expected
            .iter()
            .map(|(action, rkey, now, before)| RepoOp {
                action: *action,
                path: path(rkey),
                cid: now.map(record),
                prev: before.map(record),
            })
            .collect();
        assert_eq!(apply(writes).unwrap().ops, expected, "{writes:?}");
    }

    #[test]
    fn writes_become_ops_in_their_order() {
        // SY-6.
        assert_ops(
            &[create("b", 2), update("old", 3), create("a", 4)],
            &[
                (Action::Create, "b", Some(2), None),
                (Action::Update, "old", Some(3), Some(1)),
                (Action::Create, "a", Some(4), None),
            ],
        );
        assert_ops(&[delete("old")], &[(Action::Delete, "old", None, Some(1))]);
    }

    #[test]
    fn writes_to_one_path_are_merged_into_what_they_amount_to() {
        // SY-7.
        assert_ops(&[create("a", 2), delete("a")], &[]);
        assert_ops(&[create("a", 2), update("a", 3)], &[(Action::Create, "a", Some(3), None)]);
        assert_ops(&[delete("old"), create("old", 1)], &[]);
        assert_ops(&[delete("old"), create("old", 2)], &[(Action::Update, "old", Some(2), Some(1))]);
        assert_ops(&[update("old", 2), delete("old")], &[(Action::Delete, "old", None, Some(1))]);
        assert_ops(&[update("old", 2), update("old", 1)], &[]);
        assert_ops(&[update("old", 1)], &[]);
    }

    #[test]
    fn each_write_sees_those_before_it() {
        let refused = |writes: &[RecordWrite]| apply(writes).unwrap_err();
        assert_eq!(refused(&[create("old", 2)]), "record com.example.note/old already exists");
        assert_eq!(refused(&[update("a", 2)]), "record com.example.note/a does not exist");
        assert_eq!(refused(&[delete("a")]), "record com.example.note/a does not exist");
        assert_eq!(refused(&[create("a", 2), create("a", 2)]), "record com.example.note/a already exists");
        assert_eq!(refused(&[delete("old"), delete("old")]), "record com.example.note/old does not exist");
    }

    #[test]
    fn no_writes_leave_the_tree_and_still_prove_its_root() {
        // SY-14: consumers open the tree at its root even when there is nothing to undo.
        let mut tree = Tree::empty();
        let root = tree.root();
        let block = apply_writes(&mut tree, &[], &mut NoNodes).unwrap().proof.remove(&root).unwrap();
        let mut tree = Tree::open(root, &block).unwrap();
        let applied = apply_writes(&mut tree, &[], &mut NoNodes).unwrap();
        assert_eq!(applied.data, root);
        assert!(applied.ops.is_empty() && applied.changes.written.is_empty());
        assert_eq!(applied.proof, BTreeMap::from([(root, block)]));
    }
}
