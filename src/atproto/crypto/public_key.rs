//! Public keys, their text forms, and verification.

use k256::ecdsa::signature::Verifier;
use multibase::Base;

use super::{Curve, Error};

const DID_KEY_PREFIX: &str = "did:key:";
/// Multicodec prefixes as varints (CR-4).
const K256_PREFIX: [u8; 2] = [0xe7, 0x01];
const P256_PREFIX: [u8; 2] = [0x80, 0x24];
const COMPRESSED_BYTES: usize = 33;
/// Longest text that is decoded, in bytes: an uncompressed point has 89 digits. Base58 takes
/// time that grows with the square of the length.
const MULTIBASE_BYTES_MAX: usize = 128;

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// A key on secp256k1.
    K256(k256::ecdsa::VerifyingKey),
    /// A key on P-256.
    P256(p256::ecdsa::VerifyingKey),
}

/// Which values of s are let in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SForm {
    Low,
    Any,
}

impl PublicKey {
    /// The curve it is on.
    pub fn curve(&self) -> Curve {
        match self {
            PublicKey::K256(_) => Curve::K256,
            PublicKey::P256(_) => Curve::P256,
        }
    }

    /// Reads `did:key:` and a multikey (CR-4).
    pub fn from_did_key(did_key: &str) -> Result<PublicKey, Error> {
        match did_key.strip_prefix(DID_KEY_PREFIX) {
            Some(multikey) => PublicKey::from_multikey(multikey),
            None => Err(Error::Key("it must start with did:key:".to_owned())),
        }
    }

    /// `did:key:z…`
    pub fn did_key(&self) -> String {
        format!("{DID_KEY_PREFIX}{}", self.multikey())
    }

    /// Reads a multikey: `z` and base58btc of a curve's prefix and a compressed point (CR-4, CR-5).
    pub fn from_multikey(multikey: &str) -> Result<PublicKey, Error> {
        let bytes = from_base58(multikey)?;
        let (curve, point) = match bytes.split_at_checked(2) {
            Some((prefix, point)) if prefix == K256_PREFIX => (Curve::K256, point),
            Some((prefix, point)) if prefix == P256_PREFIX => (Curve::P256, point),
            _ => {
                return Err(Error::Key("its prefix is of neither secp256k1 nor P-256".to_owned()));
            }
        };
        if point.len() != COMPRESSED_BYTES {
            return Err(Error::Key(format!("its point is {} bytes; a compressed one has 33", point.len())));
        }
        PublicKey::from_point(curve, point)
    }

    /// The multikey: `z` and base58btc of the curve's prefix and the compressed point.
    pub fn multikey(&self) -> String {
        let (prefix, point) = match self {
            PublicKey::K256(key) => (K256_PREFIX, key.to_sec1_point(true).as_bytes().to_vec()),
            PublicKey::P256(key) => (P256_PREFIX, key.to_sec1_point(true).as_bytes().to_vec()),
        };
        multibase::encode(Base::Base58Btc, [prefix.as_slice(), &point].concat())
    }

    /// Reads the key of a legacy DID document type (DI-8): `z` and base58btc of a point without a
    /// prefix; uncompressed by rule, compressed in some documents.
    pub fn from_legacy_multibase(curve: Curve, text: &str) -> Result<PublicKey, Error> {
        PublicKey::from_point(curve, &from_base58(text)?)
    }

    /// Reads a compressed or uncompressed point; it must lie on the curve.
    fn from_point(curve: Curve, point: &[u8]) -> Result<PublicKey, Error> {
        if !matches!((point.first(), point.len()), (Some(2 | 3), COMPRESSED_BYTES) | (Some(4), 65)) {
            return Err(Error::Key("it is not a point".to_owned()));
        }
        let key = match curve {
            Curve::K256 => k256::ecdsa::VerifyingKey::from_sec1_bytes(point).map(PublicKey::K256),
            Curve::P256 => p256::ecdsa::VerifyingKey::from_sec1_bytes(point).map(PublicKey::P256),
        };
        key.map_err(|_| Error::Key("its point is not on the curve".to_owned()))
    }

    /// Verifies ECDSA over the SHA-256 of `message`: 64 bytes, low-S (CR-2, CR-3).
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Error> {
        self.verify_form(message, signature, SForm::Low)
    }

    /// As [`PublicKey::verify`], but lets high-S in, as JWTs do.
    pub fn verify_any_s(&self, message: &[u8], signature: &[u8]) -> Result<(), Error> {
        self.verify_form(message, signature, SForm::Any)
    }

    fn verify_form(&self, message: &[u8], signature: &[u8], form: SForm) -> Result<(), Error> {
        let refused = |_| Error::SignatureForm;
        let (is_low, verified) = match self {
            PublicKey::K256(key) => {
                let signature = k256::ecdsa::Signature::from_slice(signature).map_err(refused)?;
                let low = signature.normalize_s();
                (low == signature, key.verify(message, &low))
            }
            PublicKey::P256(key) => {
                let signature = p256::ecdsa::Signature::from_slice(signature).map_err(refused)?;
                let low = signature.normalize_s();
                (low == signature, key.verify(message, &low))
            }
        };
        if form == SForm::Low && !is_low {
            return Err(Error::HighS);
        }
        verified.map_err(|_| Error::Mismatch)
    }
}

fn from_base58(text: &str) -> Result<Vec<u8>, Error> {
    if text.len() > MULTIBASE_BYTES_MAX {
        return Err(Error::Key(format!(
            "it is {} characters; at most {MULTIBASE_BYTES_MAX} are read",
            text.len()
        )));
    }
    match text.strip_prefix('z').map(|digits| Base::Base58Btc.decode(digits)) {
        Some(Ok(bytes)) => Ok(bytes),
        _ => Err(Error::Key("it must be z and base58btc".to_owned())),
    }
}
