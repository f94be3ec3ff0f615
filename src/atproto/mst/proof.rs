//! Proofs: the nodes that show a key to be there or not (MST-16), and those that let a consumer of
//! the firehose undo a change (SY-8, SY-9).

use std::collections::BTreeMap;

use super::{
    Error,
    node::{At, Node, Slot},
    source::NodeSource,
    tree::{Ledger, Tree},
};
use crate::data::Cid;

/// An encoded node and its CID.
pub type Block = (Cid, Vec<u8>);

impl Tree {
    /// Nodes on the path to `key` or to where it would be (MST-16), root first.
    ///
    /// For a key that is not there the path goes to the bottom, so that a reader who does not
    /// compute depths can follow it.
    ///
    /// # Errors
    ///
    /// A node of the path that cannot be loaded.
    pub fn path_proof<S: NodeSource>(
        &mut self,
        key: &[u8],
        source: &mut S,
    ) -> Result<Vec<Block>, Error<S::Error>> {
        self.root();
        let mut path = Vec::new();
        let mut at = At::root(&mut self.root);
        loop {
            path.extend(at.node.cid.zip(at.node.encode()));
            let Err(i) = at.node.find(key) else {
                return Ok(path);
            };
            match self.ledger.load(at.into_slot(i), source)? {
                Some(child) => at = child,
                None => return Ok(path),
            }
        }
    }

    /// Adds to `proof` the nodes on the paths to `key` (or to where it would be) and to its left
    /// and right neighbours, in the tree as it is now. Nodes that are in `proof` already are not
    /// encoded again.
    ///
    /// # Errors
    ///
    /// A node of the paths that cannot be loaded.
    pub fn covering_proof<S: NodeSource>(
        &mut self,
        key: &[u8],
        proof: &mut BTreeMap<Cid, Vec<u8>>,
        source: &mut S,
    ) -> Result<(), Error<S::Error>> {
        self.root();
        let mut at = At::root(&mut self.root);
        loop {
            add(proof, at.node);
            match at.node.find(key) {
                Ok(i) => {
                    self.ledger.add_edge(at.slot(i), Edge::Last, proof, source)?;
                    return self.ledger.add_edge(at.slot(i + 1), Edge::First, proof, source);
                }
                // The path of a key that is not there passes both of its neighbours.
                Err(i) => match self.ledger.load(at.into_slot(i), source)? {
                    Some(child) => at = child,
                    None => return Ok(()),
                },
            }
        }
    }

    /// Adds the root node to `proof`.
    pub(crate) fn root_proof(&mut self, proof: &mut BTreeMap<Cid, Vec<u8>>) {
        self.root();
        add(proof, &self.root);
    }
}

/// One side of a subtree: the nodes on the path to its first or to its last key.
#[derive(Clone, Copy)]
enum Edge {
    First,
    Last,
}

impl Ledger {
    fn add_edge<S: NodeSource>(
        &mut self,
        mut slot: Slot<'_>,
        edge: Edge,
        proof: &mut BTreeMap<Cid, Vec<u8>>,
        source: &mut S,
    ) -> Result<(), Error<S::Error>> {
        while let Some(at) = self.load(slot, source)? {
            add(proof, at.node);
            let i = match edge {
                Edge::First => 0,
                Edge::Last => at.node.entries.len(),
            };
            slot = at.into_slot(i);
        }
        Ok(())
    }
}

/// The callers have hashed the tree, so the node has its CID and so have its children.
fn add(proof: &mut BTreeMap<Cid, Vec<u8>>, node: &Node) {
    if let Some(cid) = node.cid
        && !proof.contains_key(&cid)
        && let Some(block) = node.encode()
    {
        proof.insert(cid, block);
    }
}
