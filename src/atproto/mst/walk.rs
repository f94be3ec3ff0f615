//! A walk over all records of a stored tree, in key order.

use super::{
    DEPTH_MAX, Error, Place,
    node::{Child, Entry, Link},
    source::{self, Bounds, NodeSource},
};
use crate::data::Cid;

/// A key and the CID that it points at.
pub type Record = (Vec<u8>, Cid);

/// A depth-first walk in key order over a tree given by the CID of its root.
///
/// Every node is checked as it is opened (MST-10). Memory is constant: one open node for each
/// level. The source sees each node as it is asked for.
pub struct Walk {
    cursor: Cursor,
}

impl Walk {
    /// Starts before the first record.
    pub fn new(root: Cid) -> Walk {
        Walk { cursor: Cursor::new(root) }
    }

    /// The next record in key order: its key and its CID.
    ///
    /// # Errors
    ///
    /// A node that the source does not hold or that is malformed; the walk can be continued only
    /// if the source comes to hold it.
    pub fn next<S: NodeSource>(&mut self, source: &mut S) -> Result<Option<Record>, Error<S::Error>> {
        loop {
            match self.cursor.peek() {
                None => return Ok(None),
                Some(Step::Node { .. }) => self.cursor.open(source)?,
                Some(Step::Record { .. }) => {
                    return Ok(self.cursor.take_record());
                }
            }
        }
    }
}

/// Stands before a node or a record of a stored tree; the one moves into a node or past it.
pub(super) struct Cursor {
    /// The root, until it is opened or passed.
    root: Option<Cid>,
    stack: Vec<Open>,
}

/// A node that the cursor is in.
struct Open {
    depth: u32,
    /// The key before what comes next.
    low: Vec<u8>,
    /// The key that all of this node comes before.
    high: Option<Vec<u8>>,
    child: Link,
    rest: std::vec::IntoIter<Entry>,
}

/// What stands after a cursor.
pub(super) enum Step<'c> {
    /// A node that is not open yet; the depth of a root is not known and counts as the greatest.
    Node { cid: Cid, depth: u32 },
    /// A record.
    Record { key: &'c [u8] },
}

impl Cursor {
    pub(super) fn new(root: Cid) -> Cursor {
        Cursor { root: Some(root), stack: Vec::new() }
    }

    /// What comes next; `None` at the end.
    pub(super) fn peek(&mut self) -> Option<Step<'_>> {
        if let Some(cid) = self.root {
            return Some(Step::Node { cid, depth: DEPTH_MAX });
        }
        while self.stack.last().is_some_and(Open::is_spent) {
            self.stack.pop();
        }
        let open = self.stack.last()?;
        match &open.child {
            Some(child) => {
                let depth = open.depth.saturating_sub(1);
                child.cid().map(|cid| Step::Node { cid, depth })
            }
            None => {
                let entry = open.rest.as_slice().first()?;
                Some(Step::Record { key: &entry.key })
            }
        }
    }

    /// Moves into the node that comes next; does nothing before a record.
    pub(super) fn open<S: NodeSource>(&mut self, source: &mut S) -> Result<(), Error<S::Error>> {
        let node = if let Some(cid) = self.root {
            let place = Place { low: Vec::new(), depth: DEPTH_MAX };
            let node = source::fetch(source, &place, &cid, Bounds::ROOT)?;
            self.root = None;
            (node, Vec::new(), None)
        } else {
            let Some(open) = self.stack.last_mut() else {
                return Ok(());
            };
            let Some(cid) = open.child.as_deref().and_then(Child::cid) else {
                return Ok(());
            };
            let high = open.rest.as_slice().first().map(|entry| &*entry.key);
            let high = high.or(open.high.as_deref()).map(<[u8]>::to_vec);
            let place = Place { low: open.low.clone(), depth: open.depth.saturating_sub(1) };
            let bounds = Bounds { depth: Some(place.depth), low: &place.low, high: high.as_deref() };
            let node = source::fetch(source, &place, &cid, bounds)?;
            open.child = None;
            (node, place.low, high)
        };
        let (node, low, high) = node;
        self.stack.push(Open {
            depth: node.depth,
            low,
            high,
            child: node.left,
            rest: node.entries.into_iter(),
        });
        Ok(())
    }

    /// Moves past the node that comes next without looking into it; does nothing before a record.
    pub(super) fn skip(&mut self) {
        if self.root.take().is_none()
            && let Some(open) = self.stack.last_mut()
        {
            open.child = None;
        }
    }

    /// Moves past the record that comes next; `None` before a node.
    pub(super) fn take_record(&mut self) -> Option<Record> {
        let open = self.stack.last_mut().filter(|open| open.child.is_none())?;
        let entry = open.rest.next()?;
        open.child = entry.right;
        let key = entry.key.into_vec();
        open.low.clone_from(&key);
        Some((key, entry.value))
    }
}

impl Open {
    fn is_spent(&self) -> bool {
        self.child.is_none() && self.rest.as_slice().is_empty()
    }
}
