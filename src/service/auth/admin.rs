//! The operator's password for `com.atproto.admin.*` and the like (XR-12).

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::time::Entropy;

/// The admin password, kept as a keyed hash: neither a memory dump nor the time of an answer tells it.
#[derive(Clone)]
pub struct AdminPassword {
    key: [u8; 32],
    digest: [u8; 32],
}

impl AdminPassword {
    /// Keeps `password`.
    pub fn new(password: &str, entropy: &Entropy) -> AdminPassword {
        let key = entropy.bytes::<32>();
        AdminPassword { digest: digest(&key, password), key }
    }

    /// Compares in constant time. An empty password never matches.
    pub fn matches(&self, password: &str) -> bool {
        !password.is_empty() && bool::from(digest(&self.key, password).ct_eq(&self.digest))
    }
}

fn digest(key: &[u8; 32], password: &str) -> [u8; 32] {
    // Only keys of a fixed length are refused, and HMAC takes any.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return [0; 32];
    };
    mac.update(password.as_bytes());
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_admin_password_matches() {
        let admin = AdminPassword::new("se:cret", &Entropy::system());
        assert!(admin.matches("se:cret"));
        for wrong in ["", "se:cre", "se:cret ", "SE:CRET"] {
            assert!(!admin.matches(wrong), "{wrong:?}");
        }
        assert!(!AdminPassword::new("", &Entropy::system()).matches(""));
    }
}
