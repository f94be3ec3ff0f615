//! Canonical DAG-CBOR as the protocol profiles it (CB-1..CB-12), strict in both directions.
//!
//! One mechanism serves both [`Value`]s and the fixed shapes of the hot path (tree nodes, commits,
//! frames), which use [`Writer`] and [`Reader`] directly.
//!
//! Not for: serde. Strictness needs every byte seen, and the shapes are few.

mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub(super) use self::reader::Item;
pub use self::{reader::Reader, writer::Writer};

use super::{DEPTH_MAX, Value};

const MAJOR_UNSIGNED: u8 = 0;
const MAJOR_NEGATIVE: u8 = 1;
const MAJOR_BYTES: u8 = 2;
const MAJOR_TEXT: u8 = 3;
const MAJOR_ARRAY: u8 = 4;
const MAJOR_MAP: u8 = 5;
const MAJOR_TAG: u8 = 6;
const MAJOR_SIMPLE: u8 = 7;

const FALSE: u8 = 0xf4;
const TRUE: u8 = 0xf5;
const NULL: u8 = 0xf6;
const TAG_LINK: u64 = 42;

/// Why bytes are not canonical DAG-CBOR, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("CBOR byte {at}: {problem}")]
pub struct Error {
    /// Offset of the item at fault, in bytes from the start of the input.
    pub at: usize,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What can be wrong with an item.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// CB-11: also an announced length or count that the rest of the input cannot hold.
    #[error("input ends before the item does")]
    UnexpectedEnd,
    /// CB-1
    #[error("{0} bytes follow the item")]
    TrailingBytes(usize),
    /// CB-3
    #[error("number, length or count is not in its shortest form")]
    NotShortest,
    /// CB-2
    #[error("indefinite lengths are not allowed")]
    Indefinite,
    /// CB-5, CB-8
    #[error("tag {0} is not allowed; only tag 42 is")]
    Tag(u64),
    /// DM-2
    #[error("floating point numbers are not allowed")]
    Float,
    /// CB-6
    #[error("simple value {0} is not allowed; only false, true and null are")]
    Simple(u8),
    /// A head whose additional information has no meaning.
    #[error("reserved head byte 0x{0:02x}")]
    Reserved(u8),
    /// CB-4
    #[error("map key is not after the one before it; keys are unique and ordered by length, then bytes")]
    KeyOrder,
    /// CB-4
    #[error("map key is not text")]
    KeyType,
    /// CB-9
    #[error("text is not UTF-8")]
    Utf8,
    /// DM-18
    #[error("more than {DEPTH_MAX} levels of nesting")]
    TooDeep,
    /// DM-18
    #[error("{what} is {count} long; at most {max} is accepted")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// Its announced length.
        count: u64,
        /// The limit.
        max: usize,
    },
    /// DM-3
    #[error("integer does not fit 64 signed bits")]
    IntegerRange,
    /// DM-14, CID-3
    #[error("link: {0}")]
    Link(String),
    /// A fixed shape has another kind of item here.
    #[error("expected {expected}, found {found}")]
    Kind {
        /// What the shape has here.
        expected: &'static str,
        /// What the input has here.
        found: &'static str,
    },
}

/// Encodes `value` in its one canonical form.
pub fn encode(value: &Value) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.value(value);
    writer.finish()
}

/// Decodes exactly one item; nothing may follow it (CB-1).
pub fn decode(bytes: &[u8]) -> Result<Value, Error> {
    let mut reader = Reader::new(bytes);
    let value = reader.value()?;
    reader.finish()?;
    Ok(value)
}

/// Decodes one item; returns it and how many bytes it took (event frames: two items back to back).
pub fn decode_prefix(bytes: &[u8]) -> Result<(Value, usize), Error> {
    let mut reader = Reader::new(bytes);
    let value = reader.value()?;
    Ok((value, reader.position()))
}
