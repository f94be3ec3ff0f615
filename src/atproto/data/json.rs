//! The JSON form of the data model: `$link` and `$bytes` (DM-11, DM-12), no floats (DM-2), no
//! duplicate keys (DM-21), the limits of DM-18.
//!
//! [`Value`] implements serde's traits here, so that a request or answer can have a
//! `record: Value` field; text goes straight into a `Value` with nothing in between.
//!
//! Not for: what holds for objects and records as a whole (see [`super::check_record`]).

mod from_cbor;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, fmt};

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
    ser::SerializeMap,
};

pub use self::from_cbor::{write_cbor, write_str};
use super::{
    CONTAINER_ELEMENTS_MAX, Cid, DEPTH_MAX, MAP_KEY_BYTES_MAX, Map, SAFE_INTEGER_MAX, Value,
    cid::{self, ParseCidError},
};

const LINK: &str = "$link";
const BYTES: &str = "$bytes";
/// Readers in JavaScript take it for the object's prototype and lose it; the reference refuses it too.
const PROTOTYPE: &str = "__proto__";

/// Bits of the last character that belong to no byte are not looked at: other implementers do not, and the published
/// lexicon vectors have such texts.
const fn base64_with(padding: DecodePaddingMode) -> GeneralPurpose {
    let config = GeneralPurposeConfig::new().with_encode_padding(false).with_decode_allow_trailing_bits(true);
    GeneralPurpose::new(&alphabet::STANDARD, config.with_decode_padding_mode(padding))
}

const BASE64: GeneralPurpose = base64_with(DecodePaddingMode::RequireNone);
const BASE64_PADDED: GeneralPurpose = base64_with(DecodePaddingMode::RequireCanonical);

/// Why JSON is not a value of the data model; with line and column when it was text.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

/// Reads JSON text.
pub fn from_slice(json: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(json).map_err(|error| Error(error.to_string()))
}

/// Reads JSON that was parsed before.
pub fn from_json(json: &serde_json::Value) -> Result<Value, Error> {
    Value::deserialize(json).map_err(|error| Error(error.to_string()))
}

/// The JSON form of `value`.
pub fn to_json(value: &Value) -> serde_json::Value {
    use serde_json::Value as Json;
    match value {
        Value::Null => Json::Null,
        Value::Bool(b) => Json::Bool(*b),
        Value::Integer(n) => Json::from(*n),
        Value::String(text) => Json::String(text.clone()),
        Value::Bytes(bytes) => wrapper(BYTES, base64(bytes)),
        Value::Link(cid) => wrapper(LINK, cid.to_string()),
        Value::Array(items) => items.iter().map(to_json).collect(),
        Value::Map(map) => map.iter().map(|(key, value)| (key.to_owned(), to_json(value))).collect(),
    }
}

fn wrapper(key: &str, text: String) -> serde_json::Value {
    std::iter::once((key.to_owned(), serde_json::Value::String(text))).collect()
}

/// Base64 without padding, as written (DM-13).
fn base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// Base64 with or without padding, as read (DM-12).
fn from_base64(text: &str) -> Option<Vec<u8>> {
    if text.ends_with('=') { BASE64_PADDED.decode(text) } else { BASE64.decode(text) }.ok()
}

/// A link of the data model: base32 text of a CID that may be linked to (CID-2, DM-11).
fn link(text: &str) -> Result<Cid, ParseCidError> {
    let cid = cid::parse(text)?;
    match text.starts_with('b') && cid::is_linkable(&cid) {
        true => Ok(cid),
        false => Err(ParseCidError(format!(
            "{text} is not version 1, base32, dag-cbor or raw, with a 32 byte hash"
        ))),
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(b) => serializer.serialize_bool(*b),
            Value::Integer(n) => serializer.serialize_i64(*n),
            Value::String(text) => serializer.serialize_str(text),
            Value::Bytes(bytes) => serialize_wrapper(serializer, BYTES, &base64(bytes)),
            Value::Link(cid) => serialize_wrapper(serializer, LINK, &cid.to_string()),
            Value::Array(items) => serializer.collect_seq(items),
            Value::Map(map) => serializer.collect_map(map.iter()),
        }
    }
}

fn serialize_wrapper<S: Serializer>(serializer: S, key: &str, text: &str) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry(key, text)?;
    map.end()
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        ValueSeed { levels: DEPTH_MAX }.deserialize(deserializer)
    }
}

/// Reads one value; `levels` more containers may be opened.
#[derive(Clone, Copy)]
struct ValueSeed {
    levels: usize,
}

impl ValueSeed {
    fn inner<E: de::Error>(self) -> Result<ValueSeed, E> {
        match self.levels.checked_sub(1) {
            Some(levels) => Ok(ValueSeed { levels }),
            None => Err(E::custom(format!("more than {DEPTH_MAX} levels of nesting"))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value of the data model")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, b: bool) -> Result<Value, E> {
        Ok(Value::Bool(b))
    }

    fn visit_i64<E: de::Error>(self, n: i64) -> Result<Value, E> {
        if n.unsigned_abs() > SAFE_INTEGER_MAX.unsigned_abs() {
            return Err(out_of_range(n));
        }
        Ok(Value::Integer(n))
    }

    fn visit_u64<E: de::Error>(self, n: u64) -> Result<Value, E> {
        match i64::try_from(n) {
            Ok(n) => self.visit_i64(n),
            Err(_) => Err(out_of_range(n)),
        }
    }

    /// A number written with a fraction or exponent is let in when it is an integer (DM-4).
    fn visit_f64<E: de::Error>(self, n: f64) -> Result<Value, E> {
        if n.fract() != 0.0 || !n.is_finite() {
            return Err(E::custom(format!("number {n} is not an integer; floats are not allowed")));
        }
        if n.abs() > SAFE_INTEGER_MAX as f64 {
            return Err(out_of_range(n));
        }
        Ok(Value::Integer(n as i64))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inner)? {
            if items.len() == CONTAINER_ELEMENTS_MAX {
                return Err(A::Error::custom(format!("array has more than {CONTAINER_ELEMENTS_MAX} items")));
            }
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if key == LINK || key == BYTES {
                if !entries.is_empty() {
                    return Err(not_alone(&key));
                }
                return read_wrapper(&key, map);
            }
            // After the wrappers, which are no containers, so that they can stand at the deepest level.
            let inner = self.inner()?;
            if key == PROTOTYPE {
                return Err(A::Error::custom("key \"__proto__\" is not allowed"));
            }
            if key.len() > MAP_KEY_BYTES_MAX {
                return Err(A::Error::custom(format!("a key is longer than {MAP_KEY_BYTES_MAX} bytes")));
            }
            if entries.len() == CONTAINER_ELEMENTS_MAX {
                return Err(A::Error::custom(format!("object has more than {CONTAINER_ELEMENTS_MAX} keys")));
            }
            let value = map.next_value_seed(inner)?;
            entries.push((key, value));
        }
        self.inner::<A::Error>()?;
        let map = Map::from_entries(entries)
            .map_err(|key| A::Error::custom(format!("key {key:?} occurs twice")))?;
        Ok(Value::Map(map))
    }
}

fn out_of_range<E: de::Error>(n: impl fmt::Display) -> E {
    E::custom(format!("integer {n} is not within ±{SAFE_INTEGER_MAX}"))
}

fn not_alone<E: de::Error>(key: &str) -> E {
    E::custom(format!("{key} must be the only key of its object"))
}

/// Reads the rest of a map whose first key was `$link` or `$bytes`.
fn read_wrapper<'de, A: MapAccess<'de>>(key: &str, mut map: A) -> Result<Value, A::Error> {
    let Text(text) = map.next_value().map_err(|error| A::Error::custom(format!("{key}: {error}")))?;
    if map.next_key::<IgnoredAny>()?.is_some() {
        return Err(not_alone(key));
    }
    if key == LINK {
        return link(&text).map(Value::Link).map_err(|error| A::Error::custom(format!("{LINK}: {error}")));
    }
    match from_base64(&text) {
        Some(bytes) => Ok(Value::Bytes(bytes)),
        None => Err(A::Error::custom(format!("{BYTES} is not base64 of RFC 4648 section 4"))),
    }
}

/// Text, borrowed from the input where it can be.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
