//! Insert: a key cuts the subtree under it in two.

use std::mem;

use super::{
    Error,
    key::key_depth,
    node::{Child, Entry, Link, NODE_ENTRIES_MAX, Node},
    source::NodeSource,
    tree::{Tree, check_key, loaded},
};
use crate::data::Cid;

impl Tree {
    /// Adds `key`, which must not be there.
    ///
    /// # Errors
    ///
    /// [`Error::KeyExists`], [`Error::KeyLength`], [`Error::NodeFull`], or a node of the path that
    /// cannot be loaded.
    pub fn insert<S: NodeSource>(
        &mut self,
        key: &[u8],
        value: Cid,
        source: &mut S,
    ) -> Result<(), Error<S::Error>> {
        check_key(key)?;
        // This loads the path to the bottom, past the depth of the key: the nodes there are
        // split, or get the key for their `low`.
        if self.get(key, source)?.is_some() {
            return Err(Error::KeyExists(key.to_vec()));
        }
        let depth = key_depth(key);
        if depth > self.root.depth {
            let old = mem::replace(&mut self.root, Node::new(depth));
            self.root.left = raise(old, depth.saturating_sub(1));
        }
        insert_below(&mut self.root, key, depth, value)
    }
}

/// Adds `key` to the subtree of `node`, which stands at `depth` or higher.
fn insert_below<E>(node: &mut Node, key: &[u8], depth: u32, value: Cid) -> Result<(), Error<E>> {
    let Err(i) = node.find(key) else {
        return Err(Error::KeyExists(key.to_vec()));
    };
    if node.depth > depth {
        let child_depth = node.depth.saturating_sub(1);
        let slot = node.slot_mut(i);
        if slot.is_none() {
            *slot = Node::new(child_depth).into_link();
        }
        if let Some(child) = loaded(slot)? {
            insert_below(child, key, depth, value)?;
        }
    } else {
        if node.entries.len() >= NODE_ENTRIES_MAX {
            return Err(Error::NodeFull);
        }
        let (before, after) = split(mem::take(node.slot_mut(i)), key)?;
        *node.slot_mut(i) = before;
        node.entries.insert(i, Entry { key: key.into(), value, right: after });
    }
    node.cid = None;
    Ok(())
}

/// Cuts a subtree into what comes before `key` and what comes after. A half that is the whole
/// keeps its nodes as they are.
fn split<E>(link: Link, key: &[u8]) -> Result<(Link, Link), Error<E>> {
    let mut node = match link.map(|child| *child) {
        None => return Ok((None, None)),
        Some(Child::Stub(cid)) => return Err(Error::MissingNode(cid)),
        Some(Child::Loaded(node)) => node,
    };
    let Err(i) = node.find(key) else {
        return Err(Error::KeyExists(key.to_vec()));
    };
    let (before, after) = split(mem::take(node.slot_mut(i)), key)?;
    if i == node.entries.len() && after.is_none() {
        *node.slot_mut(i) = before;
        return Ok((node.into_link(), None));
    }
    if i == 0 && before.is_none() {
        node.left = after;
        return Ok((None, node.into_link()));
    }
    let mut rest = Node::new(node.depth);
    rest.left = after;
    rest.entries = node.entries.split_off(i);
    *node.slot_mut(i) = before;
    node.cid = None;
    Ok((node.into_link(), rest.into_link()))
}

/// Stands `node` under as many nodes without entries as bring it to `depth` (MST-4).
fn raise(node: Node, depth: u32) -> Link {
    if node.is_blank() {
        return None;
    }
    let mut top = node;
    while top.depth < depth {
        let mut above = Node::new(top.depth + 1);
        above.left = top.into_link();
        top = above;
    }
    top.into_link()
}
