//! Reading the fields of a schema document: absent is fine, a wrong kind is a fault that names
//! the field.

use serde_json::{Map, Value as Json};

use super::schema::{Fault, Range};

/// The fields of one JSON object of a schema document.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(&'a Map<String, Json>);

impl<'a> Fields<'a> {
    pub(super) fn of(json: &'a Json) -> Result<Fields<'a>, Fault> {
        json.as_object().map(Fields).ok_or_else(|| Fault::new("must be an object"))
    }

    pub(super) fn get(self, name: &str) -> Option<&'a Json> {
        self.0.get(name)
    }

    pub(super) fn iter(self) -> impl Iterator<Item = (&'a String, &'a Json)> {
        self.0.iter()
    }

    pub(super) fn len(self) -> usize {
        self.0.len()
    }

    /// The type name.
    pub(super) fn kind(self) -> Result<&'a str, Fault> {
        self.require_text("type")
    }

    pub(super) fn text(self, name: &str) -> Result<Option<&'a str>, Fault> {
        self.read(name, "a string", Json::as_str)
    }

    pub(super) fn require_text(self, name: &str) -> Result<&'a str, Fault> {
        self.text(name)?.ok_or_else(|| missing(name))
    }

    pub(super) fn integer(self, name: &str) -> Result<Option<i64>, Fault> {
        self.read(name, "an integer", Json::as_i64)
    }

    pub(super) fn count(self, name: &str) -> Result<Option<u64>, Fault> {
        self.read(name, "an integer of zero or more", Json::as_u64)
    }

    pub(super) fn flag(self, name: &str) -> Result<Option<bool>, Fault> {
        self.read(name, "true or false", Json::as_bool)
    }

    pub(super) fn object(self, name: &str) -> Result<Option<Fields<'a>>, Fault> {
        self.read(name, "an object", |json| json.as_object().map(Fields))
    }

    pub(super) fn list(self, name: &str) -> Result<Option<&'a [Json]>, Fault> {
        self.read(name, "an array", |json| json.as_array().map(Vec::as_slice))
    }

    pub(super) fn texts(self, name: &str) -> Result<Option<Vec<&'a str>>, Fault> {
        self.read(name, "an array of strings", |json| json.as_array()?.iter().map(Json::as_str).collect())
    }

    pub(super) fn integers(self, name: &str) -> Result<Option<Vec<i64>>, Fault> {
        self.read(name, "an array of integers", |json| json.as_array()?.iter().map(Json::as_i64).collect())
    }

    pub(super) fn require(self, name: &str) -> Result<&'a Json, Fault> {
        self.get(name).ok_or_else(|| missing(name))
    }

    /// Two limits of which the first is not above the second.
    pub(super) fn range(self, min_name: &str, max_name: &str) -> Result<Range, Fault> {
        let limit = |name: &str| match self.count(name)? {
            // A length past 2^32 limits nothing that can be held.
            Some(n) => Ok(Some(u32::try_from(n).unwrap_or(u32::MAX))),
            None => Ok(None),
        };
        let range = Range { min: limit(min_name)?, max: limit(max_name)? };
        match (range.min, range.max) {
            (Some(min), Some(max)) if min > max => {
                Err(Fault::new(format!("must not be above {max_name}")).at(min_name))
            }
            _ => Ok(range),
        }
    }

    fn read<T>(
        self,
        name: &str,
        noun: &str,
        read: impl FnOnce(&'a Json) -> Option<T>,
    ) -> Result<Option<T>, Fault> {
        match self.get(name) {
            None => Ok(None),
            Some(json) => match read(json) {
                Some(value) => Ok(Some(value)),
                None => Err(Fault::new(format!("must be {noun}")).at(name)),
            },
        }
    }
}

fn missing(name: &str) -> Fault {
    Fault::new(format!("must have the field {name:?}"))
}
