//! Writing canonical CBOR.

use super::{
    FALSE, MAJOR_ARRAY, MAJOR_BYTES, MAJOR_MAP, MAJOR_NEGATIVE, MAJOR_TAG, MAJOR_TEXT, MAJOR_UNSIGNED, NULL,
    TAG_LINK, TRUE,
};
use crate::data::{Cid, Value};

/// Writes canonical heads and scalars. The caller answers for the order of keys and for counts.
#[derive(Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// An empty writer.
    pub fn new() -> Writer {
        Writer::default()
    }

    /// An empty writer with room for `bytes` bytes.
    pub fn with_capacity(bytes: usize) -> Writer {
        Writer { out: Vec::with_capacity(bytes) }
    }

    pub(super) fn head(&mut self, major: u8, n: u64) -> &mut Self {
        let major = major << 5;
        let n_bytes = n.to_be_bytes();
        // Shortest form that holds `n` (CB-3).
        let (info, tail) = match n {
            0..=23 => (n_bytes[7], &n_bytes[8..]),
            24..=0xff => (24, &n_bytes[7..]),
            0x100..=0xffff => (25, &n_bytes[6..]),
            0x1_0000..=0xffff_ffff => (26, &n_bytes[4..]),
            _ => (27, &n_bytes[..]),
        };
        self.out.push(major | info);
        self.out.extend_from_slice(tail);
        self
    }

    /// Head of a map; `entries` keys and values follow, keys by length, then bytes.
    pub fn map(&mut self, entries: u64) -> &mut Self {
        self.head(MAJOR_MAP, entries)
    }

    /// Head of an array; `items` items follow.
    pub fn array(&mut self, items: u64) -> &mut Self {
        self.head(MAJOR_ARRAY, items)
    }

    /// A text string; also a map key.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.head(MAJOR_TEXT, text.len() as u64).out.extend_from_slice(text.as_bytes());
        self
    }

    /// A byte string.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.head(MAJOR_BYTES, bytes.len() as u64).out.extend_from_slice(bytes);
        self
    }

    /// An integer.
    pub fn integer(&mut self, n: i64) -> &mut Self {
        match u64::try_from(n) {
            Ok(n) => self.head(MAJOR_UNSIGNED, n),
            // CBOR stores -1 - n, which is the bitwise complement.
            Err(_) => self.head(MAJOR_NEGATIVE, !n as u64),
        }
    }

    /// A boolean.
    pub fn bool(&mut self, b: bool) -> &mut Self {
        self.out.push(if b { TRUE } else { FALSE });
        self
    }

    /// Null.
    pub fn null(&mut self) -> &mut Self {
        self.out.push(NULL);
        self
    }

    /// A link: tag 42 around a zero byte and the binary CID (DM-14).
    pub fn link(&mut self, cid: &Cid) -> &mut Self {
        self.head(MAJOR_TAG, TAG_LINK).head(MAJOR_BYTES, 1 + cid.encoded_len() as u64).out.push(0);
        // Writing to a `Vec` cannot fail.
        let _ = cid.write_bytes(&mut self.out);
        self
    }

    /// A link, or null.
    pub fn nullable_link(&mut self, cid: Option<&Cid>) -> &mut Self {
        match cid {
            Some(cid) => self.link(cid),
            None => self.null(),
        }
    }

    /// Any value of the data model.
    pub fn value(&mut self, value: &Value) -> &mut Self {
        match value {
            Value::Null => self.null(),
            Value::Bool(b) => self.bool(*b),
            Value::Integer(n) => self.integer(*n),
            Value::String(text) => self.text(text),
            Value::Bytes(bytes) => self.bytes(bytes),
            Value::Link(cid) => self.link(cid),
            Value::Array(items) => {
                self.array(items.len() as u64);
                items.iter().fold(self, Writer::value)
            }
            Value::Map(map) => {
                self.map(map.len() as u64);
                map.iter().fold(self, |writer, (key, value)| writer.text(key).value(value))
            }
        }
    }

    /// What was written.
    pub fn finish(self) -> Vec<u8> {
        self.out
    }
}
