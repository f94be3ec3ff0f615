//! One node: its shape in memory, and its encoding (MST-6, MST-7).

use std::{iter, mem};

use super::{
    key::{DEPTH_MAX, KEY_BYTES_MAX, common_prefix, key_depth},
    source::Bounds,
};
use crate::data::{Cid, cbor, cid};

/// Entries in one node that a reader accepts (MST-11).
///
/// A run of 1024 keys without a deeper one among them has a chance of about 10^-128: only mined
/// keys get there.
pub const NODE_ENTRIES_MAX: usize = 1024;

/// A node in memory.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) depth: u32,
    /// `None` while the node or one below it has changed since it was last hashed.
    pub(super) cid: Option<Cid>,
    pub(super) left: Link,
    pub(super) entries: Vec<Entry>,
}

/// A key, its value, and the slot after it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Box<[u8]>,
    pub(super) value: Cid,
    pub(super) right: Link,
}

/// What a slot holds.
pub(super) type Link = Option<Box<Child>>;

/// A child, loaded or not.
#[derive(Debug)]
pub(super) enum Child {
    Stub(Cid),
    Loaded(Node),
}

impl Child {
    /// `None`: changed and not hashed yet.
    pub(super) fn cid(&self) -> Option<Cid> {
        match self {
            Child::Stub(cid) => Some(*cid),
            Child::Loaded(node) => node.cid,
        }
    }
}

/// A loaded node and the keys that its position puts around it.
pub(super) struct At<'n> {
    pub(super) node: &'n mut Node,
    /// Its keys come after this one; empty for no bound.
    pub(super) low: &'n [u8],
    /// Its keys come before this one.
    pub(super) high: Option<&'n [u8]>,
}

/// A slot, and the keys that bound what may stand in it.
pub(super) struct Slot<'n> {
    pub(super) link: &'n mut Link,
    /// Depth of what may stand in it.
    pub(super) depth: u32,
    pub(super) low: &'n [u8],
    pub(super) high: Option<&'n [u8]>,
}

impl<'n> At<'n> {
    /// A root has nothing around it.
    pub(super) fn root(node: &'n mut Node) -> At<'n> {
        At { node, low: &[], high: None }
    }

    /// Slot `i`, as [`Node::slot_mut`] counts them.
    pub(super) fn slot(&mut self, i: usize) -> Slot<'_> {
        At { node: &mut *self.node, low: self.low, high: self.high }.into_slot(i)
    }

    /// Slot `i`, for good.
    pub(super) fn into_slot(self, i: usize) -> Slot<'n> {
        let At { node, low, high } = self;
        // A node at depth 0 has no child: decoding refuses one.
        let depth = node.depth.saturating_sub(1);
        let (before, after) = node.entries.split_at_mut(i);
        let high = after.first().map(|entry| &*entry.key).or(high);
        match before.last_mut() {
            Some(Entry { key, right, .. }) => Slot { link: right, depth, low: key, high },
            None => Slot { link: &mut node.left, depth, low, high },
        }
    }

    /// The slots before and after entry `i`. `None`: there is no such entry.
    pub(super) fn into_slots_around(self, i: usize) -> Option<(Slot<'n>, Slot<'n>)> {
        let At { node, low, high } = self;
        let depth = node.depth.saturating_sub(1);
        let (front, back) = node.entries.split_at_mut(i);
        let (entry, back) = back.split_first_mut()?;
        let (link, low) = match front.last_mut() {
            Some(Entry { key, right, .. }) => (right, &**key),
            None => (&mut node.left, low),
        };
        let key = &*entry.key;
        let high = back.first().map(|next| &*next.key).or(high);
        let before = Slot { link, depth, low, high: Some(key) };
        let after = Slot { link: &mut entry.right, depth, low: key, high };
        Some((before, after))
    }
}

impl Node {
    /// A node that holds nothing yet.
    pub(super) fn new(depth: u32) -> Node {
        Node { depth, cid: None, left: None, entries: Vec::new() }
    }

    /// Neither entries nor a child: legal only as the root of an empty tree (MST-5).
    pub(super) fn is_blank(&self) -> bool {
        self.entries.is_empty() && self.left.is_none()
    }

    pub(super) fn into_link(self) -> Link {
        Some(Box::new(Child::Loaded(self)))
    }

    /// `Ok(entry)` that holds `key`, or `Err(slot)` under which it would be.
    pub(super) fn find(&self, key: &[u8]) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| (*entry.key).cmp(key))
    }

    /// Slot 0 is before the first entry, slot i after entry i - 1.
    pub(super) fn slot_mut(&mut self, slot: usize) -> &mut Link {
        match slot.checked_sub(1).and_then(|i| self.entries.get_mut(i)) {
            Some(entry) => &mut entry.right,
            None => &mut self.left,
        }
    }

    /// Lets go of the children in memory, but for the one in slot `kept`. All of them have been
    /// hashed.
    pub(super) fn unload_all_but(&mut self, kept: Option<usize>) {
        let slots = iter::once(&mut self.left).chain(self.entries.iter_mut().map(|entry| &mut entry.right));
        for (slot, child) in slots.enumerate() {
            if let Some(child) = child.as_deref_mut()
                && Some(slot) != kept
                && let Some(cid) = child.cid()
            {
                *child = Child::Stub(cid);
            }
        }
    }

    /// Empties the last slot and gives what was in it.
    pub(super) fn take_last_slot(&mut self) -> Link {
        mem::take(self.slot_mut(self.entries.len()))
    }

    /// The block of this node. `None` when a child has no CID yet.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let mut encoder = NodeEncoder::new(self.entries.len(), self.key_bytes());
        for entry in &self.entries {
            encoder.entry(&entry.key, &entry.value, link_cid(&entry.right)?.as_ref());
        }
        Some(encoder.finish(link_cid(&self.left)?.as_ref()))
    }

    fn key_bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.key.len()).sum()
    }

    /// Decodes strictly: canonical CBOR, exactly the fields of MST-6, full prefix compression
    /// (MST-7), ascending keys (MST-9) within `bounds`, all of the one depth (MST-3), no child
    /// under the bottom, none but blessed child links (CID-3). The hash is not checked here.
    pub(super) fn decode(cid: Cid, block: &[u8], bounds: Bounds<'_>) -> Result<Node, &'static str> {
        let mut reader = cbor::Reader::new(block);
        expect_map(&mut reader, 2)?;
        expect_field(&mut reader, "e")?;
        let count = reader.array().map_err(|_| "`e` is not an array")?;
        if count > NODE_ENTRIES_MAX {
            return Err("it has too many entries");
        }
        let mut depth = bounds.depth;
        let mut entries: Vec<Entry> = Vec::with_capacity(count);
        for _ in 0..count {
            let previous = entries.last().map(|entry| &*entry.key);
            let entry = decode_entry(&mut reader, previous)?;
            let key_depth = key_depth(&entry.key);
            if *depth.get_or_insert(key_depth) != key_depth {
                return Err("a key stands at the wrong depth");
            }
            if previous.unwrap_or(bounds.low) >= &*entry.key {
                return Err("keys do not ascend");
            }
            entries.push(entry);
        }
        expect_field(&mut reader, "l")?;
        let left = decode_child(&mut reader)?;
        reader.finish().map_err(|_| "bytes follow it")?;

        let node = Node { depth: depth.unwrap_or(0), cid: Some(cid), left, entries };
        node.check(bounds)?;
        Ok(node)
    }

    /// What can be said only once the whole node is read.
    fn check(&self, bounds: Bounds<'_>) -> Result<(), &'static str> {
        if let (Some(high), Some(last)) = (bounds.high, self.entries.last())
            && &*last.key >= high
        {
            return Err("a key passes the key after the node");
        }
        if self.entries.is_empty() && (bounds.depth.is_some() == self.left.is_none()) {
            return Err("it has no entries where it must have some");
        }
        let has_child = self.left.is_some() || self.entries.iter().any(|e| e.right.is_some());
        if self.depth == 0 && has_child {
            return Err("a node at the bottom has a child");
        }
        debug_assert!(self.depth <= DEPTH_MAX);
        Ok(())
    }
}

fn decode_entry(reader: &mut cbor::Reader<'_>, previous: Option<&[u8]>) -> Result<Entry, &'static str> {
    expect_map(reader, 4)?;
    expect_field(reader, "k")?;
    let rest = reader.bytes().map_err(|_| "`k` is not bytes")?;
    expect_field(reader, "p")?;
    let prefix_len = reader.integer().map_err(|_| "`p` is not an integer")?;
    let previous = previous.unwrap_or(&[]);
    let shared = usize::try_from(prefix_len).ok().and_then(|p| previous.get(..p));
    let shared = shared.ok_or("`p` is more than the previous key has")?;
    if rest.first().is_some_and(|byte| previous.get(shared.len()) == Some(byte)) {
        return Err("a key shares more with the previous one than `p` says");
    }
    if shared.len() + rest.len() > KEY_BYTES_MAX {
        return Err("a key is too long");
    }
    let mut key = Vec::with_capacity(shared.len() + rest.len());
    key.extend_from_slice(shared);
    key.extend_from_slice(rest);
    expect_field(reader, "t")?;
    let right = decode_child(reader)?;
    expect_field(reader, "v")?;
    let value = reader.link().map_err(|_| "`v` is not a link")?;
    Ok(Entry { key: key.into_boxed_slice(), value, right })
}

fn decode_child(reader: &mut cbor::Reader<'_>) -> Result<Link, &'static str> {
    match reader.nullable_link().map_err(|_| "a child is neither a link nor null")? {
        Some(child) if child.codec() != cid::CODEC_DAG_CBOR || !cid::is_blessed(&child) => {
            Err("the link of a child has an unusual form")
        }
        child => Ok(child.map(|child| Box::new(Child::Stub(child)))),
    }
}

fn expect_map(reader: &mut cbor::Reader<'_>, fields: usize) -> Result<(), &'static str> {
    match reader.map() {
        Ok(n) if n == fields => Ok(()),
        _ => Err("it is not a map of the right size"),
    }
}

fn expect_field(reader: &mut cbor::Reader<'_>, name: &str) -> Result<(), &'static str> {
    match reader.text() {
        Ok(found) if found == name => Ok(()),
        _ => Err("it has a wrong field"),
    }
}

/// Outer `None`: there is a child and it has no CID yet.
fn link_cid(link: &Link) -> Option<Option<Cid>> {
    match link {
        None => Some(None),
        Some(child) => child.cid().map(Some),
    }
}

/// Encodes a node entry by entry, with full prefix compression.
pub(super) struct NodeEncoder<'k> {
    writer: cbor::Writer,
    previous: &'k [u8],
}

impl<'k> NodeEncoder<'k> {
    /// `entries` exactly; `key_bytes` is a guess at the space for the keys.
    pub(super) fn new(entries: usize, key_bytes: usize) -> NodeEncoder<'k> {
        // An entry is at most 102 bytes besides its key, the frame of the node at most 53.
        let mut writer = cbor::Writer::with_capacity(56 + entries * 104 + key_bytes);
        writer.map(2).text("e").array(entries as u64);
        NodeEncoder { writer, previous: &[] }
    }

    pub(super) fn entry(&mut self, key: &'k [u8], value: &Cid, right: Option<&Cid>) {
        let shared = common_prefix(self.previous, key);
        let rest = key.get(shared..).unwrap_or_default();
        self.writer.map(4).text("k").bytes(rest).text("p").integer(shared as i64);
        self.writer.text("t").nullable_link(right).text("v").link(value);
        self.previous = key;
    }

    pub(super) fn finish(mut self, left: Option<&Cid>) -> Vec<u8> {
        self.writer.text("l").nullable_link(left);
        self.writer.finish()
    }
}
