#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod embedded;
mod schemas;
mod values;

use serde_json::{Value as Json, json};

use super::*;
use crate::data::{Map, json};

/// A catalog of one record type, `com.example.record`, with these properties.
fn record_of(properties: Json) -> Result<Catalog, SchemaError> {
    record_with(json!({ "type": "object", "properties": properties }))
}

/// A catalog of one record type, `com.example.record`, that is this object.
fn record_with(object: Json) -> Result<Catalog, SchemaError> {
    document(json!({
        "main": { "type": "record", "key": "any", "record": object },
        "thing": { "type": "object", "properties": { "n": { "type": "integer" } } },
        "other": { "type": "object", "properties": {} },
        "small": { "type": "integer", "maximum": 9 },
        "word": { "type": "token" },
    }))
}

fn document(defs: Json) -> Result<Catalog, SchemaError> {
    Catalog::from_documents([json!({ "lexicon": 1, "id": "com.example.record", "defs": defs })])
}

fn value(json: Json) -> Value {
    json::from_json(&json).unwrap()
}

/// What a catalog of [`record_of`] says of a record with these fields.
fn check(catalog: &Catalog, fields: Json) -> Result<Verdict, ValidationError> {
    let mut record = fields;
    record["$type"] = json!("com.example.record");
    catalog.validate_value("com.example.record", &value(record))
}
