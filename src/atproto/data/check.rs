//! What holds for every object and record, whatever its schema (DM-7, DM-9, DM-10, DM-16, DM-19).
//!
//! Not for: forms that no [`Value`] can have; [`super::json`] and [`super::cbor`] refuse those.

use super::{BlobRef, Value, blob_ref};

/// Why a value is no object, or no record, of the data model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at /{path}: {problem}")]
pub struct CheckError {
    /// Keys and indexes that lead to the fault, with slashes between them; empty for the whole.
    pub path: String,
    /// What is wrong there.
    pub problem: CheckProblem,
}

/// What can be wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckProblem {
    /// DM-10
    #[error("must be an object, not {0}")]
    NotAnObject(&'static str),
    /// DM-10
    #[error("$type is missing; a record names its type")]
    TypeMissing,
    /// DM-9
    #[error("$type must be a string that is not empty")]
    Type,
    /// DM-7
    #[error("a key is empty")]
    EmptyKey,
    /// DM-16
    #[error(transparent)]
    Blob(#[from] blob_ref::Error),
}

/// Checks a record: an object that names its type (DM-10).
pub fn check_record(record: &Value) -> Result<(), CheckError> {
    check_object(record)?;
    match record.get("$type") {
        Some(_) => Ok(()),
        None => Err(CheckProblem::TypeMissing.here()),
    }
}

/// Checks a map and all in it: keys are not empty (DM-7), each `$type` is a name (DM-9), each
/// blob reference is whole (DM-16).
///
/// Legacy blobs pass, as any map of two strings does; [`blob_ref::collect`] refuses them.
pub fn check_object(value: &Value) -> Result<(), CheckError> {
    match value {
        Value::Map(_) => check_value(value),
        other => Err(CheckProblem::NotAnObject(other.kind()).here()),
    }
}

/// Values are at most [`super::DEPTH_MAX`] deep, which bounds the recursion.
fn check_value(value: &Value) -> Result<(), CheckError> {
    match value {
        Value::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(idx, item)| check_value(item).map_err(|error| error.within(&idx.to_string()))),
        Value::Map(map) => {
            match map.get("$type") {
                None => {}
                Some(Value::String(name)) if !name.is_empty() => {}
                Some(_) => return Err(CheckProblem::Type.here()),
            }
            if map.contains_key("") {
                return Err(CheckProblem::EmptyKey.here());
            }
            BlobRef::from_value(value).map_err(|error| CheckProblem::from(error).here())?;
            map.iter().try_for_each(|(key, value)| check_value(value).map_err(|error| error.within(key)))
        }
        _ => Ok(()),
    }
}

impl CheckProblem {
    fn here(self) -> CheckError {
        CheckError { path: String::new(), problem: self }
    }
}

impl CheckError {
    /// The same fault, seen from the container that holds it under `key`.
    fn within(mut self, key: &str) -> CheckError {
        self.path = if self.path.is_empty() { key.to_owned() } else { format!("{key}/{}", self.path) };
        self
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::data::json;

    fn check(text: &str) -> Result<(), String> {
        check_record(&json::from_slice(text.as_bytes()).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_record_is_an_object_that_names_its_type() {
        // DM-9, DM-10
        assert_eq!(check(r#"{"$type":"a.b.c"}"#), Ok(()));
        assert_eq!(check("[]").unwrap_err(), "at /: must be an object, not array");
        assert_eq!(check("{}").unwrap_err(), "at /: $type is missing; a record names its type");
        for bad in [r#"{"$type":""}"#, r#"{"$type":null}"#, r#"{"$type":1}"#] {
            assert_eq!(check(bad).unwrap_err(), "at /: $type must be a string that is not empty");
        }
    }

    #[test]
    fn a_fault_deep_inside_is_named_by_its_path() {
        let record = r#"{"$type":"a.b.c","list":[1,{"blob":{"$type":"blob","size":1}}]}"#;
        assert_eq!(check(record).unwrap_err(), "at /list/1/blob: blob ref is missing");
        assert_eq!(check(r#"{"$type":"a.b.c","x":{"":1}}"#).unwrap_err(), "at /x: a key is empty");
    }

    #[test]
    fn unknown_dollar_keys_are_kept() {
        // DM-6
        assert_eq!(check(r#"{"$type":"a.b.c","$new":1}"#), Ok(()));
    }
}
