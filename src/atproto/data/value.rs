//! One value of the data model (DM-1), and the map it nests in.

use std::cmp::Ordering;

use super::Cid;

/// A value of the data model. There are no floats (DM-2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Present and null, which is not the same as absent (DM-5).
    Null,
    /// True or false.
    Bool(bool),
    /// A signed 64-bit integer (DM-3).
    Integer(i64),
    /// UTF-8 text, never normalised (DM-8).
    String(String),
    /// Raw bytes; `$bytes` in JSON (DM-12).
    Bytes(Vec<u8>),
    /// A link to a block; `$link` in JSON (DM-11).
    Link(Cid),
    /// Values in order.
    Array(Vec<Value>),
    /// Values by key.
    Map(Map),
}

/// A map with string keys, kept in canonical order: shorter keys first, then bytewise (CB-4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Map {
    entries: Vec<(String, Value)>,
}

/// The order of map keys in canonical CBOR (CB-4).
pub(super) fn key_order(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.as_bytes().cmp(b.as_bytes()))
}

impl Map {
    /// An empty map.
    pub fn new() -> Map {
        Map::default()
    }

    /// Sorts `entries` into a map. `Err` names the first key that occurs twice.
    pub fn from_entries(mut entries: Vec<(String, Value)>) -> Result<Map, String> {
        entries.sort_by(|(a, _), (b, _)| key_order(a, b));
        let duplicate = entries.windows(2).find(|pair| pair[0].0 == pair[1].0);
        match duplicate {
            Some(pair) => Err(pair[0].0.clone()),
            None => Ok(Map { entries }),
        }
    }

    /// Takes entries that are known to be in canonical order without duplicates.
    pub(super) fn from_sorted(entries: Vec<(String, Value)>) -> Map {
        Map { entries }
    }

    fn find(&self, key: &str) -> Result<usize, usize> {
        self.entries.binary_search_by(|(have, _)| key_order(have, key))
    }

    /// The value under `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.find(key).ok().map(|idx| &self.entries[idx].1)
    }

    /// The value under `key`, to change in place.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        self.find(key).ok().map(|idx| &mut self.entries[idx].1)
    }

    /// True when `key` is present, whatever its value.
    pub fn contains_key(&self, key: &str) -> bool {
        self.find(key).is_ok()
    }

    /// Sets `key` and returns the value it had before.
    pub fn insert(&mut self, key: impl Into<String>, value: Value) -> Option<Value> {
        let key = key.into();
        match self.find(&key) {
            Ok(idx) => Some(std::mem::replace(&mut self.entries[idx].1, value)),
            Err(idx) => {
                self.entries.insert(idx, (key, value));
                None
            }
        }
    }

    /// Removes `key` and returns its value.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        self.find(key).ok().map(|idx| self.entries.remove(idx).1)
    }

    /// Entries in canonical order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl IntoIterator for Map {
    type Item = (String, Value);
    type IntoIter = std::vec::IntoIter<(String, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

impl Value {
    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The map.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The items of an array.
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Value::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The integer.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Value::Integer(n) => Some(*n),
            _ => None,
        }
    }

    /// The boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(b) => Some(*b),
            _ => None,
        }
    }

    /// The CID of a link.
    pub fn as_link(&self) -> Option<&Cid> {
        match self {
            Value::Link(cid) => Some(cid),
            _ => None,
        }
    }

    /// The content of a byte string.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The field `key`, when this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.as_map().and_then(|map| map.get(key))
    }

    /// What kind of value this is, in the words of the specification.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Integer(_) => "integer",
            Value::String(_) => "string",
            Value::Bytes(_) => "bytes",
            Value::Link(_) => "link",
            Value::Array(_) => "array",
            Value::Map(_) => "map",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_ordered_by_length_then_bytes() {
        // CB-4
        let mut map = Map::new();
        for key in ["bb", "a", "", "B", "aaa", "ba"] {
            assert_eq!(map.insert(key, Value::Null), None);
        }
        let keys: Vec<&str> = map.iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["", "B", "a", "ba", "bb", "aaa"]);
    }

    #[test]
    fn from_entries_names_a_duplicate() {
        let entry = |key: &str| (key.to_owned(), Value::Null);
        assert_eq!(Map::from_entries(vec![entry("b"), entry("a"), entry("b")]), Err("b".to_owned()));
        assert!(Map::from_entries(vec![entry("b"), entry("a")]).is_ok());
    }

    #[test]
    fn insert_replaces_and_remove_takes() {
        let mut map = Map::new();
        map.insert("n", Value::Integer(1));
        assert_eq!(map.insert("n", Value::Integer(2)), Some(Value::Integer(1)));
        assert_eq!(map.get("n").and_then(Value::as_integer), Some(2));
        assert_eq!(map.remove("n"), Some(Value::Integer(2)));
        assert!(map.is_empty());
    }
}
