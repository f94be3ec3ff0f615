//! What a directory answers about a DID: its state (PL-15) and its document (PL-16).

use serde_json::{Value as Json, json};

use super::PlcData;
use crate::{
    identity::{Rendering, VerificationMethod},
    syntax::Did,
};

/// The DID document as a directory renders it (PL-16).
pub fn render_document(did: &Did, data: &PlcData) -> Json {
    let verification_methods: Vec<_> = data
        .verification_methods
        .iter()
        .map(|(name, key)| VerificationMethod { name, multikey: key.strip_prefix("did:key:").unwrap_or(key) })
        .collect();
    let services: Vec<_> = data
        .services
        .iter()
        .map(|(name, service)| (name.as_str(), service.service_type.as_str(), service.endpoint.as_str()))
        .collect();
    Rendering {
        id: did,
        also_known_as: &data.also_known_as,
        verification_methods: &verification_methods,
        services: &services,
    }
    .to_json()
}

/// The state as a directory answers it at `/<did>/data` (PL-15).
pub fn render_data(did: &Did, data: &PlcData) -> Json {
    json!({
        "did": did.as_str(),
        "verificationMethods": data.verification_methods,
        "rotationKeys": data.rotation_keys,
        "alsoKnownAs": data.also_known_as,
        "services": data.services,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::{
        crypto::{Curve, SigningKey},
        identity::DidDocument,
        syntax::Handle,
    };

    fn key(curve: Curve) -> SigningKey {
        SigningKey::from_bytes(curve, &[7; 32]).unwrap()
    }

    fn account() -> PlcData {
        PlcData::for_account(
            vec![key(Curve::P256).public_key().did_key()],
            &key(Curve::K256).public_key(),
            &Handle::parse("alice.example").unwrap(),
            "https://pds.example",
        )
    }

    /// PL-16, PL-17
    #[test]
    fn an_account_document_names_handle_key_and_pds() {
        let did = Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap();
        let json = render_document(&did, &account());
        let multikey = key(Curve::K256).public_key().multikey();
        assert_eq!(
            json,
            json!({
                "@context": [
                    "https://www.w3.org/ns/did/v1",
                    "https://w3id.org/security/multikey/v1",
                    "https://w3id.org/security/suites/secp256k1-2019/v1",
                ],
                "id": "did:plc:ewvi7nxzyoun6zhxrhs64oiz",
                "alsoKnownAs": ["at://alice.example"],
                "verificationMethod": [{
                    "id": "did:plc:ewvi7nxzyoun6zhxrhs64oiz#atproto",
                    "type": "Multikey",
                    "controller": "did:plc:ewvi7nxzyoun6zhxrhs64oiz",
                    "publicKeyMultibase": multikey,
                }],
                "service": [{
                    "id": "#atproto_pds",
                    "type": "AtprotoPersonalDataServer",
                    "serviceEndpoint": "https://pds.example",
                }],
            })
        );
        let document = DidDocument::from_json(json).unwrap();
        assert_eq!(document.handle().unwrap().as_str(), "alice.example");
        assert_eq!(document.signing_key().unwrap().unwrap().multikey(), multikey);
        assert_eq!(document.pds_endpoint().as_deref(), Some("https://pds.example"));
    }

    #[test]
    fn each_curve_adds_its_suite_once_and_unknown_keys_add_none() {
        let did = Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap();
        let mut data = account();
        for (name, key) in [
            ("b", key(Curve::P256).public_key().did_key()),
            ("c", key(Curve::K256).public_key().did_key()),
            ("d", "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK".to_owned()),
        ] {
            data.verification_methods.insert(name.to_owned(), key);
        }
        let json = render_document(&did, &data);
        assert_eq!(json["@context"].as_array().unwrap().len(), 4);
        assert_eq!(json["verificationMethod"].as_array().unwrap().len(), 4);
    }

    #[test]
    fn the_state_has_its_five_fields() {
        let did = Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap();
        let json = render_data(&did, &account());
        assert_eq!(json["did"], "did:plc:ewvi7nxzyoun6zhxrhs64oiz");
        assert_eq!(json["rotationKeys"][0], key(Curve::P256).public_key().did_key());
        assert_eq!(json["alsoKnownAs"], json!(["at://alice.example"]));
        assert_eq!(
            json["services"]["atproto_pds"],
            json!({ "type": "AtprotoPersonalDataServer", "endpoint": "https://pds.example" })
        );
        assert_eq!(json.as_object().unwrap().len(), 5);
        assert_eq!(PlcData::from_json(&json).unwrap(), account());
        assert!(PlcData::from_json(&json!({ "did": did.as_str() })).is_err());
    }

    #[test]
    fn a_new_handle_takes_the_place_of_the_old_one_and_leaves_the_other_aliases() {
        let (old, new) = (Handle::parse("alice.example").unwrap(), Handle::parse("new.example").unwrap());
        let mut data = account();
        assert!(!data.set_handle(&old));
        data.also_known_as =
            vec!["https://a.example".into(), "at://alice.example".into(), "at://new.example".into()];
        assert!(data.set_handle(&new));
        assert_eq!(data.also_known_as, ["https://a.example", "at://new.example"]);
        data.also_known_as = vec!["https://a.example".into()];
        assert!(data.set_handle(&new));
        assert_eq!(data.also_known_as, ["at://new.example", "https://a.example"]);
    }
}
