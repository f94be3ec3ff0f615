//! Private keys.

use std::fmt;

use ecdsa::hazmat::sign_prehashed_rfc6979;
use p256::ecdsa::signature::Signer;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{Curve, Error, PublicKey};

/// A private key. `Debug` shows its curve only; dropping it overwrites it.
#[derive(Clone)]
pub enum SigningKey {
    /// A key on secp256k1. Not with its public half, which costs three quarters of a signature to compute: a server often
    /// opens a key for one signature.
    K256(k256::SecretKey),
    /// A key on P-256.
    P256(p256::ecdsa::SigningKey),
}

impl SigningKey {
    /// Reads the 32 byte big-endian scalar; refuses zero and values from the curve order up.
    pub fn from_bytes(curve: Curve, bytes: &[u8; 32]) -> Result<SigningKey, Error> {
        let key = match curve {
            Curve::K256 => k256::SecretKey::from_slice(bytes).ok().map(SigningKey::K256),
            Curve::P256 => p256::ecdsa::SigningKey::from_slice(bytes).ok().map(SigningKey::P256),
        };
        key.ok_or_else(|| Error::Key("the scalar is zero or not below the order of the curve".to_owned()))
    }

    /// The scalar; overwritten when dropped.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(match self {
            SigningKey::K256(key) => key.to_bytes().into(),
            SigningKey::P256(key) => key.to_bytes().into(),
        })
    }

    /// The curve it is on.
    pub fn curve(&self) -> Curve {
        match self {
            SigningKey::K256(_) => Curve::K256,
            SigningKey::P256(_) => Curve::P256,
        }
    }

    /// What others verify with.
    pub fn public_key(&self) -> PublicKey {
        match self {
            SigningKey::K256(key) => PublicKey::K256(key.public_key().into()),
            SigningKey::P256(key) => PublicKey::P256(*key.verifying_key()),
        }
    }

    /// ECDSA over the SHA-256 of `message`: r and s, low-S, deterministic nonce (CR-2, CR-3, CR-7).
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        match self {
            SigningKey::K256(key) => {
                let (scalar, hash) = (Zeroizing::new(key.to_nonzero_scalar()), Sha256::digest(message));
                let (signature, _) = sign_prehashed_rfc6979::<k256::Secp256k1, Sha256>(&scalar, &hash, &[]);
                signature.normalize_s().to_bytes().into()
            }
            SigningKey::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                // The P-256 crate leaves s as it falls.
                signature.normalize_s().to_bytes().into()
            }
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.curve()).finish_non_exhaustive()
    }
}
