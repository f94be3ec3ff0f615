//! A tree from its keys in ascending order, in constant memory.

use super::{
    Error, Place, PlacedNode,
    key::key_depth,
    node::{NODE_ENTRIES_MAX, NodeEncoder},
    tree::check_key,
};
use crate::data::{Cid, cid};

/// Builds a tree from keys in ascending order and hands each node to `emit` as it is finished,
/// children before their parents.
///
/// Holds one unfinished node for each level, no finished one.
#[derive(Default)]
pub struct Builder {
    /// The unfinished node of each depth.
    levels: Vec<Level>,
    last_key: Vec<u8>,
}

#[derive(Default)]
struct Level {
    left: Option<Cid>,
    entries: Vec<Finished>,
}

struct Finished {
    key: Vec<u8>,
    value: Cid,
    right: Option<Cid>,
}

impl Builder {
    /// Starts with no keys.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Adds the next key.
    ///
    /// # Errors
    ///
    /// [`Error::KeyOrder`] when `key` does not follow the one before, [`Error::KeyLength`], and
    /// [`Error::NodeFull`] when a node passes [`NODE_ENTRIES_MAX`].
    pub fn push(&mut self, key: &[u8], value: Cid, emit: &mut impl FnMut(PlacedNode)) -> Result<(), Error> {
        check_key(key)?;
        if key <= &*self.last_key {
            return Err(Error::KeyOrder(key.to_vec()));
        }
        let depth = key_depth(key) as usize;
        if self.levels.len() <= depth {
            self.levels.resize_with(depth + 1, Level::default);
        }
        self.close_below(depth, emit);
        if let Some(level) = self.levels.get_mut(depth) {
            if level.entries.len() >= NODE_ENTRIES_MAX {
                return Err(Error::NodeFull);
            }
            level.entries.push(Finished { key: key.to_vec(), value, right: None });
        }
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        Ok(())
    }

    /// Finishes all nodes and returns the CID of the root. A tree without keys is one empty node.
    pub fn finish(mut self, emit: &mut impl FnMut(PlacedNode)) -> Cid {
        let top = self.levels.len().saturating_sub(1);
        self.close_below(top, emit);
        let mut levels = self.levels;
        let root = levels.pop().unwrap_or_default();
        let block = root.encode();
        let cid = cid::for_cbor(&block);
        emit(PlacedNode { place: Place { low: Vec::new(), depth: top as u32 }, cid, block });
        cid
    }

    /// Finishes the open nodes below `depth`, each becoming the last child of the one above.
    fn close_below(&mut self, depth: usize, emit: &mut impl FnMut(PlacedNode)) {
        for at in 0..depth {
            let (below, above) = self.levels.split_at_mut(at + 1);
            let Some(level) = below.last_mut().filter(|level| !level.is_blank()) else {
                continue;
            };
            let block = level.encode();
            level.left = None;
            level.entries.clear();
            let cid = cid::for_cbor(&block);
            // An open node above was begun after any other that stands higher, so the nearest one
            // with entries has the greatest key.
            let last = above.iter().find_map(|level| level.entries.last());
            let low = last.map(|entry| entry.key.clone()).unwrap_or_default();
            emit(PlacedNode { place: Place { low, depth: at as u32 }, cid, block });
            if let Some(parent) = above.first_mut() {
                match parent.entries.last_mut() {
                    Some(entry) => entry.right = Some(cid),
                    None => parent.left = Some(cid),
                }
            }
        }
    }
}

impl Level {
    fn is_blank(&self) -> bool {
        self.left.is_none() && self.entries.is_empty()
    }

    fn encode(&self) -> Vec<u8> {
        let key_bytes = self.entries.iter().map(|entry| entry.key.len()).sum();
        let mut encoder = NodeEncoder::new(self.entries.len(), key_bytes);
        for entry in &self.entries {
            encoder.entry(&entry.key, &entry.value, entry.right.as_ref());
        }
        encoder.finish(self.left.as_ref())
    }
}
