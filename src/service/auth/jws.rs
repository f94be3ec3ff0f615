//! Compact JSON Web Signatures of this server's own tokens: HS256, by `jsonwebtoken`.
//!
//! The algorithm is never taken from the token. What the claims mean, times among them, is for the caller, who has the
//! clock. Not for: tokens that others sign with the keys of their DID documents (ES256K, which `jsonwebtoken` lacks).

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, TokenData, Validation,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{Error, ErrorKind},
    signature::{self, Signer, Verifier},
};
use serde_json::{Map, Value};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Longest token looked at, in bytes.
pub(super) const TOKEN_BYTES_MAX: usize = 4096;

/// Why a token is not one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// Not three parts of base64url JSON.
    #[error("token is not a compact JWS")]
    Form,
    /// Another algorithm, or a signature that does not match.
    #[error("token signature does not match")]
    Signature,
}

/// A token whose signature has been checked.
#[derive(Debug)]
pub struct Verified {
    /// `typ` of the header.
    pub typ: String,
    /// The claims.
    pub claims: Map<String, Value>,
}

/// Signs and verifies with HMAC-SHA-256.
#[derive(Clone)]
pub struct Hs256 {
    key: Zeroizing<[u8; 32]>,
    verifying: Arc<Verifying>,
}

/// What a look at a token needs, made once.
struct Verifying {
    key: DecodingKey,
    only_the_signature: Validation,
}

impl Hs256 {
    /// `key`: 32 random bytes.
    pub fn new(key: Zeroizing<[u8; 32]>) -> Hs256 {
        // Refused when it is there already: by an earlier call, and then it is this one.
        let _ = PROVIDER.install_default();
        let mut only_the_signature = Validation::new(Algorithm::HS256);
        only_the_signature.required_spec_claims.clear();
        only_the_signature.validate_exp = false;
        only_the_signature.validate_aud = false;
        let verifying = Verifying { key: DecodingKey::from_secret(&key[..]), only_the_signature };
        Hs256 { key, verifying: Arc::new(verifying) }
    }

    /// HMAC of `bytes` under this key, for values derived from it.
    pub fn derive(&self, bytes: &[u8]) -> [u8; 32] {
        mac(&self.key[..]).map_or([0; 32], |mac| mac.chain_update(bytes).finalize().into_bytes().into())
    }

    /// The token with header `{"alg":"HS256","typ":typ}`.
    #[allow(clippy::expect_used, reason = "JSON can be written, and HMAC takes keys of any length")]
    pub fn sign(&self, typ: &str, claims: &Value) -> String {
        let header = Header { typ: Some(typ.to_owned()), ..Header::new(Algorithm::HS256) };
        let key = EncodingKey::from_secret(&self.key[..]);
        jsonwebtoken::encode(&header, claims, &key).expect("signing with HMAC cannot fail")
    }

    /// Checks form, algorithm and signature (in constant time). What the claims mean is for the caller.
    pub fn verify(&self, token: &str) -> Result<Verified, JwsError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(JwsError::Form);
        }
        let Verifying { key, only_the_signature } = &*self.verifying;
        let TokenData { header, claims, .. } =
            jsonwebtoken::decode(token, key, only_the_signature).map_err(|error| match error.kind() {
                ErrorKind::InvalidToken | ErrorKind::Base64(_) | ErrorKind::Json(_) => JwsError::Form,
                _ => JwsError::Signature,
            })?;
        Ok(Verified { typ: header.typ.unwrap_or_default(), claims })
    }
}

/// What `jsonwebtoken` signs with: HMAC-SHA-256 from the crates that the rest of the server uses. Its own choices bring
/// RSA and a second generation of the curves.
static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| match algorithm {
        Algorithm::HS256 => Ok(Box::new(HmacSha256(mac(key.as_bytes())?))),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    },
    verifier_factory: |algorithm, key| match algorithm {
        Algorithm::HS256 => Ok(Box::new(HmacSha256(mac(key.try_get_as_bytes()?)?))),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    },
    // For JSON Web Keys, which do not occur here.
    key_utils: KeyUtils::new_unimplemented(),
};

fn mac(key: &[u8]) -> Result<Hmac<Sha256>, Error> {
    Hmac::new_from_slice(key).map_err(|_| ErrorKind::InvalidKeyFormat.into())
}

struct HmacSha256(Hmac<Sha256>);

impl Signer<Vec<u8>> for HmacSha256 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(self.0.clone().chain_update(message).finalize().into_bytes().to_vec())
    }
}

impl Verifier<Vec<u8>> for HmacSha256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let mac = self.0.clone().chain_update(message);
        mac.verify_slice(signature).map_err(|_| signature::Error::new())
    }
}

impl JwtSigner for HmacSha256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for HmacSha256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

    use super::*;

    fn hs256(byte: u8) -> Hs256 {
        Hs256::new(Zeroizing::new([byte; 32]))
    }

    #[test]
    fn a_signed_token_verifies_under_its_key_alone() {
        let token = hs256(1).sign("at+jwt", &serde_json::json!({ "sub": "did:plc:x" }));
        let verified = hs256(1).verify(&token).unwrap();
        assert_eq!(verified.typ, "at+jwt");
        assert_eq!(verified.claims["sub"], "did:plc:x");
        assert_eq!(hs256(2).verify(&token).unwrap_err(), JwsError::Signature);
    }

    #[test]
    fn every_changed_byte_of_a_token_is_noticed() {
        let token = hs256(1).sign("at+jwt", &serde_json::json!({ "sub": "did:plc:x", "exp": 1 }));
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(hs256(1).verify(&changed).is_err(), "byte {at}");
        }
    }

    #[test]
    fn tokens_that_choose_their_own_algorithm_are_refused() {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let claims = encode(r#"{"sub":"did:plc:x"}"#);
        for header in [r#"{"alg":"none"}"#, r#"{"alg":"hs256"}"#, r#"{"typ":"at+jwt"}"#, "[]", "x"] {
            let signed = format!("{}.{claims}", encode(header));
            let signature = URL_SAFE_NO_PAD.encode(hs256(1).derive(signed.as_bytes()));
            assert!(hs256(1).verify(&format!("{signed}.{signature}")).is_err(), "{header}");
            assert!(hs256(1).verify(&format!("{signed}.")).is_err(), "{header}");
        }
        for text in ["", ".", "..", "...", "a.b", "a.b.c", &"x".repeat(100_000)] {
            assert_eq!(hs256(1).verify(text).unwrap_err(), JwsError::Form);
        }
    }
}
