//! Where nodes come from, and the checked way in.

use std::{collections::BTreeMap, convert::Infallible};

use super::{Error, Place, node::Node};
use crate::data::{Cid, cid};

/// Gives nodes of a tree that is not in memory.
pub trait NodeSource {
    /// Why a node could not be read.
    type Error;

    /// The block of the node `cid`, which stands at `place`. `Ok(None)`: not held here.
    ///
    /// Either argument is enough to find it. Nothing about the block need be checked: the tree
    /// checks its hash and its form. The depth of a root is not known before it is read, so a
    /// [`Walk`](super::Walk) or [`Diff`](super::Diff) asks for its root at
    /// [`DEPTH_MAX`](super::DEPTH_MAX); answer by CID there.
    fn node(&mut self, place: &Place, cid: &Cid) -> Result<Option<Vec<u8>>, Self::Error>;
}

/// A source that holds nothing: the whole tree is in memory.
pub struct NoNodes;

impl NodeSource for NoNodes {
    type Error = Infallible;

    fn node(&mut self, _place: &Place, _cid: &Cid) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(None)
    }
}

/// Blocks by CID, as in a CAR slice.
impl NodeSource for &BTreeMap<Cid, Vec<u8>> {
    type Error = Infallible;

    fn node(&mut self, _place: &Place, cid: &Cid) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.get(cid).cloned())
    }
}

/// What the position of a node demands of its keys: all of one depth, and all between two others.
#[derive(Clone, Copy)]
pub(super) struct Bounds<'a> {
    /// Depth of the node; `None` for a root, whose first key decides.
    pub(super) depth: Option<u32>,
    /// Keys come after this one; empty for no bound.
    pub(super) low: &'a [u8],
    /// Keys come before this one.
    pub(super) high: Option<&'a [u8]>,
}

impl Bounds<'_> {
    /// Those of a root.
    pub(super) const ROOT: Bounds<'static> = Bounds { depth: None, low: &[], high: None };
}

/// Fetches, checks and decodes one node.
pub(super) fn fetch<S: NodeSource>(
    source: &mut S,
    place: &Place,
    cid: &Cid,
    bounds: Bounds<'_>,
) -> Result<Node, Error<S::Error>> {
    let block = source.node(place, cid).map_err(Error::Source)?.ok_or(Error::MissingNode(*cid))?;
    open(cid, &block, bounds)
}

/// Checks and decodes one node that is at hand.
pub(super) fn open<E>(cid: &Cid, block: &[u8], bounds: Bounds<'_>) -> Result<Node, Error<E>> {
    if !cid::matches(cid, block) {
        return Err(Error::Malformed { cid: *cid, problem: "its block has another hash" });
    }
    Node::decode(*cid, block, bounds).map_err(|problem| Error::Malformed { cid: *cid, problem })
}
