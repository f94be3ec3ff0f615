//! Remove: the subtrees on both sides of a key grow together.

use std::mem;

use super::{
    Error,
    node::{At, Child, Link, NODE_ENTRIES_MAX, Node, Slot},
    source::NodeSource,
    tree::{Ledger, Places, Tree, loaded},
};
use crate::data::Cid;

impl Tree {
    /// Takes `key` out and returns the CID that it pointed at.
    ///
    /// # Errors
    ///
    /// [`Error::KeyMissing`], [`Error::NodeFull`] when two nodes that must become one hold too
    /// many entries together, or a node that is needed cannot be loaded.
    pub fn remove<S: NodeSource>(&mut self, key: &[u8], source: &mut S) -> Result<Cid, Error<S::Error>> {
        if self.get(key, source)?.is_none() {
            return Err(Error::KeyMissing(key.to_vec()));
        }
        self.load_seam(key, source)?;
        let value = remove_below(&mut self.root, key)?;
        while self.root.entries.is_empty() {
            match self.root.left.take().map(|child| *child) {
                None => {
                    self.root = Node::new(0);
                    break;
                }
                Some(Child::Loaded(child)) => self.root = child,
                Some(Child::Stub(cid)) => return Err(Error::MissingNode(cid)),
            }
        }
        Ok(value)
    }

    /// Loads all that [`Tree::remove`] touches once the path to `key` is loaded.
    fn load_seam<S: NodeSource>(&mut self, key: &[u8], source: &mut S) -> Result<(), Error<S::Error>> {
        let Tree { root, ledger } = self;
        // A root that loses its only entry goes, and what was below it comes to the top.
        let only_entry = root.entries.len() == 1;
        let top = only_entry && root.find(key).is_ok();
        let mut at = At::root(root);
        loop {
            match at.node.find(key) {
                Ok(i) => {
                    return match at.into_slots_around(i) {
                        Some((before, after)) => ledger.load_seam(before, after, top, source),
                        None => Ok(()),
                    };
                }
                Err(i) => match ledger.load(at.into_slot(i), source)? {
                    Some(child) => at = child,
                    None => return Ok(()),
                },
            }
        }
    }
}

impl Ledger {
    /// Loads, level by level, the nodes beside a key that will merge, and those that will only
    /// move: the chain of first children after it. `top`: the merged node becomes the root, so it
    /// is loaded down to a node that has entries.
    fn load_seam<S: NodeSource>(
        &mut self,
        mut before: Slot<'_>,
        mut after: Slot<'_>,
        top: bool,
        source: &mut S,
    ) -> Result<(), Error<S::Error>> {
        loop {
            if after.link.is_none() {
                return if top { self.load_firsts(before, Until::Entries, source) } else { Ok(()) };
            }
            if before.link.is_none() {
                return match self.places {
                    Places::Tracked => self.load_firsts(after, Until::Bottom, source),
                    Places::Ignored if top => self.load_firsts(after, Until::Entries, source),
                    Places::Ignored => Ok(()),
                };
            }
            let (Some(left), Some(right)) = (self.load(before, source)?, self.load(after, source)?) else {
                return Ok(());
            };
            let last = left.node.entries.len();
            if last + right.node.entries.len() > NODE_ENTRIES_MAX {
                return Err(Error::NodeFull);
            }
            before = left.into_slot(last);
            after = right.into_slot(0);
        }
    }

    /// Loads what is in `slot`, its first child, the first child of that, and so on.
    fn load_firsts<S: NodeSource>(
        &mut self,
        mut slot: Slot<'_>,
        until: Until,
        source: &mut S,
    ) -> Result<(), Error<S::Error>> {
        while let Some(at) = self.load(slot, source)? {
            if until == Until::Entries && !at.node.entries.is_empty() {
                break;
            }
            slot = at.into_slot(0);
        }
        Ok(())
    }
}

/// Where a chain of first children stops being of interest.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// At the first node that has entries.
    Entries,
    /// Not before its end.
    Bottom,
}

/// Takes `key` out of the subtree of `node`; children that come to hold nothing go too (MST-5).
fn remove_below<E>(node: &mut Node, key: &[u8]) -> Result<Cid, Error<E>> {
    let value = match node.find(key) {
        Ok(i) => {
            let before = mem::take(node.slot_mut(i));
            let entry = node.entries.remove(i);
            *node.slot_mut(i) = merge(before, entry.right)?;
            entry.value
        }
        Err(i) => {
            let slot = node.slot_mut(i);
            let child = loaded(slot)?.ok_or_else(|| Error::KeyMissing(key.to_vec()))?;
            let value = remove_below(child, key)?;
            if child.is_blank() {
                *slot = None;
            }
            value
        }
    };
    node.cid = None;
    Ok(value)
}

/// Joins two subtrees of one depth, all keys of `before` being less than those of `after`.
fn merge<E>(before: Link, after: Link) -> Result<Link, Error<E>> {
    let (before, after) = match (before, after) {
        (before, None) => return Ok(before),
        (None, after) => return Ok(after),
        (Some(before), Some(after)) => (*before, *after),
    };
    match (before, after) {
        (Child::Stub(cid), _) | (_, Child::Stub(cid)) => Err(Error::MissingNode(cid)),
        (Child::Loaded(mut node), Child::Loaded(after)) => {
            let middle = merge(node.take_last_slot(), after.left)?;
            let last = node.entries.len();
            *node.slot_mut(last) = middle;
            node.entries.extend(after.entries);
            node.cid = None;
            Ok(node.into_link())
        }
    }
}
