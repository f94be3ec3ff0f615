//! DID documents (section 16): reading the handle, signing key and services out of them, and
//! rendering documents of our own.
//!
//! A document that comes from outside is only read, never repaired: an entry that does not have
//! the exact form counts as absent. The one exception is a signing key of a known type that does
//! not decode, which is an error so that the operator sees a broken key, not a missing one.
//!
//! Not for: fetching documents or checking that a handle points back (`service::identity`).

mod render;

pub use self::render::{Rendering, VerificationMethod};

use serde_json::Value as Json;

use crate::{
    crypto::{self, Curve, PublicKey},
    syntax::{Did, Handle},
};

/// Fragment of the service that holds an account's repository (DI-9).
pub const PDS_SERVICE_ID: &str = "#atproto_pds";
/// Type of the service that holds an account's repository (DI-9).
pub const PDS_SERVICE_TYPE: &str = "AtprotoPersonalDataServer";
/// Fragment of the verification method that signs an account's repository (DI-7).
pub const SIGNING_KEY_ID: &str = "#atproto";

/// Why a DID document cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The document has no usable form at all.
    #[error("DID document: {0}")]
    Form(String),
    /// A verification method of a known type holds no key.
    #[error(transparent)]
    Key(#[from] crypto::Error),
}

/// A DID document; keeps the JSON as it came for answers that pass it on.
#[derive(Clone, Debug, PartialEq)]
pub struct DidDocument {
    json: Json,
    id: Did,
}

impl DidDocument {
    /// Takes a document whose `id` is a DID.
    ///
    /// That it is the DID that was asked for is the caller's check (DI-5).
    ///
    /// # Errors
    ///
    /// [`Error::Form`] when the document is not an object or has no DID as its `id`.
    pub fn from_json(json: Json) -> Result<DidDocument, Error> {
        let Some(id) = json.get("id").and_then(Json::as_str) else {
            return Err(Error::Form("has no text in \"id\"".to_owned()));
        };
        let id = Did::parse(id).map_err(|problem| Error::Form(problem.to_string()))?;
        Ok(DidDocument { json, id })
    }

    /// The document as it came.
    pub fn json(&self) -> &Json {
        &self.json
    }

    /// The DID that the document describes.
    pub fn id(&self) -> &Did {
        &self.id
    }

    /// The handle it claims: the first well-formed `at://<handle>` in `alsoKnownAs` (DI-6).
    ///
    /// Whether the handle points back to this DID is not checked here (HN-9).
    pub fn handle(&self) -> Option<Handle> {
        self.list("alsoKnownAs")
            .filter_map(|alias| alias.as_str()?.strip_prefix("at://"))
            .find_map(|handle| Handle::parse(handle).ok())
    }

    /// The key that signs the repository, `#atproto` (DI-7, DI-8, DI-10).
    ///
    /// `Ok(None)` when no verification method has that id, this DID as controller and a known type.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] when the first such method holds something that is not a key.
    pub fn signing_key(&self) -> Result<Option<PublicKey>, Error> {
        self.verification_key(SIGNING_KEY_ID)
    }

    /// The key of the verification method with this fragment id, such as `#atproto_label`.
    ///
    /// # Errors
    ///
    /// As [`DidDocument::signing_key`].
    pub fn verification_key(&self, id: &str) -> Result<Option<PublicKey>, Error> {
        let found = self
            .list("verificationMethod")
            .filter(|method| self.names(method, id))
            .filter(|method| text(method, "controller") == Some(self.id.as_str()))
            .find_map(|method| {
                let form = KeyForm::of_type(text(method, "type")?)?;
                Some((form, text(method, "publicKeyMultibase")?))
            });
        match found {
            Some((form, multibase)) => Ok(Some(form.decode(multibase)?)),
            None => Ok(None),
        }
    }

    /// Where the account's PDS is: scheme, host and perhaps a port, nothing else (DI-9).
    pub fn pds_endpoint(&self) -> Option<String> {
        self.service(PDS_SERVICE_ID, Some(PDS_SERVICE_TYPE))
    }

    /// Endpoint of the first service with this fragment id (`#bsky_appview`), whatever its type.
    ///
    /// As for a PDS, an endpoint with a path, query or user name counts as absent; a slash at its end is dropped.
    pub fn service_endpoint(&self, id: &str) -> Option<String> {
        self.service(id, None)
    }

    /// Endpoint of the first service with this fragment id and type.
    ///
    /// As [`DidDocument::service_endpoint`].
    pub fn typed_service_endpoint(&self, id: &str, service_type: &str) -> Option<String> {
        self.service(id, Some(service_type))
    }

    fn service(&self, id: &str, service_type: Option<&str>) -> Option<String> {
        let service = self
            .list("service")
            .filter(|service| self.names(service, id))
            .find(|service| service_type.is_none() || text(service, "type") == service_type)?;
        let endpoint = text(service, "serviceEndpoint")?;
        // A PDS is compared by its endpoint as it is written (DI-9); other services are only called.
        let endpoint = match id {
            PDS_SERVICE_ID => endpoint,
            _ => endpoint.strip_suffix('/').unwrap_or(endpoint),
        };
        is_origin(endpoint).then(|| endpoint.to_owned())
    }

    /// The entries of a top-level list; none when it is absent or something else.
    fn list(&self, field: &str) -> impl Iterator<Item = &Json> {
        self.json.get(field).and_then(Json::as_array).into_iter().flatten()
    }

    /// True when the entry's id is `fragment`, relative or absolute (DI-10).
    fn names(&self, entry: &Json, fragment: &str) -> bool {
        text(entry, "id")
            .is_some_and(|id| id == fragment || id.strip_prefix(self.id.as_str()) == Some(fragment))
    }
}

/// How a verification method writes its key, told by its type.
#[derive(Clone, Copy)]
enum KeyForm {
    Multikey,
    Legacy(Curve),
}

impl KeyForm {
    fn of_type(method_type: &str) -> Option<KeyForm> {
        match method_type {
            "Multikey" => Some(KeyForm::Multikey),
            "EcdsaSecp256k1VerificationKey2019" => Some(KeyForm::Legacy(Curve::K256)),
            "EcdsaSecp256r1VerificationKey2019" => Some(KeyForm::Legacy(Curve::P256)),
            _ => None,
        }
    }

    fn decode(self, multibase: &str) -> Result<PublicKey, crypto::Error> {
        match self {
            KeyForm::Multikey => PublicKey::from_multikey(multibase),
            KeyForm::Legacy(curve) => PublicKey::from_legacy_multibase(curve, multibase),
        }
    }
}

fn text<'a>(entry: &'a Json, field: &str) -> Option<&'a str> {
    entry.get(field)?.as_str()
}

/// `http` or `https`, a host name or address, and at most a port.
fn is_origin(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")) else {
        return false;
    };
    // A colon inside brackets belongs to an IPv6 address, not to a port.
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let host_is_fine = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<core::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
        }
    };
    let port_is_fine = port.is_none_or(|port| {
        !port.is_empty()
            && port.bytes().all(|b| b.is_ascii_digit())
            && port.parse::<u16>().is_ok_and(|port| port != 0)
    });
    host_is_fine && port_is_fine
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use serde_json::json;

    const DID: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";
    const KEY: &str = "zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF";

    fn document(fields: Json) -> DidDocument {
        let mut json = json!({ "id": DID });
        for (field, value) in fields.as_object().unwrap() {
            json[field] = value.clone();
        }
        DidDocument::from_json(json).unwrap()
    }

    fn with_pds(endpoint: Json) -> DidDocument {
        document(json!({ "service": [
            { "id": "#atproto_pds", "type": PDS_SERVICE_TYPE, "serviceEndpoint": endpoint },
        ]}))
    }

    #[test]
    fn a_document_without_a_did_is_refused() {
        for json in [json!([]), json!({}), json!({ "id": 3 }), json!({ "id": "alice.example" })] {
            assert!(DidDocument::from_json(json).is_err());
        }
    }

    /// DI-6
    #[test]
    fn the_handle_is_the_first_well_formed_alias() {
        let aliases = json!([
            3,
            "https://x.example",
            "at://no_handle",
            "at://a.example/x",
            "at://b.example",
            "at://c.example"
        ]);
        let handle = document(json!({ "alsoKnownAs": aliases })).handle().unwrap();
        assert_eq!(handle.as_str(), "b.example");
        assert_eq!(document(json!({})).handle(), None);
    }

    /// DI-7, DI-10
    #[test]
    fn the_signing_key_is_found_by_relative_and_absolute_id_and_its_own_controller() {
        let method = |id: &str, controller: &str, kind: &str| {
            document(json!({ "verificationMethod": [
                { "id": id, "controller": controller, "type": kind, "publicKeyMultibase": KEY },
            ]}))
            .signing_key()
            .unwrap()
            .map(|key| key.multikey())
        };
        let absolute = format!("{DID}#atproto");
        assert_eq!(method("#atproto", DID, "Multikey").as_deref(), Some(KEY));
        assert_eq!(method(&absolute, DID, "Multikey").as_deref(), Some(KEY));
        assert_eq!(method("did:web:b.example#atproto", DID, "Multikey"), None);
        assert_eq!(method("#atproto_label", DID, "Multikey"), None);
        assert_eq!(method("#atproto", "did:web:b.example", "Multikey"), None);
        assert_eq!(method("#atproto", DID, "JsonWebKey2020"), None);
    }

    /// DI-8
    #[test]
    fn a_legacy_key_is_an_uncompressed_point_without_prefix() {
        let legacy =
            "zQYEBzXeuTM9UR3rfvNag6L3RNAs5pQZyYPsomTsgQhsxLdEgCrPTLgFna8yqCnxPpNT7DBk6Ym3dgPKNu86vt9GR";
        let key = document(json!({ "verificationMethod": [{
            "id": "#atproto",
            "controller": DID,
            "type": "EcdsaSecp256k1VerificationKey2019",
            "publicKeyMultibase": legacy,
        }]}))
        .signing_key()
        .unwrap()
        .unwrap();
        assert_eq!(key.curve(), Curve::K256);
        assert_eq!(PublicKey::from_multikey(&key.multikey()).unwrap(), key);
    }

    #[test]
    fn a_key_that_does_not_decode_is_an_error_and_not_an_absent_key() {
        let broken = document(json!({ "verificationMethod": [
            { "id": "#atproto", "controller": DID, "type": "Multikey", "publicKeyMultibase": "zzz" },
        ]}));
        assert!(matches!(broken.signing_key(), Err(Error::Key(_))));
    }

    /// DI-9
    #[test]
    fn a_pds_endpoint_is_scheme_host_and_port_and_nothing_else() {
        for endpoint in
            ["https://pds.example", "http://localhost:2583", "https://[::1]:3000", "https://[::1]"]
        {
            assert_eq!(with_pds(json!(endpoint)).pds_endpoint().as_deref(), Some(endpoint));
        }
        for endpoint in [
            "https://pds.example/",
            "https://pds.example/x",
            "https://pds.example?x",
            "https://a@pds.example",
            "https://pds.example:",
            "https://pds.example:99999",
            "https://",
            "https://[1]",
            "ftp://pds.example",
            "pds.example",
        ] {
            assert_eq!(with_pds(json!(endpoint)).pds_endpoint(), None, "{endpoint}");
        }
        assert_eq!(with_pds(json!({ "uri": "https://pds.example" })).pds_endpoint(), None);
    }

    #[test]
    fn a_service_is_found_by_its_id_whatever_its_type() {
        let absolute = format!("{DID}#bsky_fg");
        let document = document(json!({ "service": [
            { "id": "#atproto_pds", "type": "Other", "serviceEndpoint": "https://a.example" },
            { "id": absolute, "type": "BskyFeedGenerator", "serviceEndpoint": "https://b.example/" },
        ]}));
        assert_eq!(document.service_endpoint("#bsky_fg").as_deref(), Some("https://b.example"));
        let typed = |kind: &str| document.typed_service_endpoint("#bsky_fg", kind);
        assert_eq!(typed("BskyFeedGenerator").as_deref(), Some("https://b.example"));
        assert_eq!(typed("Other"), None);
        assert_eq!(document.pds_endpoint(), None);
        assert_eq!(document.service_endpoint("#none"), None);
    }
}
