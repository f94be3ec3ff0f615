//! Signing keys and server secrets: sealed at rest under the master key (XChaCha20-Poly1305), opened on demand.
//!
//! What is sealed is bound to what it is for: a signing key does not open as a server secret.

use std::{
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use atproto::{
    crypto::{Curve, SigningKey},
    syntax::Did,
};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use crate::{
    service::recent::Recent,
    store::{Store, StoreError, server_secret, signing_key},
    time::Entropy,
};

/// Opened keys held in memory at a time, some 350 bytes each: those of 10,000 accounts that write in turn.
const OPEN_KEYS_MAX: usize = 20_000;
/// Random bytes before each sealed secret.
const NONCE_BYTES: usize = 24;
/// Draws of a random scalar before giving up. One in 2^128 is refused, so a second failure means a broken source.
const KEY_DRAWS_MAX: usize = 8;

const ROTATION_KEY: &str = "plc-rotation-key";

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The account's key is not in the database.
    #[error("{0} has no signing key here")]
    Missing(Did),
    /// Another master key, or a damaged row.
    #[error("a sealed key cannot be opened: is this the right master key?")]
    Sealed,
    /// The random source gives no scalar.
    #[error("no key can be made of what the random source gives")]
    Entropy,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The key that signs the commits of an account. Derefs to the key itself.
pub struct AccountKey {
    key: SigningKey,
    did_key: String,
}

impl AccountKey {
    /// Its public half, as table `signing_key` has it.
    pub fn did_key(&self) -> &str {
        &self.did_key
    }
}

impl Deref for AccountKey {
    type Target = SigningKey;

    fn deref(&self) -> &SigningKey {
        &self.key
    }
}

/// Opens sealed keys; keeps the most recently used ones in memory (bounded). Cheap to clone.
#[derive(Clone)]
pub struct Keys {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    entropy: Entropy,
    cipher: XChaCha20Poly1305,
    open: Mutex<Recent<Did, Arc<AccountKey>>>,
    rotation_key: OnceCell<Arc<SigningKey>>,
}

impl Keys {
    /// Keys in `store`, sealed under `master_key`.
    pub fn new(store: Store, master_key: &Zeroizing<[u8; 32]>, entropy: Entropy) -> Keys {
        Keys {
            inner: Arc::new(Inner {
                store,
                entropy,
                cipher: XChaCha20Poly1305::new((&**master_key).into()),
                open: Mutex::new(Recent::new(OPEN_KEYS_MAX)),
                rotation_key: OnceCell::new(),
            }),
        }
    }

    /// The key that signs the commits of the account `did`.
    pub async fn signing_key(&self, did: &Did) -> Result<Arc<AccountKey>, KeyError> {
        if let Some(key) = self.open_keys().get(did) {
            return Ok(key);
        }
        let (did_key, sealed) = self
            .inner
            .store
            .look(|db| signing_key::get(db, did))
            .await
            .map_err(|error: StoreError| KeyError::from(error))?
            .ok_or_else(|| KeyError::Missing(did.clone()))?;
        let key = Arc::new(AccountKey { key: self.open_key(&sealed, SIGNING_KEY)?, did_key });
        self.open_keys().insert(did.clone(), key.clone());
        Ok(key)
    }

    /// Lets go of the key of an account that has been deleted, or has another one now.
    pub fn forget(&self, did: &Did) {
        self.open_keys().take(did);
    }

    /// A fresh k256 key, not stored yet.
    pub fn generate(&self) -> Result<SigningKey, KeyError> {
        for _ in 0..KEY_DRAWS_MAX {
            let scalar = Zeroizing::new(self.inner.entropy.bytes::<32>());
            if let Ok(key) = SigningKey::from_bytes(Curve::K256, &scalar) {
                return Ok(key);
            }
        }
        Err(KeyError::Entropy)
    }

    /// Seals the key of an account for table `signing_key`.
    pub fn seal(&self, key: &SigningKey) -> Result<Vec<u8>, KeyError> {
        self.seal_secret(&key.to_bytes()[..], SIGNING_KEY)
    }

    /// Opens what [`Keys::seal`] sealed.
    pub fn open(&self, sealed: &[u8]) -> Result<SigningKey, KeyError> {
        self.open_key(sealed, SIGNING_KEY)
    }

    /// Signs did:plc operations; made on first use.
    pub async fn plc_rotation_key(&self) -> Result<Arc<SigningKey>, KeyError> {
        self.inner
            .rotation_key
            .get_or_try_init(|| async {
                let fresh = self.generate()?.to_bytes();
                let scalar = self.secret(ROTATION_KEY, &fresh).await?;
                SigningKey::from_bytes(Curve::K256, &scalar).map(Arc::new).map_err(|_| KeyError::Sealed)
            })
            .await
            .cloned()
    }

    /// The 32 byte server secret of this name; `fresh` becomes it when there is none yet.
    pub async fn secret(
        &self,
        name: &'static str,
        fresh: &[u8; 32],
    ) -> Result<Zeroizing<[u8; 32]>, KeyError> {
        let found = self.inner.store.read(move |db| server_secret::get(db, name)).await;
        let sealed = match found.map_err(|error: StoreError| KeyError::from(error))? {
            Some(sealed) => sealed,
            None => {
                let sealed = self.seal_secret(fresh, name)?;
                let stored =
                    self.inner.store.write(move |tx| server_secret::insert_or_get(tx, name, &sealed)).await;
                stored.map_err(|error: StoreError| KeyError::from(error))?
            }
        };
        self.open_secret(&sealed, name)
    }

    /// Seals text of any length for `purpose`; it opens for no other.
    pub fn seal_bytes(&self, bytes: &[u8], purpose: &str) -> Result<Vec<u8>, KeyError> {
        self.seal_secret(bytes, purpose)
    }

    /// Opens what [`Keys::seal_bytes`] sealed for `purpose`.
    pub fn open_bytes(&self, sealed: &[u8], purpose: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(KeyError::Sealed)?;
        let payload = Payload { msg: sealed, aad: purpose.as_bytes() };
        let opened = self.inner.cipher.decrypt(&XNonce::from(*nonce), payload);
        opened.map(Zeroizing::new).map_err(|_| KeyError::Sealed)
    }

    fn open_key(&self, sealed: &[u8], purpose: &str) -> Result<SigningKey, KeyError> {
        let scalar = self.open_secret(sealed, purpose)?;
        SigningKey::from_bytes(Curve::K256, &scalar).map_err(|_| KeyError::Sealed)
    }

    /// Nonce, then ciphertext and tag.
    fn seal_secret(&self, secret: &[u8], purpose: &str) -> Result<Vec<u8>, KeyError> {
        let nonce = self.inner.entropy.bytes::<NONCE_BYTES>();
        let payload = Payload { msg: secret, aad: purpose.as_bytes() };
        let sealed =
            self.inner.cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| KeyError::Sealed)?;
        Ok([&nonce[..], &sealed].concat())
    }

    fn open_secret(&self, sealed: &[u8], purpose: &str) -> Result<Zeroizing<[u8; 32]>, KeyError> {
        let opened = self.open_bytes(sealed, purpose)?;
        opened.as_slice().try_into().map(Zeroizing::new).map_err(|_| KeyError::Sealed)
    }

    fn open_keys(&self) -> MutexGuard<'_, Recent<Did, Arc<AccountKey>>> {
        self.inner.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const SIGNING_KEY: &str = "signing-key";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::{store::StoreOptions, time::Clock};

    async fn keys(dir: &std::path::Path, master_key: u8) -> Keys {
        let store = Store::open(StoreOptions::at(dir), Clock::system()).await.unwrap();
        Keys::new(store, &Zeroizing::new([master_key; 32]), Entropy::system())
    }

    #[tokio::test]
    async fn a_server_secret_stays_the_same_and_opens_under_its_master_key_alone() {
        let dir = tempfile::TempDir::new().unwrap();
        let made = keys(dir.path(), 1).await.secret("name", &[5; 32]).await.unwrap();
        assert_eq!(*made, [5; 32]);
        assert_eq!(keys(dir.path(), 1).await.secret("name", &[6; 32]).await.unwrap(), made);
        let wrong = keys(dir.path(), 2).await.secret("name", &[7; 32]).await;
        assert!(matches!(wrong, Err(KeyError::Sealed)));
    }

    #[tokio::test]
    async fn what_is_sealed_shows_nothing_and_opens_for_its_purpose_alone() {
        let dir = tempfile::TempDir::new().unwrap();
        let keys = keys(dir.path(), 1).await;
        let sealed = keys.seal_secret(&[9; 32], "one").unwrap();
        assert!(!sealed.windows(4).any(|window| window == [9; 4]));
        assert_ne!(sealed, keys.seal_secret(&[9; 32], "one").unwrap(), "a nonce of its own");
        assert_eq!(*keys.open_secret(&sealed, "one").unwrap(), [9; 32]);
        assert!(keys.open_secret(&sealed, "two").is_err());
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(keys.open_secret(&damaged, "one").is_err(), "byte {at}");
            assert!(keys.open_secret(&sealed[..at], "one").is_err(), "cut at {at}");
        }
    }
}
