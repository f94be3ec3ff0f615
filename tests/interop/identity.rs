//! `identity/`: DID documents as found in the world, and what they say.
//!
//! What is expected is read from the JSON in another way than the engine does: the vectors have
//! one entry of each kind at most, so the first one that ends in the right fragment is it.

use std::path::Path;

use atproto::{crypto::PublicKey, identity::DidDocument};
use serde_json::Value;

use super::report::{Outcome, ensure, ensure_eq, files, from_base58, json, name};

pub fn run(dir: &Path) -> Outcome {
    let mut outcome = Outcome::default();
    for file in files(dir) {
        match name(&file) {
            n if n.ends_with(".json") => outcome.check(&file, "whole file", document(json(&file))),
            n => outcome.skip(format!("unknown file {n}")),
        }
    }
    outcome
}

fn document(json: Value) -> Result<(), String> {
    let document = DidDocument::from_json(json.clone()).map_err(|e| e.to_string())?;
    ensure_eq("id", document.id().as_str(), json["id"].as_str().unwrap_or_default())?;
    ensure(*document.json() == json, "the document is not kept as it came")?;

    let alias = json["alsoKnownAs"][0].as_str();
    let handle = document.handle().map(|handle| format!("at://{handle}"));
    ensure_eq("handle", handle.as_deref(), alias)?;

    let pds = ending(&json["service"], "#atproto_pds").and_then(|s| s["serviceEndpoint"].as_str());
    ensure_eq("PDS", document.pds_endpoint().as_deref(), pds)?;
    for service in json["service"].as_array().into_iter().flatten() {
        let id = service["id"].as_str().unwrap_or_default();
        let fragment = id.strip_prefix(document.id().as_str()).unwrap_or(id);
        let endpoint = document.service_endpoint(fragment);
        ensure_eq(id, endpoint.as_deref(), service["serviceEndpoint"].as_str())?;
    }

    let key = document.signing_key().map_err(|e| e.to_string())?;
    match (key, ending(&json["verificationMethod"], "#atproto")) {
        (Some(key), Some(method)) => signing_key(&key, method),
        (None, None) => Ok(()),
        (found, _) => Err(format!("signing key is {found:?}")),
    }
}

/// The key has the coordinates that the method writes, compressed (DI-7) or whole (DI-8).
fn signing_key(key: &PublicKey, method: &Value) -> Result<(), String> {
    const PREFIX_BYTES: usize = 2;
    let multibase = method["publicKeyMultibase"].as_str().unwrap_or_default();
    if method["type"] == "Multikey" {
        return ensure_eq("signing key", key.multikey().as_str(), multibase);
    }
    let point = from_base58(multibase.trim_start_matches('z'))?;
    ensure_eq("length of the point", point.len(), 65)?;
    let compressed = from_base58(key.multikey().trim_start_matches('z'))?;
    ensure_eq("sign of y", compressed[PREFIX_BYTES], 2 + (point[64] & 1))?;
    ensure_eq("x", &compressed[PREFIX_BYTES + 1..], &point[1..33])
}

fn ending<'a>(list: &'a Value, fragment: &str) -> Option<&'a Value> {
    let entries = list.as_array()?;
    entries.iter().find(|entry| entry["id"].as_str().is_some_and(|id| id.ends_with(fragment)))
}
