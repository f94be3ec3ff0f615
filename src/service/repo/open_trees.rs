//! Trees that were written to last, with the nodes in memory that the next write is likely to need: those on the path to
//! the newest key. What stands in the database decides; a tree whose root is not that of the head is let go.
//!
//! Only the writer looks in here, one change after the other.
//!
//! Not for: reading. Exports and proofs read their nodes in a snapshot.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use atproto::{
    data::Cid,
    mst::{Place, Tree},
};

use crate::service::recent::Recent;

/// Trees held at a time.
const TREES_MAX: usize = 128;
/// Entries of one tree that are held at most; some 200 bytes each, 1.2 KiB when keys are as long as they may be.
const ENTRIES_MAX: usize = 256;

/// A tree and where its loaded nodes are kept.
pub(super) struct OpenTree {
    pub tree: Tree,
    /// Row of each loaded node.
    pub rows: HashMap<Place, i64>,
}

/// Trees by repo generation.
pub(super) struct OpenTrees(Mutex<Recent<i64, OpenTree>>);

impl Default for OpenTrees {
    fn default() -> OpenTrees {
        OpenTrees(Mutex::new(Recent::new(TREES_MAX)))
    }
}

impl OpenTrees {
    /// The tree of generation `repo_id` whose root is `data`, no longer held.
    pub fn take(&self, repo_id: i64, data: &Cid) -> Option<OpenTree> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner).take(&repo_id)?;
        (open.tree.root() == *data).then_some(open)
    }

    /// Holds a tree that has been stored as it is. `key` is the one written last.
    pub fn put(&self, repo_id: i64, mut open: OpenTree, key: &[u8]) {
        if open.tree.settle(key) > ENTRIES_MAX {
            return;
        }
        let OpenTree { tree, mut rows } = open;
        let rows = tree.loaded_places().filter_map(|place| rows.remove_entry(place)).collect();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(repo_id, OpenTree { tree, rows });
    }
}
