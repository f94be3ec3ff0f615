//! `lexicons/`: the published schemas. All of them load, and those that come with the program say
//! the same, field by field, as far as they go: of a large file we hold only the definitions that
//! are in use, and no descriptions.

use std::path::Path;

use atproto::lexicon::Catalog;
use serde_json::{Map, Value};

use super::report::{Outcome, ensure, files, json};

pub fn run(dir: &Path) -> Outcome {
    let mut outcome = Outcome::default();
    let published: Vec<_> = files(dir).iter().map(|file| json(file)).collect();
    let loaded = Catalog::from_documents(published).map(drop);
    outcome.check(dir, "all files", loaded.map_err(|e| e.to_string()));

    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/atproto/lexicon/schemas");
    for file in files(&ours) {
        let name = file.strip_prefix(&ours).expect("file is below its folder");
        match dir.join(name) {
            theirs if theirs.is_file() => {
                outcome.check(&file, "whole file", same(&json(&file), &json(&theirs)))
            }
            _ => outcome.skip(format!("{} is not among them", name.display())),
        }
    }
    outcome
}

fn same(ours: &Value, theirs: &Value) -> Result<(), String> {
    ensure(ours["id"] == theirs["id"], "the ids differ")?;
    for (name, def) in ours["defs"].as_object().into_iter().flatten() {
        let expected = without_descriptions(&theirs["defs"][name]);
        ensure(*def == expected, format!("{name} is {def}, not {expected}"))?;
    }
    Ok(())
}

/// A type without what only people read. Names of properties are data and stay.
fn without_descriptions(schema: &Value) -> Value {
    let strip = |(key, value): (&String, &Value)| match (key.as_str(), value) {
        ("description", Value::String(_)) => None,
        ("properties", Value::Object(properties)) => {
            let types: Map<_, _> = properties
                .iter()
                .map(|(name, schema)| (name.clone(), without_descriptions(schema)))
                .collect();
            Some((key.clone(), Value::Object(types)))
        }
        _ => Some((key.clone(), without_descriptions(value))),
    };
    match schema {
        Value::Object(fields) => Value::Object(fields.iter().filter_map(strip).collect()),
        Value::Array(items) => Value::Array(items.iter().map(without_descriptions).collect()),
        plain => plain.clone(),
    }
}
