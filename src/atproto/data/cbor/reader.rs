//! Reading CBOR that must be canonical, one item at a time.

use super::{
    Error, MAJOR_ARRAY, MAJOR_BYTES, MAJOR_MAP, MAJOR_NEGATIVE, MAJOR_SIMPLE, MAJOR_TAG, MAJOR_TEXT,
    MAJOR_UNSIGNED, NULL, Problem, TAG_LINK,
};
use crate::data::{
    CONTAINER_ELEMENTS_MAX, Cid, DEPTH_MAX, MAP_KEY_BYTES_MAX, Map, Value,
    cid::{self, CID_BYTES_MAX},
    value::key_order,
};

/// Elements that room is made for before they are read: a short input can announce many at each
/// of its levels, and a `Value` is far larger than the byte that stands for it.
const PREALLOCATED_ELEMENTS_MAX: usize = 64;

/// Reads strict items one after the other, borrowing from the input.
///
/// Each method reads one item of one kind and fails on any other; on failure the position is
/// unspecified. Container methods read the head only: as many items, or keys and values, follow.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// A value without what a container holds: as many items, or keys and items, follow.
pub(in crate::data) enum Item<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    Text(&'a str),
    Bytes(&'a [u8]),
    Link(Cid),
    Array(usize),
    Map(usize),
}

/// The first part of an item: its major type and number, and where it began.
#[derive(Clone, Copy)]
struct Head {
    at: usize,
    major: u8,
    n: u64,
}

impl Head {
    fn fail<T>(self, problem: Problem) -> Result<T, Error> {
        Err(Error { at: self.at, problem })
    }

    fn kind(self) -> &'static str {
        match self.major {
            MAJOR_UNSIGNED | MAJOR_NEGATIVE => "an integer",
            MAJOR_BYTES => "a byte string",
            MAJOR_TEXT => "text",
            MAJOR_ARRAY => "an array",
            MAJOR_MAP => "a map",
            MAJOR_TAG => "a link",
            _ if self.n == 22 => "null",
            _ => "a boolean",
        }
    }

    fn integer(self) -> Result<i64, Error> {
        match i64::try_from(self.n) {
            Ok(n) if self.major == MAJOR_UNSIGNED => Ok(n),
            Ok(n) => Ok(!n),
            Err(_) => self.fail(Problem::IntegerRange),
        }
    }
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    /// Offset of the next item, in bytes.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Fails when bytes are left (CB-1).
    pub fn finish(self) -> Result<(), Error> {
        match self.bytes.len() - self.at {
            0 => Ok(()),
            left => Err(Error { at: self.at, problem: Problem::TrailingBytes(left) }),
        }
    }

    /// Head of a map: the number of entries. Read each key with [`Reader::key`].
    pub fn map(&mut self) -> Result<usize, Error> {
        let head = self.expect(MAJOR_MAP, "a map")?;
        self.count(head)
    }

    /// Head of an array: the number of items.
    pub fn array(&mut self) -> Result<usize, Error> {
        let head = self.expect(MAJOR_ARRAY, "an array")?;
        self.count(head)
    }

    /// A map key, which must come after `previous` in canonical order (CB-4).
    pub fn key(&mut self, previous: Option<&str>) -> Result<&'a str, Error> {
        let head = self.head()?;
        if head.major != MAJOR_TEXT {
            return head.fail(Problem::KeyType);
        }
        if head.n > MAP_KEY_BYTES_MAX as u64 {
            return head.fail(Problem::TooLong { what: "map key", count: head.n, max: MAP_KEY_BYTES_MAX });
        }
        let key = self.utf8(head)?;
        match previous {
            Some(previous) if key_order(previous, key).is_ge() => head.fail(Problem::KeyOrder),
            _ => Ok(key),
        }
    }

    /// A text string.
    pub fn text(&mut self) -> Result<&'a str, Error> {
        let head = self.expect(MAJOR_TEXT, "text")?;
        self.utf8(head)
    }

    /// A byte string.
    pub fn bytes(&mut self) -> Result<&'a [u8], Error> {
        let head = self.expect(MAJOR_BYTES, "a byte string")?;
        self.take(head)
    }

    /// An integer of 64 signed bits.
    pub fn integer(&mut self) -> Result<i64, Error> {
        let head = self.head()?;
        match head.major {
            MAJOR_UNSIGNED | MAJOR_NEGATIVE => head.integer(),
            _ => head.fail(Problem::Kind { expected: "an integer", found: head.kind() }),
        }
    }

    /// A boolean.
    pub fn bool(&mut self) -> Result<bool, Error> {
        let head = self.expect(MAJOR_SIMPLE, "a boolean")?;
        match head.n {
            22 => head.fail(Problem::Kind { expected: "a boolean", found: "null" }),
            n => Ok(n == 21),
        }
    }

    /// A link of the form that the protocol's CBOR profile has: see [`cid::is_linkable`].
    pub fn link(&mut self) -> Result<Cid, Error> {
        let head = self.expect(MAJOR_TAG, "a link")?;
        self.linkable(head)
    }

    /// A link to any CID, as trees imported from elsewhere can hold (CID-4).
    pub fn any_link(&mut self) -> Result<Cid, Error> {
        let head = self.expect(MAJOR_TAG, "a link")?;
        self.cid(head)
    }

    /// A link, or null, which gives `None`.
    pub fn nullable_link(&mut self) -> Result<Option<Cid>, Error> {
        if self.bytes.get(self.at) == Some(&NULL) {
            self.at += 1;
            return Ok(None);
        }
        self.link().map(Some)
    }

    /// Any value of the data model.
    pub fn value(&mut self) -> Result<Value, Error> {
        self.value_within(DEPTH_MAX)
    }

    /// `levels`: how many containers may still be opened. Bounds the recursion.
    fn value_within(&mut self, levels: usize) -> Result<Value, Error> {
        Ok(match self.item(levels)? {
            Item::Null => Value::Null,
            Item::Bool(b) => Value::Bool(b),
            Item::Integer(n) => Value::Integer(n),
            Item::Text(text) => Value::String(text.to_owned()),
            Item::Bytes(bytes) => Value::Bytes(bytes.to_vec()),
            Item::Link(cid) => Value::Link(cid),
            Item::Array(count) => {
                let mut items = Vec::with_capacity(count.min(PREALLOCATED_ELEMENTS_MAX));
                for _ in 0..count {
                    items.push(self.value_within(levels - 1)?);
                }
                Value::Array(items)
            }
            Item::Map(count) => {
                let mut entries = Vec::with_capacity(count.min(PREALLOCATED_ELEMENTS_MAX));
                let mut previous = None;
                for _ in 0..count {
                    let key = self.key(previous)?;
                    entries.push((key.to_owned(), self.value_within(levels - 1)?));
                    previous = Some(key);
                }
                Value::Map(Map::from_sorted(entries))
            }
        })
    }

    /// Any scalar, or the head of a container if `levels` is not 0: all that makes a value of the data model is looked at
    /// here and in [`Reader::key`].
    pub(in crate::data) fn item(&mut self, levels: usize) -> Result<Item<'a>, Error> {
        let head = self.head()?;
        Ok(match head.major {
            MAJOR_UNSIGNED | MAJOR_NEGATIVE => Item::Integer(head.integer()?),
            MAJOR_BYTES => Item::Bytes(self.take(head)?),
            MAJOR_TEXT => Item::Text(self.utf8(head)?),
            MAJOR_TAG => Item::Link(self.linkable(head)?),
            MAJOR_SIMPLE if head.n == 22 => Item::Null,
            MAJOR_SIMPLE => Item::Bool(head.n == 21),
            _ if levels == 0 => return head.fail(Problem::TooDeep),
            MAJOR_ARRAY => Item::Array(self.count(head)?),
            _ => Item::Map(self.count(head)?),
        })
    }

    /// Reads a head, refusing everything that no item of the data model begins with.
    fn head(&mut self) -> Result<Head, Error> {
        let at = self.at;
        let fail = |problem| Err(Error { at, problem });
        let Some(&first) = self.bytes.get(at) else {
            return fail(Problem::UnexpectedEnd);
        };
        let (major, info) = (first >> 5, first & 0x1f);
        if major == MAJOR_SIMPLE {
            return self.simple(info);
        }
        let (n_bytes, shortest) = match info {
            0..=23 => {
                self.at += 1;
                return Ok(Head { at, major, n: u64::from(info) });
            }
            24 => (1, 24),
            25 => (2, 0x100),
            26 => (4, 0x1_0000),
            27 => (8, 0x1_0000_0000),
            31 if matches!(major, MAJOR_BYTES..=MAJOR_MAP) => return fail(Problem::Indefinite),
            _ => return fail(Problem::Reserved(first)),
        };
        let Some(tail) = self.bytes.get(at + 1..at + 1 + n_bytes) else {
            return fail(Problem::UnexpectedEnd);
        };
        let n = tail.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
        if n < shortest {
            return fail(Problem::NotShortest);
        }
        self.at += 1 + n_bytes;
        Ok(Head { at, major, n })
    }

    fn simple(&mut self, info: u8) -> Result<Head, Error> {
        let at = self.at;
        let problem = match info {
            20..=22 => {
                self.at += 1;
                return Ok(Head { at, major: MAJOR_SIMPLE, n: u64::from(info) });
            }
            24 => match self.bytes.get(at + 1) {
                Some(simple) => Problem::Simple(*simple),
                None => Problem::UnexpectedEnd,
            },
            25..=27 => Problem::Float,
            31 => Problem::Indefinite,
            28..=30 => Problem::Reserved(MAJOR_SIMPLE << 5 | info),
            _ => Problem::Simple(info),
        };
        Err(Error { at, problem })
    }

    fn expect(&mut self, major: u8, expected: &'static str) -> Result<Head, Error> {
        let head = self.head()?;
        if head.major == major { Ok(head) } else { head.fail(Problem::Kind { expected, found: head.kind() }) }
    }

    /// Checks an announced number of elements against the limit and the input left (CB-11).
    fn count(&self, head: Head) -> Result<usize, Error> {
        if head.n > CONTAINER_ELEMENTS_MAX as u64 {
            return head.fail(Problem::TooLong {
                what: "container",
                count: head.n,
                max: CONTAINER_ELEMENTS_MAX,
            });
        }
        let count = head.n as usize;
        let bytes_min = if head.major == MAJOR_MAP { 2 * count } else { count };
        if bytes_min > self.bytes.len() - self.at {
            return head.fail(Problem::UnexpectedEnd);
        }
        Ok(count)
    }

    /// The content of a string whose head was read.
    fn take(&mut self, head: Head) -> Result<&'a [u8], Error> {
        let left = &self.bytes[self.at..];
        match usize::try_from(head.n).ok().and_then(|n| left.get(..n)) {
            Some(content) => {
                self.at += content.len();
                Ok(content)
            }
            None => head.fail(Problem::UnexpectedEnd),
        }
    }

    fn utf8(&mut self, head: Head) -> Result<&'a str, Error> {
        match std::str::from_utf8(self.take(head)?) {
            Ok(text) => Ok(text),
            Err(_) => head.fail(Problem::Utf8),
        }
    }

    /// The content of a tag whose head was read.
    fn cid(&mut self, tag: Head) -> Result<Cid, Error> {
        if tag.n != TAG_LINK {
            return tag.fail(Problem::Tag(tag.n));
        }
        let head = self.expect(MAJOR_BYTES, "the byte string of a link")?;
        if head.n > 1 + CID_BYTES_MAX as u64 {
            return head.fail(Problem::TooLong { what: "CID", count: head.n, max: CID_BYTES_MAX });
        }
        let Some((0, bytes)) = self.take(head)?.split_first() else {
            return tag.fail(Problem::Link("no zero byte before the CID".to_owned()));
        };
        match cid::from_bytes(bytes) {
            Ok(cid) => Ok(cid),
            Err(error) => tag.fail(Problem::Link(error.to_string())),
        }
    }

    /// As [`Reader::cid`], and of the form that the protocol's CBOR profile has.
    fn linkable(&mut self, tag: Head) -> Result<Cid, Error> {
        let cid = self.cid(tag)?;
        if cid::is_linkable(&cid) {
            return Ok(cid);
        }
        tag.fail(Problem::Link(format!("{cid} is not version 1, dag-cbor or raw, with a 32 byte hash")))
    }
}
