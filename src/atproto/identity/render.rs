//! Rendering DID documents: those of did:plc (PL-16) and our own did:web one (DI-11).

use serde_json::{Value as Json, json};

use crate::{
    crypto::{Curve, PublicKey},
    syntax::Did,
};

/// What goes into a DID document. Lists keep their order.
#[derive(Clone, Copy, Debug)]
pub struct Rendering<'a> {
    /// The subject.
    pub id: &'a Did,
    /// Aliases as URIs, `at://<handle>` first.
    pub also_known_as: &'a [String],
    /// Keys.
    pub verification_methods: &'a [VerificationMethod<'a>],
    /// Services as (fragment without `#`, type, endpoint).
    pub services: &'a [(&'a str, &'a str, &'a str)],
}

/// A key of a DID document.
#[derive(Clone, Copy, Debug)]
pub struct VerificationMethod<'a> {
    /// Fragment without `#`.
    pub name: &'a str,
    /// Multibase text of the key, `z…`.
    pub multikey: &'a str,
}

const CONTEXT_DID: &str = "https://www.w3.org/ns/did/v1";
const CONTEXT_MULTIKEY: &str = "https://w3id.org/security/multikey/v1";
const CONTEXT_K256: &str = "https://w3id.org/security/suites/secp256k1-2019/v1";
const CONTEXT_P256: &str = "https://w3id.org/security/suites/ecdsa-2019/v1";

impl Rendering<'_> {
    /// The document: absolute ids for keys (C-17), relative ones for services, as the directory
    /// writes them.
    ///
    /// `@context` names the suite of each curve in use, once, in the order of the keys.
    pub fn to_json(&self) -> Json {
        let mut context = vec![CONTEXT_DID, CONTEXT_MULTIKEY];
        let mut methods = Vec::with_capacity(self.verification_methods.len());
        for method in self.verification_methods {
            if let Some(suite) = suite(method.multikey)
                && !context.contains(&suite)
            {
                context.push(suite);
            }
            methods.push(json!({
                "id": format!("{}#{}", self.id, method.name),
                "type": "Multikey",
                "controller": self.id.as_str(),
                "publicKeyMultibase": method.multikey,
            }));
        }
        let services = self.services.iter().map(|(name, service_type, endpoint)| {
            json!({
                "id": format!("#{name}"),
                "type": service_type,
                "serviceEndpoint": endpoint,
            })
        });
        json!({
            "@context": context,
            "id": self.id.as_str(),
            "alsoKnownAs": self.also_known_as,
            "verificationMethod": methods,
            "service": services.collect::<Vec<_>>(),
        })
    }
}

/// The JSON-LD context of a key's suite; keys of other kinds have none here.
fn suite(multikey: &str) -> Option<&'static str> {
    match PublicKey::from_multikey(multikey).ok()?.curve() {
        Curve::K256 => Some(CONTEXT_K256),
        Curve::P256 => Some(CONTEXT_P256),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::identity::DidDocument;

    /// DI-11: what a PDS says of itself can be read back.
    #[test]
    fn a_service_document_without_keys_has_an_endpoint_and_two_contexts() {
        let id = Did::parse("did:web:pds.example").unwrap();
        let json = Rendering {
            id: &id,
            also_known_as: &[],
            verification_methods: &[],
            services: &[("atproto_pds", "AtprotoPersonalDataServer", "https://pds.example")],
        }
        .to_json();
        assert_eq!(json["@context"], json!([CONTEXT_DID, CONTEXT_MULTIKEY]));
        let document = DidDocument::from_json(json).unwrap();
        assert_eq!(document.id(), &id);
        assert_eq!(document.pds_endpoint().as_deref(), Some("https://pds.example"));
    }
}
