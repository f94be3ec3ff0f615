//! What a consumer of the firehose checks: an event's fields against its commit, the signature,
//! and inversion (SY-4, SY-7, SY-9, SY-23).
//!
//! Not for: what takes earlier events or a clock to tell (order of revs, revs in the future).

#![allow(clippy::result_large_err, reason = "a CID is 96 bytes, and an error ends the event")]

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, Commit, CommitError, RepoOp, car};
use crate::{
    crypto::{self, PublicKey},
    data::Cid,
    event::{self, COMMIT_BLOCKS_BYTES_MAX, COMMIT_OPS_MAX, SYNC_BLOCKS_BYTES_MAX},
    mst::{self, Tree},
    syntax::{Did, RepoPath, Tid},
};

/// Why an event must not be believed.
#[derive(Debug, thiserror::Error)]
pub enum InvertError {
    /// SY-10, SY-15.
    #[error("`blocks` is {bytes} bytes; at most {max} are allowed")]
    BlocksTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// SY-10.
    #[error("there are {0} ops; at most {COMMIT_OPS_MAX} are allowed")]
    TooManyOps(usize),
    /// `blocks` is not a CAR.
    #[error("blocks: {0}")]
    Car(#[from] car::Error),
    /// The commit block cannot be used.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The signature is not by this key.
    #[error("commit: {0}")]
    Signature(#[from] crypto::Error),
    /// SY-4.
    #[error("event field {0} is not what the commit in its blocks says")]
    FieldMismatch(&'static str),
    /// SY-8: the commit, or a record that an op names.
    #[error("block {0} is not among the blocks of the event")]
    MissingBlock(Cid),
    /// SY-6, SY-7: the op is not one that could have led here.
    #[error("op on {path}: {problem}")]
    Op {
        /// Which op.
        path: RepoPath,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A node that is needed is missing or malformed.
    #[error(transparent)]
    Tree(#[from] mst::Error),
    /// SY-9.
    #[error("undoing the ops gives the tree {found}, not prevData {prev_data}")]
    Inversion {
        /// The root that was computed.
        found: Cid,
        /// The root that the event claims.
        prev_data: Cid,
    },
}

/// Checks a `#commit` as far as that can be done from the event alone.
///
/// The signature is not checked when `key` is `None`. An event without `prev_data` is the first of
/// its repo or older than sync v1.1; it is not inverted, and its ops need no `prev`.
///
/// # Errors
///
/// [`InvertError`], the first thing that is wrong.
pub fn verify_commit_event(event: &event::Commit, key: Option<&PublicKey>) -> Result<(), InvertError> {
    if event.ops.len() > COMMIT_OPS_MAX {
        return Err(InvertError::TooManyOps(event.ops.len()));
    }
    let slice = Slice::open(&event.blocks, COMMIT_BLOCKS_BYTES_MAX)?;
    if slice.commit_cid != event.commit {
        return Err(InvertError::FieldMismatch("commit"));
    }
    slice.check(&event.repo, event.rev, key)?;
    check_ops(&event.ops, &slice.blocks)?;

    let Some(prev_data) = event.prev_data else {
        return Ok(());
    };
    match invert_ops(slice.commit.data, &event.ops, &slice.blocks)? {
        found if found == prev_data => Ok(()),
        found => Err(InvertError::Inversion { found, prev_data }),
    }
}

/// Checks a `#sync` as far as that can be done from the event alone (SY-15).
///
/// The signature is not checked when `key` is `None`.
///
/// # Errors
///
/// [`InvertError`], the first thing that is wrong.
pub fn verify_sync_event(event: &event::Sync, key: Option<&PublicKey>) -> Result<(), InvertError> {
    Slice::open(&event.blocks, SYNC_BLOCKS_BYTES_MAX)?.check(&event.did, event.rev, key)
}

/// Undoes `ops` in the order given on the partial tree in `blocks` whose root is `data`, and
/// returns the root of the tree that was there before (SY-9).
///
/// # Errors
///
/// [`InvertError::Op`] when an op cannot have led to this tree, [`InvertError::Tree`] when the
/// blocks do not suffice.
pub fn invert_ops(
    data: Cid,
    ops: &[RepoOp],
    mut blocks: &BTreeMap<Cid, Vec<u8>>,
) -> Result<Cid, InvertError> {
    if ops.is_empty() {
        return Ok(data);
    }
    let root = blocks.get(&data).ok_or(InvertError::MissingBlock(data))?;
    let mut tree = Tree::open_for_root_only(data, root)?;
    for op in ops {
        undo(&mut tree, op, &mut blocks)?;
    }
    Ok(tree.root())
}

fn undo(tree: &mut Tree, op: &RepoOp, source: &mut &BTreeMap<Cid, Vec<u8>>) -> Result<(), InvertError> {
    let key = op.path.as_str().as_bytes();
    let undone = match (op.action, op.prev) {
        (Action::Create, _) => tree.remove(key, source).map(Some),
        (Action::Update, Some(prev)) => tree.update(key, prev, source).map(Some),
        (Action::Delete, Some(prev)) => tree.insert(key, prev, source).map(|()| None),
        (Action::Update | Action::Delete, None) => return fail(op, "it has no prev"),
    };
    match undone {
        Ok(now) if now == op.cid => Ok(()),
        Ok(_) => fail(op, "the tree has another CID there"),
        Err(mst::Error::KeyMissing(_)) => fail(op, "the tree has nothing there"),
        Err(mst::Error::KeyExists(_)) => fail(op, "the tree still has a record there"),
        Err(error) => Err(error.into()),
    }
}

/// SY-6, SY-7, and the records of SY-8.
fn check_ops(ops: &[RepoOp], blocks: &BTreeMap<Cid, Vec<u8>>) -> Result<(), InvertError> {
    let mut paths = BTreeSet::new();
    for op in ops {
        if !paths.insert(&op.path) {
            return fail(op, "the path has more than one op");
        }
        match (op.action, op.cid) {
            (Action::Delete, None) => {}
            (Action::Delete, Some(_)) => return fail(op, "a delete has a CID"),
            (_, None) => return fail(op, "it has no CID"),
            (Action::Create, _) if op.prev.is_some() => return fail(op, "a create has a prev"),
            (_, Some(cid)) if !blocks.contains_key(&cid) => {
                return Err(InvertError::MissingBlock(cid));
            }
            (_, Some(_)) => {}
        }
    }
    Ok(())
}

fn fail(op: &RepoOp, problem: &'static str) -> Result<(), InvertError> {
    Err(InvertError::Op { path: op.path.clone(), problem })
}

/// The `blocks` of an event.
struct Slice {
    blocks: BTreeMap<Cid, Vec<u8>>,
    commit_cid: Cid,
    commit: Commit,
}

impl Slice {
    fn open(car: &[u8], bytes_max: usize) -> Result<Slice, InvertError> {
        if car.len() > bytes_max {
            return Err(InvertError::BlocksTooLarge { bytes: car.len(), max: bytes_max });
        }
        let (roots, blocks) = car::decode(car)?;
        // The commit need not be the first block: it is found through the root (CAR-13).
        let root = roots.first().ok_or_else(|| car::Error::Header("it has no root".to_owned()))?;
        let block = blocks.get(root).ok_or(InvertError::MissingBlock(*root))?;
        let commit = Commit::decode(block)?;
        Ok(Slice { commit_cid: *root, commit, blocks })
    }

    fn check(&self, did: &Did, rev: Tid, key: Option<&PublicKey>) -> Result<(), InvertError> {
        if self.commit.did != *did {
            return Err(InvertError::FieldMismatch("repo"));
        }
        if self.commit.rev != rev {
            return Err(InvertError::FieldMismatch("rev"));
        }
        match key {
            Some(key) => Ok(self.commit.verify(key)?),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
