//! The Merkle search tree: a map from repo path to record CID whose root hash depends on its
//! contents only (section 5 of the rules, MST-1..MST-16).
//!
//! Not for: keeping nodes. The tree asks a [`NodeSource`] for what it needs and reports what
//! changed; where nodes live is the caller's business.
//!
//! # Terms
//!
//! *Depth* of a key: MST-2 (the vectors say "height", the reference code "layer"). Depth 0 is the
//! bottom. A node has *slots*: before its first entry, and after each entry; a slot holds a child
//! one level lower, or nothing.
//!
//! A *place* says where a node stands: its depth, and `low`, the greatest key before it that stands
//! deeper ("" when there is none). A child takes the key in front of its slot as its `low`; the
//! child in the first slot takes its parent's. So a whole chain of first children shares one
//! `low`, and one place holds at most one node. Nodes ordered by `low` ascending and depth
//! descending, interleaved with records by path, are exactly the depth-first pre-order of the tree:
//! a store that keys nodes by place exports a repo with two merged range scans.
//!
//! # Tricky cases
//!
//! * A node's place can change while its content does not: inserting K directly before an
//!   untouched subtree moves the chain of first children of that subtree from `low` L to K, and
//!   removing K moves it back. [`Changes`] reports such moved nodes as written.
//! * Inserting a key deeper than the root adds a level or several at once, and the old root is
//!   split along the path of the new key; removing it can drop several levels (MST-14).
//! * A node without entries is legal in the middle (MST-4), and illegal at the top and at the
//!   bottom (MST-5), except as the root of an empty tree.
//! * A tree can be partial: its nodes are loaded on demand. Every operation first loads all it
//!   needs and only then changes anything, so a failing one leaves the tree as it was.

mod build;
mod diff;
mod insert;
mod key;
mod node;
mod proof;
mod remove;
mod source;
mod tree;
mod walk;

#[cfg(test)]
pub(crate) mod tests;

pub use self::{
    build::Builder,
    diff::{Diff, KeyDiff},
    key::{DEPTH_MAX, KEY_BYTES_MAX, common_prefix, key_depth},
    node::NODE_ENTRIES_MAX,
    proof::Block,
    source::{NoNodes, NodeSource},
    tree::Tree,
    walk::{Record, Walk},
};

use std::collections::BTreeSet;

use crate::data::Cid;

/// Where a node stands: see the module's terms.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The greatest key before the node that stands deeper; empty when there is none.
    pub low: Vec<u8>,
    /// The depth of the node, 0 at the bottom.
    pub depth: u32,
}

/// A node and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedNode {
    /// Where it stands.
    pub place: Place,
    /// The CID of `block`.
    pub cid: Cid,
    /// The encoded node.
    pub block: Vec<u8>,
}

/// What differs between the tree as opened and as it is now.
///
/// Applied to a map from place to node (first take out what is `vacated`, then put what is
/// `written`), it gives the map of the new tree exactly.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Nodes that are new, or stand at another place than before, children before their parents.
    pub written: Vec<PlacedNode>,
    /// Places that held a node and hold none any more.
    pub vacated: Vec<Place>,
    /// CIDs in `written` that did not exist in the tree as opened (the rest only moved).
    pub new_cids: BTreeSet<Cid>,
}

/// Why a tree cannot be read or changed. `S` is the error of the [`NodeSource`].
#[derive(Debug, thiserror::Error)]
pub enum Error<S = std::convert::Infallible> {
    /// Insert of a key that is there.
    #[error("key {:?} is already in the tree", String::from_utf8_lossy(.0))]
    KeyExists(Vec<u8>),
    /// Update or remove of a key that is not there.
    #[error("key {:?} is not in the tree", String::from_utf8_lossy(.0))]
    KeyMissing(Vec<u8>),
    /// An empty key, or one over [`KEY_BYTES_MAX`].
    #[error("a key is {0} bytes; 1 to {KEY_BYTES_MAX} are allowed")]
    KeyLength(usize),
    /// Keys that should ascend do not.
    #[error("key {:?} does not follow the key before it", String::from_utf8_lossy(.0))]
    KeyOrder(Vec<u8>),
    /// A change would give a node more entries than a reader accepts (MST-11).
    #[error("a node of the tree would pass {NODE_ENTRIES_MAX} entries; use other record keys")]
    NodeFull,
    /// The source does not hold a node that is needed.
    #[error("node {0} is not here")]
    MissingNode(Cid),
    /// A node breaks the rules (MST-10).
    #[error("node {cid} is malformed: {problem}")]
    Malformed {
        /// Which node.
        cid: Cid,
        /// Which rule it breaks.
        problem: &'static str,
    },
    /// The source failed.
    #[error("could not load a node")]
    Source(S),
}
