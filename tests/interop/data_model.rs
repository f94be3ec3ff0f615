//! `data-model/`: JSON and CBOR that agree, JSON to take or refuse, and canonical CBOR.

use std::{fs, path::Path};

use atproto::data::{
    blob_ref,
    cbor::{self, Problem},
    check_object, cid, json,
};
use serde_json::Value;

use super::report::{Outcome, cases, ensure, ensure_eq, files, from_base64, from_hex, name, text};

pub fn run(dir: &Path) -> Outcome {
    let mut outcome = Outcome::default();
    for file in files(dir) {
        let in_folder = |folder: &str| file.parent().is_some_and(|parent| name(parent) == folder);
        match name(&file) {
            n if n.ends_with(".json") && in_folder("dasl-cbor") => dasl_file(&mut outcome, &file),
            n if n.ends_with("fixtures.json") => each(&mut outcome, &file, fixture),
            n if n.ends_with("invalid.json") => each(&mut outcome, &file, invalid),
            n if n.ends_with("valid.json") => each(&mut outcome, &file, valid),
            n if n.ends_with("cbor") => outcome.check(&file, "whole file", block(&file)),
            n => outcome.skip(format!("unknown file {n}")),
        }
    }
    outcome
}

fn each(outcome: &mut Outcome, file: &Path, check: fn(&Value) -> Result<(), String>) {
    for (idx, case) in cases(file).iter().enumerate() {
        let vector = format!("{idx} {}", case["note"].as_str().unwrap_or_default());
        outcome.check(file, vector, check(case));
    }
}

/// JSON, CBOR and CID of one object agree, in every direction.
fn fixture(case: &Value) -> Result<(), String> {
    let bytes = from_base64(text(case, "cbor_base64")?)?;
    let from_json = json::from_json(&case["json"]).map_err(|e| e.to_string())?;
    let from_cbor = cbor::decode(&bytes).map_err(|e| e.to_string())?;
    ensure_eq("value from JSON", &from_json, &from_cbor)?;
    ensure_eq("CBOR", cbor::encode(&from_json), bytes.clone())?;
    ensure_eq("JSON", json::to_json(&from_cbor), case["json"].clone())?;
    ensure_eq("CID", cid::for_cbor(&bytes).to_string().as_str(), text(case, "cid")?)
}

fn valid(case: &Value) -> Result<(), String> {
    let value = json::from_json(&case["json"]).map_err(|e| format!("refused: {e}"))?;
    check_object(&value).map_err(|e| format!("refused: {e}"))?;
    ensure_eq("value after CBOR", cbor::decode(&cbor::encode(&value)).as_ref(), Ok(&value))
}

fn invalid(case: &Value) -> Result<(), String> {
    match json::from_json(&case["json"]) {
        Ok(value) => ensure(check_object(&value).is_err(), "accepted"),
        Err(_) => Ok(()),
    }
}

/// A block as found in a repo, or one made to break decoders.
fn block(file: &Path) -> Result<(), String> {
    let bytes = fs::read(file).map_err(|e| e.to_string())?;
    let decoded = cbor::decode(&bytes);
    if name(file).contains("torture") {
        return ensure(decoded.is_err(), "accepted");
    }
    let value = decoded.map_err(|e| format!("refused: {e}"))?;
    blob_ref::collect(&value).map_err(|e| e.to_string())?;
    let read_back = json::from_json(&json::to_json(&value)).map_err(|e| e.to_string())?;
    ensure_eq("value after JSON", &read_back, &value)?;
    ensure(cbor::encode(&value) == bytes, "encodes to other bytes")
}

/// The DASL suite covers several profiles of CBOR. Ours is its `dag-cbor` with `dasl-cid`, less
/// what records forbid (DM-2, DM-3).
fn dasl_file(outcome: &mut Outcome, file: &Path) {
    for case in cases(file) {
        let ours = case["tags"].as_array().is_some_and(|tags| {
            tags.iter().any(|tag| ["basic", "dag-cbor", "dasl-cid"].iter().any(|t| tag == t))
        });
        if !ours {
            outcome.skip("other CBOR profile");
            continue;
        }
        let vector = format!("{} {}", case["type"], case["name"]);
        outcome.check(file, vector, dasl(&case));
    }
}

fn dasl(case: &Value) -> Result<(), String> {
    let bytes = from_hex(text(case, "data")?)?;
    let decoded = cbor::decode(&bytes);
    match text(case, "type")? {
        "roundtrip" => match decoded {
            Ok(value) => ensure(cbor::encode(&value) == bytes, "encodes to other bytes"),
            Err(error) if is_beyond_records(&error.problem, &bytes) => Ok(()),
            Err(error) => Err(format!("refused: {error}")),
        },
        // No value can be made that would encode to these, for none decodes from them.
        "invalid_in" | "invalid_out" => ensure(decoded.is_err(), "accepted"),
        other => Err(format!("unknown type of case {other:?}")),
    }
}

/// True for a refusal of what DASL allows and records do not: a 64-bit float, or an integer outside
/// 64 signed bits. The bytes must have the head of one.
fn is_beyond_records(problem: &Problem, bytes: &[u8]) -> bool {
    match problem {
        Problem::Float => bytes.contains(&0xfb),
        Problem::IntegerRange => bytes.contains(&0x1b) || bytes.contains(&0x3b),
        _ => false,
    }
}
