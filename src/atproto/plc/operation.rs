//! One operation: its three types, its wire form, its signature and the identifiers made from it.

use std::collections::BTreeMap;

use multibase::Base;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::Error;
use crate::{
    crypto::{PublicKey, SigningKey},
    data::{Cid, Map, Value, cbor, cid, json},
    identity::PDS_SERVICE_TYPE,
    syntax::{Did, Handle},
};

/// How many characters of the hash a did:plc keeps (PL-6).
const DID_HASH_CHARS: usize = 24;

/// A service that a DID names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Such as `AtprotoPersonalDataServer`.
    #[serde(rename = "type")]
    pub service_type: String,
    /// URL.
    pub endpoint: String,
}

/// What a DID says after an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlcData {
    /// did:key texts, highest authority first.
    pub rotation_keys: Vec<String>,
    /// Name without `#` to did:key.
    pub verification_methods: BTreeMap<String, String>,
    /// URIs, `at://<handle>` first.
    pub also_known_as: Vec<String>,
    /// Name without `#` to service.
    pub services: BTreeMap<String, Service>,
}

impl PlcData {
    /// What an atproto account's DID says (PL-17).
    ///
    /// `rotation_keys` are did:key texts in descending authority; a recovery key of the account's
    /// owner stands before the server's own (PL-18).
    pub fn for_account(
        rotation_keys: Vec<String>,
        signing_key: &PublicKey,
        handle: &Handle,
        pds_endpoint: &str,
    ) -> PlcData {
        PlcData {
            rotation_keys,
            verification_methods: BTreeMap::from([signing_method(signing_key.did_key())]),
            also_known_as: vec![format!("at://{handle}")],
            services: BTreeMap::from([pds_service(pds_endpoint.to_owned())]),
        }
    }
}

impl PlcData {
    /// Reads the state that a directory answers at `/<did>/data` (PL-15); the field `did` is not read.
    ///
    /// # Errors
    ///
    /// [`Error::Field`] when a field is missing or of a wrong kind.
    pub fn from_json(json: &Json) -> Result<PlcData, Error> {
        let state = State::deserialize(json).map_err(|problem| Error::field("state", problem.to_string()))?;
        Ok(PlcData {
            rotation_keys: state.rotation_keys,
            verification_methods: state.verification_methods,
            also_known_as: state.also_known_as,
            services: state.services,
        })
    }

    /// Puts `handle` in the place of the first `at://` alias, or before the others when there is none.
    ///
    /// True when that changed anything.
    pub fn set_handle(&mut self, handle: &Handle) -> bool {
        let alias = format!("at://{handle}");
        match self.also_known_as.iter_mut().find(|alias| alias.starts_with("at://")) {
            Some(found) if *found == alias => return false,
            Some(found) => *found = alias.clone(),
            None => self.also_known_as.insert(0, alias.clone()),
        }
        // The directory takes no alias twice (PL-13).
        let mut met = false;
        self.also_known_as.retain(|other| *other != alias || !std::mem::replace(&mut met, true));
        true
    }
}

fn signing_method(did_key: String) -> (String, String) {
    ("atproto".to_owned(), did_key)
}

fn pds_service(endpoint: String) -> (String, Service) {
    let service = Service { service_type: PDS_SERVICE_TYPE.to_owned(), endpoint };
    ("atproto_pds".to_owned(), service)
}

/// A signed operation of any of the three types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `plc_operation`: sets everything the DID says (PL-1).
    Plc {
        /// What the DID says from here on.
        data: PlcData,
        /// CID of the operation it follows; `None` in a genesis.
        prev: Option<String>,
        /// base64url without padding.
        sig: String,
    },
    /// `plc_tombstone`: ends the DID (PL-2).
    Tombstone {
        /// CID of the operation it follows.
        prev: String,
        /// base64url without padding.
        sig: String,
    },
    /// `create`: the genesis of early DIDs, never newly written (PL-2, PL-3).
    LegacyCreate {
        /// did:key that signs the repository.
        signing_key: String,
        /// did:key above it.
        recovery_key: String,
        /// Without `at://`.
        handle: String,
        /// PDS, with or without scheme.
        service: String,
        /// base64url without padding.
        sig: String,
    },
}

impl Operation {
    /// Builds and signs a `plc_operation`.
    ///
    /// Limits are not checked here; [`check_next`](super::check_next) does.
    pub fn sign(data: PlcData, prev: Option<&Cid>, key: &SigningKey) -> Operation {
        let prev = prev.map(Cid::to_string);
        Operation::Plc { data, prev, sig: String::new() }.signed_by(key)
    }

    /// Builds and signs a `plc_tombstone`.
    pub fn sign_tombstone(prev: &Cid, key: &SigningKey) -> Operation {
        Operation::Tombstone { prev: prev.to_string(), sig: String::new() }.signed_by(key)
    }

    fn signed_by(mut self, key: &SigningKey) -> Operation {
        let signature = Base::Base64Url.encode(key.sign(&self.signing_bytes()));
        match &mut self {
            Operation::Plc { sig, .. }
            | Operation::Tombstone { sig, .. }
            | Operation::LegacyCreate { sig, .. } => *sig = signature,
        }
        self
    }

    /// Reads the wire form: every field of its type present and no other (PL-1, PL-2).
    ///
    /// Neither limits nor the signature are checked.
    ///
    /// # Errors
    ///
    /// [`Error::Field`] names what is missing, unknown or of a wrong kind.
    pub fn from_json(json: &Json) -> Result<Operation, Error> {
        let form = |problem: serde_json::Error| Error::field("operation", problem.to_string());
        match json.get("type").and_then(Json::as_str) {
            Some("plc_operation") => {
                let wire = PlcOperation::deserialize(json).map_err(form)?;
                let data = PlcData {
                    rotation_keys: wire.rotation_keys,
                    verification_methods: wire.verification_methods,
                    also_known_as: wire.also_known_as,
                    services: wire.services,
                };
                Ok(Operation::Plc { data, prev: wire.prev, sig: wire.sig })
            }
            Some("plc_tombstone") => {
                let wire = PlcTombstone::deserialize(json).map_err(form)?;
                Ok(Operation::Tombstone { prev: wire.prev, sig: wire.sig })
            }
            Some("create") => {
                let wire = Create::deserialize(json).map_err(form)?;
                Ok(Operation::LegacyCreate {
                    signing_key: wire.signing_key,
                    recovery_key: wire.recovery_key,
                    handle: wire.handle,
                    service: wire.service,
                    sig: wire.sig,
                })
            }
            _ => Err(Error::field("type", "must be plc_operation, plc_tombstone or create")),
        }
    }

    /// The wire form.
    pub fn to_json(&self) -> Json {
        json::to_json(&self.to_value(Signature::Included))
    }

    /// CID over the signed form (PL-5).
    pub fn cid(&self) -> Cid {
        cid::for_cbor(&self.signed_bytes())
    }

    /// The DID that this operation creates (PL-6).
    ///
    /// # Errors
    ///
    /// [`Error::Field`] when it is not a genesis operation.
    pub fn did(&self) -> Result<Did, Error> {
        if self.prev().is_some() {
            return Err(Error::field("prev", "must be null in the operation that makes a DID"));
        }
        let hash = Base::Base32Lower.encode(self.cid().hash().digest());
        let id = hash.get(..DID_HASH_CHARS).unwrap_or_default();
        Did::parse(&format!("did:plc:{id}")).map_err(|problem| Error::field("operation", problem.to_string()))
    }

    /// What the DID says after it; `None` for a tombstone (PL-3).
    pub fn data(&self) -> Option<PlcData> {
        match self {
            Operation::Plc { data, .. } => Some(data.clone()),
            Operation::Tombstone { .. } => None,
            Operation::LegacyCreate { signing_key, recovery_key, handle, service, .. } => {
                let endpoint = match service.starts_with("https://") || service.starts_with("http://") {
                    true => service.clone(),
                    false => format!("https://{service}"),
                };
                let alias = match handle.starts_with("at://") {
                    true => handle.clone(),
                    false => format!("at://{handle}"),
                };
                Some(PlcData {
                    rotation_keys: vec![recovery_key.clone(), signing_key.clone()],
                    verification_methods: BTreeMap::from([signing_method(signing_key.clone())]),
                    also_known_as: vec![alias],
                    services: BTreeMap::from([pds_service(endpoint)]),
                })
            }
        }
    }

    /// CID of the operation it follows, as text; `None` for a genesis.
    pub fn prev(&self) -> Option<&str> {
        match self {
            Operation::Plc { prev, .. } => prev.as_deref(),
            Operation::Tombstone { prev, .. } => Some(prev),
            Operation::LegacyCreate { .. } => None,
        }
    }

    /// The signature, base64url.
    pub fn sig(&self) -> &str {
        match self {
            Operation::Plc { sig, .. }
            | Operation::Tombstone { sig, .. }
            | Operation::LegacyCreate { sig, .. } => sig,
        }
    }

    /// Index of the first of `keys` (did:key texts) that made the signature (PL-4, PL-7).
    ///
    /// Keys that cannot be read sign nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Signature`] when the text is not 64 bytes of strict base64url, or no key matches.
    pub fn signer(&self, keys: &[String]) -> Result<usize, Error> {
        // The decoder refuses padding, line breaks and non-zero trailing bits.
        let signature = Base::Base64Url
            .decode(self.sig())
            .map_err(|_| Error::Signature("is not unpadded base64url".to_owned()))?;
        if signature.len() != 64 {
            let problem = format!("has {} bytes; it must have 64, r and s", signature.len());
            return Err(Error::Signature(problem));
        }
        let message = self.signing_bytes();
        keys.iter()
            .position(|key| {
                PublicKey::from_did_key(key).is_ok_and(|key| key.verify(&message, &signature).is_ok())
            })
            .ok_or_else(|| Error::Signature("was made by none of the keys that may sign".to_owned()))
    }

    /// Canonical CBOR with the signature; what the CID is over.
    pub(super) fn signed_bytes(&self) -> Vec<u8> {
        cbor::encode(&self.to_value(Signature::Included))
    }

    /// Canonical CBOR without the signature; what is signed (PL-4).
    fn signing_bytes(&self) -> Vec<u8> {
        cbor::encode(&self.to_value(Signature::LeftOut))
    }

    /// The operation as data. `prev` is text, not a link (PL-4).
    fn to_value(&self, signature: Signature) -> Value {
        let mut map = Map::new();
        match self {
            Operation::Plc { data, prev, .. } => {
                map.insert("type", string("plc_operation"));
                map.insert("rotationKeys", strings(&data.rotation_keys));
                map.insert("verificationMethods", map_of(&data.verification_methods, |key| string(key)));
                map.insert("alsoKnownAs", strings(&data.also_known_as));
                map.insert("services", map_of(&data.services, service_value));
                map.insert("prev", prev.as_deref().map_or(Value::Null, string));
            }
            Operation::Tombstone { prev, .. } => {
                map.insert("type", string("plc_tombstone"));
                map.insert("prev", string(prev));
            }
            Operation::LegacyCreate { signing_key, recovery_key, handle, service, .. } => {
                map.insert("type", string("create"));
                map.insert("signingKey", string(signing_key));
                map.insert("recoveryKey", string(recovery_key));
                map.insert("handle", string(handle));
                map.insert("service", string(service));
                map.insert("prev", Value::Null);
            }
        }
        if let Signature::Included = signature {
            map.insert("sig", string(self.sig()));
        }
        Value::Map(map)
    }
}

#[derive(Clone, Copy)]
enum Signature {
    Included,
    LeftOut,
}

fn string(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn strings(texts: &[String]) -> Value {
    Value::Array(texts.iter().map(|text| string(text)).collect())
}

fn map_of<T>(entries: &BTreeMap<String, T>, value: impl Fn(&T) -> Value) -> Value {
    let mut map = Map::new();
    for (name, entry) in entries {
        map.insert(name.as_str(), value(entry));
    }
    Value::Map(map)
}

fn service_value(service: &Service) -> Value {
    let mut map = Map::new();
    map.insert("type", string(&service.service_type));
    map.insert("endpoint", string(&service.endpoint));
    Value::Map(map)
}

/// A field that may be null but not absent: serde lets a plain `Option` be absent.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(deserializer)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PlcOperation {
    #[serde(rename = "type")]
    _type: String,
    rotation_keys: Vec<String>,
    verification_methods: BTreeMap<String, String>,
    also_known_as: Vec<String>,
    services: BTreeMap<String, Service>,
    #[serde(deserialize_with = "present")]
    prev: Option<String>,
    sig: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct State {
    rotation_keys: Vec<String>,
    verification_methods: BTreeMap<String, String>,
    also_known_as: Vec<String>,
    services: BTreeMap<String, Service>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlcTombstone {
    #[serde(rename = "type")]
    _type: String,
    prev: String,
    sig: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Create {
    #[serde(rename = "type")]
    _type: String,
    signing_key: String,
    recovery_key: String,
    handle: String,
    service: String,
    /// Only null is a `()`.
    #[serde(rename = "prev")]
    _prev: (),
    sig: String,
}

#[cfg(test)]
mod tests;
