//! What differs between two stored trees.

use std::cmp::Ordering;

use super::{
    Error,
    source::NodeSource,
    walk::{Cursor, Record, Step},
};
use crate::data::Cid;

/// How two trees differ at one key. Never the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDiff {
    /// The key.
    pub key: Vec<u8>,
    /// Its CID in the first tree.
    pub before: Option<Cid>,
    /// Its CID in the second tree.
    pub after: Option<Cid>,
}

/// A walk over two trees at once that passes over the subtrees which both have.
///
/// Memory is constant. The source must hold the nodes that only one of the trees has; of those in
/// both it is asked for a few.
pub struct Diff {
    before: Cursor,
    after: Cursor,
}

/// What to do next.
enum Move {
    Skip,
    Open { before: bool, after: bool },
    Take { before: bool, after: bool },
    End,
}

impl Diff {
    /// Compares the trees with these roots.
    pub fn new(before: Cid, after: Cid) -> Diff {
        Diff { before: Cursor::new(before), after: Cursor::new(after) }
    }

    /// The next difference in key order.
    ///
    /// # Errors
    ///
    /// A node that the source does not hold or that is malformed.
    pub fn next<S: NodeSource>(&mut self, source: &mut S) -> Result<Option<KeyDiff>, Error<S::Error>> {
        loop {
            match choose(self.before.peek(), self.after.peek()) {
                Move::End => return Ok(None),
                Move::Skip => {
                    self.before.skip();
                    self.after.skip();
                }
                Move::Open { before, after } => {
                    if before {
                        self.before.open(source)?;
                    }
                    if after {
                        self.after.open(source)?;
                    }
                }
                Move::Take { before, after } => {
                    let before = if before { self.before.take_record() } else { None };
                    let after = if after { self.after.take_record() } else { None };
                    if let Some(diff) = key_diff(before, after) {
                        return Ok(Some(diff));
                    }
                }
            }
        }
    }
}

/// Nodes are opened before records are compared: the deeper one first, so that both sides come to
/// stand before the same subtree where there is one.
fn choose(before: Option<Step<'_>>, after: Option<Step<'_>>) -> Move {
    match (before, after) {
        (None, None) => Move::End,
        (Some(Step::Node { cid: b, depth: b_depth }), Some(Step::Node { cid: a, depth: a_depth })) => {
            if b == a {
                return Move::Skip;
            }
            Move::Open { before: b_depth >= a_depth, after: a_depth >= b_depth }
        }
        (Some(Step::Node { .. }), _) => Move::Open { before: true, after: false },
        (_, Some(Step::Node { .. })) => Move::Open { before: false, after: true },
        (Some(Step::Record { .. }), None) => Move::Take { before: true, after: false },
        (None, Some(Step::Record { .. })) => Move::Take { before: false, after: true },
        (Some(Step::Record { key: b }), Some(Step::Record { key: a })) => {
            let order = b.cmp(a);
            Move::Take { before: order != Ordering::Greater, after: order != Ordering::Less }
        }
    }
}

fn key_diff(before: Option<Record>, after: Option<Record>) -> Option<KeyDiff> {
    let (before, after) = match (before, after) {
        (Some((_, b)), Some((_, a))) if b == a => return None,
        sides => sides,
    };
    let (before_cid, after_cid) = (before.as_ref().map(|b| b.1), after.as_ref().map(|a| a.1));
    let (key, _) = before.or(after)?;
    Some(KeyDiff { key, before: before_cid, after: after_cid })
}
