//! `crypto/`: signatures to verify, and private keys with their did:key.

use std::path::Path;

use atproto::crypto::{Curve, PublicKey, SigningKey};
use serde_json::Value;

use super::report::{
    Outcome, cases, ensure, ensure_eq, files, from_base58, from_base64, from_hex, name, text,
};

pub fn run(dir: &Path) -> Outcome {
    let mut outcome = Outcome::default();
    for file in files(dir) {
        for (idx, case) in cases(&file).iter().enumerate() {
            let vector = case["comment"].as_str().or(case["publicDidKey"].as_str()).unwrap_or("");
            let vector = format!("{idx} {vector}");
            if case.get("signatureBase64").is_some() {
                outcome.check(&file, vector, signature(case));
            } else if let (Some(curve), true) = (curve(name(&file)), case.get("publicDidKey").is_some()) {
                outcome.check(&file, vector, did_key(curve, case));
            } else {
                outcome.skip(format!("unknown case in {}", name(&file)));
            }
        }
    }
    outcome
}

fn curve(text: &str) -> Option<Curve> {
    if text.contains("K256") {
        Some(Curve::K256)
    } else if text.contains("P256") {
        Some(Curve::P256)
    } else {
        None
    }
}

fn signature(case: &Value) -> Result<(), String> {
    let key = PublicKey::from_did_key(text(case, "publicKeyDid")?).map_err(|e| e.to_string())?;
    ensure_eq("did:key", key.did_key().as_str(), text(case, "publicKeyDid")?)?;
    let algorithm = match key.curve() {
        Curve::K256 => "ES256K",
        Curve::P256 => "ES256",
    };
    ensure_eq("algorithm", algorithm, text(case, "algorithm")?)?;
    let legacy = PublicKey::from_legacy_multibase(key.curve(), text(case, "publicKeyMultibase")?);
    ensure_eq("key in the DID document", legacy.as_ref(), Ok(&key))?;

    let message = from_base64(text(case, "messageBase64")?)?;
    let signature = from_base64(text(case, "signatureBase64")?)?;
    let verified = key.verify(&message, &signature);
    match case["validSignature"].as_bool() {
        Some(true) => verified.map_err(|error| format!("refused: {error}")),
        Some(false) => ensure(verified.is_err(), "accepted"),
        None => Err("the vector does not say whether it is valid".to_owned()),
    }
}

fn did_key(curve: Curve, case: &Value) -> Result<(), String> {
    let bytes = match text(case, "privateKeyBytesHex") {
        Ok(hex) => from_hex(hex)?,
        Err(_) => from_base58(text(case, "privateKeyBytesBase58")?)?,
    };
    let bytes = bytes.try_into().map_err(|_| "the private key is not 32 bytes")?;
    let key = SigningKey::from_bytes(curve, &bytes).map_err(|e| e.to_string())?;
    ensure_eq("did:key", key.public_key().did_key().as_str(), text(case, "publicDidKey")?)?;
    let signature = key.sign(b"signed");
    key.public_key().verify(b"signed", &signature).map_err(|e| e.to_string())
}
