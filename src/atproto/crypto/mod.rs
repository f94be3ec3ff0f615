//! Keys and signatures: secp256k1 and P-256, did:key, low-S (CR-1..CR-8).
//!
//! Not for: keeping keys, or drawing entropy; a new key is made from 32 random bytes handed in.

mod public_key;
mod signature;
mod signing_key;

pub use self::{public_key::PublicKey, signature::check_signature_form, signing_key::SigningKey};

/// Why a key or signature is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// CR-2
    #[error("signature is not 64 bytes of r and s; DER is not accepted")]
    SignatureForm,
    /// CR-3
    #[error("signature is high-S; only the low-S form is valid")]
    HighS,
    /// Made over other bytes, or with another key.
    #[error("signature does not match")]
    Mismatch,
    /// CR-4, CR-5
    #[error("not a key: {0}")]
    Key(String),
}

/// The curves of the protocol (CR-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    /// secp256k1, the default for new keys (CR-8); `ES256K` in JWTs.
    K256,
    /// NIST P-256; `ES256` in JWTs.
    P256,
}

#[cfg(test)]
mod tests;
