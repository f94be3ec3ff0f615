//! The tree in memory, whole or partial: opening, loading, reading, and what changed.

use std::collections::BTreeSet;

use super::{
    Changes, Error, Place, PlacedNode,
    key::KEY_BYTES_MAX,
    node::{At, Child, Link, Node, Slot},
    source::{self, Bounds, NodeSource},
};
use crate::data::{Cid, cid};

/// A Merkle search tree, of which at least the root is in memory.
///
/// Nodes are loaded from the [`NodeSource`] handed to each call, are checked then (MST-10), and
/// stay loaded. When a call fails the tree holds the same keys as before it.
///
/// Memory grows with the nodes that were touched; recursion is bounded by the depth of the tree,
/// at most [`DEPTH_MAX`](super::DEPTH_MAX).
#[derive(Debug)]
pub struct Tree {
    pub(super) root: Node,
    pub(super) ledger: Ledger,
}

/// What is known about the tree as it was opened.
///
/// A node that is not loaded stands where it stood then, so every loaded one is entered here with
/// the place it had.
#[derive(Debug)]
pub(super) struct Ledger {
    loaded: Vec<(Place, Cid)>,
    pub(super) places: Places,
}

/// Whether the tree keeps track of places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Places {
    /// Nodes that move are loaded, so that [`Tree::changes`] can report them.
    Tracked,
    /// Only the root hash is wanted, and fewer nodes are needed for it.
    Ignored,
}

impl Tree {
    /// A tree without keys that does not exist anywhere yet.
    pub fn empty() -> Tree {
        let ledger = Ledger { loaded: Vec::new(), places: Places::Tracked };
        Tree { root: Node::new(0), ledger }
    }

    /// Opens a tree by its root node. Children load from the source handed to each call.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] when the block has another hash or is not a legal root.
    pub fn open(root: Cid, root_block: &[u8]) -> Result<Tree, Error> {
        let node = source::open(&root, root_block, Bounds::ROOT)?;
        let place = Place { low: Vec::new(), depth: node.depth };
        let ledger = Ledger { loaded: vec![(place, root)], places: Places::Tracked };
        Ok(Tree { root: node, ledger })
    }

    /// As [`Tree::open`], for a tree whose root hash is all that will be asked: an inversion
    /// (SY-9). The source is asked for no node that only moves, so fewer suffice, and
    /// [`Tree::changes`] may be incomplete.
    ///
    /// # Errors
    ///
    /// As [`Tree::open`].
    pub fn open_for_root_only(root: Cid, root_block: &[u8]) -> Result<Tree, Error> {
        let mut tree = Tree::open(root, root_block)?;
        tree.ledger.places = Places::Ignored;
        Ok(tree)
    }

    /// The CID at `key`.
    pub fn get<S: NodeSource>(&mut self, key: &[u8], source: &mut S) -> Result<Option<Cid>, Error<S::Error>> {
        let mut at = At::root(&mut self.root);
        loop {
            match at.node.find(key) {
                Ok(i) => return Ok(at.node.entries.get(i).map(|entry| entry.value)),
                Err(i) => match self.ledger.load(at.into_slot(i), source)? {
                    Some(child) => at = child,
                    None => return Ok(None),
                },
            }
        }
    }

    /// Points `key`, which is there, at `value`. Returns the CID that it pointed at.
    ///
    /// # Errors
    ///
    /// [`Error::KeyMissing`], or a node of the path that cannot be loaded.
    pub fn update<S: NodeSource>(
        &mut self,
        key: &[u8],
        value: Cid,
        source: &mut S,
    ) -> Result<Cid, Error<S::Error>> {
        match self.get(key, source)? {
            None => Err(Error::KeyMissing(key.to_vec())),
            Some(before) if before == value => Ok(before),
            Some(_) => replace(&mut self.root, key, value),
        }
    }

    /// The CID of the root node, which names the contents of the whole tree.
    ///
    /// Hashes what changed since the last call and nothing else.
    pub fn root(&mut self) -> Cid {
        finish(&mut self.root)
    }

    /// All that changed since the tree was opened (or made empty: then the empty root counts as
    /// not existing).
    pub fn changes(&mut self) -> Changes {
        let mut survey = Survey::new(&self.ledger.loaded);
        survey.visit(&mut self.root, &[]);
        survey.finish()
    }

    /// Takes the tree as it is now for the tree as it was opened: the caller has stored its
    /// [`Changes`]. Of the nodes in memory only those on the path to `key`, or to where it would
    /// be, stay there: the next change is likely to need them. Returns how many entries they have.
    pub fn settle(&mut self, key: &[u8]) -> usize {
        self.root();
        self.ledger.loaded.clear();
        let mut entries = 0;
        let mut at = At::root(&mut self.root);
        loop {
            entries += at.node.entries.len();
            let kept = at.node.find(key).err();
            at.node.unload_all_but(kept);
            if let Some(cid) = at.node.cid {
                let place = Place { low: at.low.to_vec(), depth: at.node.depth };
                self.ledger.loaded.push((place, cid));
            }
            let Some(i) = kept else { return entries };
            let Slot { link, low, high, .. } = at.into_slot(i);
            match link.as_deref_mut() {
                Some(Child::Loaded(node)) => at = At { node, low, high },
                _ => return entries,
            }
        }
    }

    /// Where the nodes in memory stood when the tree was opened or last settled.
    pub fn loaded_places(&self) -> impl Iterator<Item = &Place> {
        self.ledger.loaded.iter().map(|(place, _)| place)
    }
}

impl Ledger {
    /// Loads what is in `slot`. `None`: it is empty.
    pub(super) fn load<'n, S: NodeSource>(
        &mut self,
        slot: Slot<'n>,
        source: &mut S,
    ) -> Result<Option<At<'n>>, Error<S::Error>> {
        let Slot { link: Some(child), depth, low, high } = slot else {
            return Ok(None);
        };
        if let Child::Stub(cid) = **child {
            let place = Place { low: low.to_vec(), depth };
            let bounds = Bounds { depth: Some(depth), low, high };
            **child = Child::Loaded(source::fetch(source, &place, &cid, bounds)?);
            self.loaded.push((place, cid));
        }
        match &mut **child {
            Child::Loaded(node) => Ok(Some(At { node, low, high })),
            Child::Stub(cid) => Err(Error::MissingNode(*cid)),
        }
    }
}

/// The loaded node in `link`. `None`: nothing is there. The operations load first, so a node that
/// is not loaded is not met here; the error keeps that from being an assumption.
pub(super) fn loaded<E>(link: &mut Link) -> Result<Option<&mut Node>, Error<E>> {
    match link.as_deref_mut() {
        None => Ok(None),
        Some(Child::Loaded(node)) => Ok(Some(node)),
        Some(Child::Stub(cid)) => Err(Error::MissingNode(*cid)),
    }
}

/// Refuses keys that no reader accepts.
pub(super) fn check_key<E>(key: &[u8]) -> Result<(), Error<E>> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(Error::KeyLength(key.len()));
    }
    Ok(())
}

/// Replaces the value of a key whose path is loaded.
fn replace<E>(node: &mut Node, key: &[u8], value: Cid) -> Result<Cid, Error<E>> {
    let missing = || Error::KeyMissing(key.to_vec());
    let before = match node.find(key) {
        Ok(i) => {
            let entry = node.entries.get_mut(i).ok_or_else(missing)?;
            std::mem::replace(&mut entry.value, value)
        }
        Err(i) => replace(loaded(node.slot_mut(i))?.ok_or_else(missing)?, key, value)?,
    };
    node.cid = None;
    Ok(before)
}

/// Gives every changed node at and below `node` its CID.
fn finish(node: &mut Node) -> Cid {
    if let Some(cid) = node.cid {
        return cid;
    }
    for_each_loaded(node, |child| {
        finish(child);
    });
    seal(node).0
}

/// The CID and block of a node whose children all have theirs.
fn seal(node: &mut Node) -> (Cid, Vec<u8>) {
    // `None` is out of reach: the callers have just finished every child.
    let block = node.encode().unwrap_or_default();
    let cid = *node.cid.get_or_insert_with(|| cid::for_cbor(&block));
    (cid, block)
}

fn for_each_loaded(node: &mut Node, mut visit: impl FnMut(&mut Node)) {
    let slots = std::iter::once(&mut node.left).chain(node.entries.iter_mut().map(|e| &mut e.right));
    for child in slots.flatten() {
        if let Child::Loaded(child) = &mut **child {
            visit(child);
        }
    }
}

/// Compares the loaded nodes with what the ledger says of the tree as it was opened.
struct Survey<'l> {
    /// Sorted by place; with whether a node stands there now.
    before: Vec<(&'l Place, &'l Cid, bool)>,
    cids_before: BTreeSet<&'l Cid>,
    changes: Changes,
}

impl<'l> Survey<'l> {
    fn new(loaded: &'l [(Place, Cid)]) -> Survey<'l> {
        let mut before: Vec<_> = loaded.iter().map(|(place, cid)| (place, cid, false)).collect();
        before.sort_unstable_by_key(|(place, ..)| *place);
        let cids_before = loaded.iter().map(|(_, cid)| cid).collect();
        Survey { before, cids_before, changes: Changes::default() }
    }

    /// Children first, so that they have their CIDs.
    fn visit(&mut self, node: &mut Node, low: &[u8]) {
        let mut child_low = low;
        if let Some(Child::Loaded(child)) = node.left.as_deref_mut() {
            self.visit(child, child_low);
        }
        for entry in &mut node.entries {
            child_low = &entry.key;
            if let Some(Child::Loaded(child)) = entry.right.as_deref_mut() {
                self.visit(child, child_low);
            }
        }
        self.record(node, low);
    }

    fn record(&mut self, node: &mut Node, low: &[u8]) {
        let at = (low, node.depth);
        let found = self.before.binary_search_by(|(place, ..)| (&*place.low, place.depth).cmp(&at));
        if let Some((_, cid, occupied)) = found.ok().and_then(|i| self.before.get_mut(i)) {
            *occupied = true;
            if node.cid.as_ref() == Some(*cid) {
                return;
            }
            let (sealed, block) = seal(node);
            if sealed == **cid {
                return;
            }
            self.write(node.depth, low, sealed, block);
        } else {
            let (sealed, block) = seal(node);
            self.write(node.depth, low, sealed, block);
        }
    }

    fn write(&mut self, depth: u32, low: &[u8], cid: Cid, block: Vec<u8>) {
        if !self.cids_before.contains(&cid) {
            self.changes.new_cids.insert(cid);
        }
        let place = Place { low: low.to_vec(), depth };
        self.changes.written.push(PlacedNode { place, cid, block });
    }

    fn finish(mut self) -> Changes {
        let vacated = self.before.into_iter().filter(|(.., occupied)| !occupied);
        self.changes.vacated = vacated.map(|(place, ..)| place.clone()).collect();
        self.changes
    }
}
