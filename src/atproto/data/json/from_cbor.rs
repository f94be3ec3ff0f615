//! From stored CBOR to JSON text with no [`Value`](crate::data::Value) in between: what a page of records is made of.
//!
//! The text is the one that `Value` serializes to, and what `cbor::decode` refuses is refused with the same error: both are
//! made of the same items (`cbor::Reader::item`).
//!
//! Not for: other shapes than whole values.

use std::fmt::{self, Write as _};

use base64::Engine as _;

use super::{BASE64, BYTES, LINK};
use crate::data::{
    DEPTH_MAX,
    cbor::{self, Item, Reader},
    cid,
};

/// Appends the JSON form of the one value that `cbor` holds. On an error, what was appended before it stays.
pub fn write_cbor(cbor: &[u8], json: &mut String) -> Result<(), cbor::Error> {
    let mut reader = Reader::new(cbor);
    write_item(&mut reader, DEPTH_MAX, json)?;
    reader.finish()
}

/// `levels`: how many containers may still be opened. Bounds the recursion.
fn write_item(reader: &mut Reader<'_>, levels: usize, json: &mut String) -> Result<(), cbor::Error> {
    match reader.item(levels)? {
        Item::Null => json.push_str("null"),
        Item::Bool(true) => json.push_str("true"),
        Item::Bool(false) => json.push_str("false"),
        Item::Integer(n) => append(json, format_args!("{n}")),
        Item::Text(text) => write_str(text, json),
        Item::Bytes(bytes) => write_wrapper(BYTES, json, |json| BASE64.encode_string(bytes, json)),
        Item::Link(link) => write_wrapper(LINK, json, |json| cid::write(&link, json)),
        Item::Array(count) => {
            json.push('[');
            for idx in 0..count {
                if idx > 0 {
                    json.push(',');
                }
                write_item(reader, levels - 1, json)?;
            }
            json.push(']');
        }
        Item::Map(count) => {
            json.push('{');
            let mut previous = None;
            for idx in 0..count {
                if idx > 0 {
                    json.push(',');
                }
                let key = reader.key(previous)?;
                write_str(key, json);
                json.push(':');
                write_item(reader, levels - 1, json)?;
                previous = Some(key);
            }
            json.push('}');
        }
    }
    Ok(())
}

/// An object of one key, whose text needs no escapes.
fn write_wrapper(key: &str, json: &mut String, text: impl FnOnce(&mut String)) {
    json.push_str("{\"");
    json.push_str(key);
    json.push_str("\":\"");
    text(json);
    json.push_str("\"}");
}

/// Appends `text` as a JSON string.
pub fn write_str(text: &str, json: &mut String) {
    json.push('"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(is_escaped) {
        let (plain, escaped) = rest.split_at(at);
        json.push_str(plain);
        // What is escaped is one byte long.
        let (escaped, after) = escaped.split_at(1);
        match escaped.as_bytes() {
            b"\"" => json.push_str("\\\""),
            b"\\" => json.push_str("\\\\"),
            b"\n" => json.push_str("\\n"),
            b"\r" => json.push_str("\\r"),
            b"\t" => json.push_str("\\t"),
            b"\x08" => json.push_str("\\b"),
            b"\x0c" => json.push_str("\\f"),
            other => {
                for byte in other {
                    append(json, format_args!("\\u{byte:04x}"));
                }
            }
        }
        rest = after;
    }
    json.push_str(rest);
    json.push('"');
}

fn append(json: &mut String, text: fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = json.write_fmt(text);
}

fn is_escaped(byte: u8) -> bool {
    matches!(byte, 0..=0x1f | b'"' | b'\\')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::data::{Cid, Map, Value, arbitrary};

    fn transcoded(cbor: &[u8]) -> Result<String, cbor::Error> {
        let mut json = String::from("before");
        write_cbor(cbor, &mut json)?;
        Ok(json.split_off("before".len()))
    }

    fn by_value(cbor: &[u8]) -> Result<String, cbor::Error> {
        cbor::decode(cbor).map(|value| serde_json::to_string(&value).unwrap())
    }

    #[test]
    fn every_character_is_escaped_as_it_is_elsewhere() {
        let text: String = ('\0'..='\u{2ff}').chain("é😀\u{2028}\u{ffff}".chars()).collect();
        let cbor = cbor::encode(&Value::String(text.clone()));
        assert_eq!(transcoded(&cbor), by_value(&cbor));
        assert_eq!(serde_json::from_str::<String>(&transcoded(&cbor).unwrap()).unwrap(), text);
    }

    #[test]
    fn the_corners_come_out_the_same() {
        // A link with another hash than the usual one, and a map that looks like a link.
        let blake3 = multihash::Multihash::wrap(0x1e, &[7; 32]).unwrap();
        let link = Value::Link(Cid::new_v1(0x71, blake3));
        let alike = Map::from_entries(vec![("$link".to_owned(), Value::String("\"".to_owned()))]).unwrap();
        let numbers = [i64::MIN, -1, 0, i64::MAX].map(Value::Integer).to_vec();
        for value in
            [link, Value::Map(alike), Value::Array(numbers), Value::Array(vec![]), Value::Map(Map::new())]
        {
            let cbor = cbor::encode(&value);
            assert_eq!(transcoded(&cbor), by_value(&cbor));
        }
    }

    #[test]
    fn nesting_ends_where_it_does_elsewhere() {
        for levels in [DEPTH_MAX, DEPTH_MAX + 1] {
            let cbor = [vec![0x81; levels - 1], vec![0x80]].concat();
            assert_eq!(transcoded(&cbor), by_value(&cbor));
        }
    }

    proptest! {
        #[test]
        fn any_value_gives_the_text_that_it_serializes_to(value in arbitrary::value()) {
            let cbor = cbor::encode(&value);
            prop_assert_eq!(transcoded(&cbor), by_value(&cbor));
        }

        #[test]
        fn what_is_refused_is_refused_alike(value in arbitrary::value(), at: prop::sample::Index, byte: u8, cut: bool) {
            let mut cbor = cbor::encode(&value);
            let at = at.index(cbor.len());
            if cut {
                cbor.truncate(at);
            } else {
                cbor[at] = byte;
            }
            prop_assert_eq!(transcoded(&cbor), by_value(&cbor));
        }

        #[test]
        fn any_bytes_are_judged_alike(cbor in vec(any::<u8>(), 0..60)) {
            prop_assert_eq!(transcoded(&cbor), by_value(&cbor));
        }
    }
}
