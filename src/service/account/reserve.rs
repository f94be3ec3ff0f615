//! Signing keys that are handed out before their account exists, so that an operation on the DID can name them.
//!
//! Anyone may ask, so there is a limit to how many are held and for how long. A key for a DID is kept for it until an
//! account is made for that DID, which then signs with it; new ones are refused when the limit is reached, because to
//! forget one would break a move that is under way. A key for nobody in particular cannot be claimed by an account, so
//! there the oldest gives way.

use atproto::syntax::Did;

use super::Accounts;
use crate::{
    service::keys::KeyError,
    store::{
        StoreError,
        reserved_signing_key::{self, ReservedKey},
    },
    time::{Micros, SECOND},
};

/// Keys held for DIDs at a time.
const FOR_DIDS_MAX: i64 = 10_000;
/// Keys held for nobody in particular at a time.
const NAMELESS_MAX: i64 = 1_000;
/// How long a key is held after it was last asked for.
const HELD_MICROS: Micros = 3 * 24 * 60 * 60 * SECOND;
/// A key that was asked for within this time is answered without noting that it was asked for again.
const FRESH_MICROS: Micros = 60 * 60 * SECOND;

/// Why no key was reserved.
#[derive(Debug, thiserror::Error)]
pub enum ReserveError {
    /// Too many others are.
    #[error("too many signing keys are reserved at this moment; try again later, or leave \"did\" out")]
    Full,
    /// No key could be made or sealed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Accounts {
    /// The `did:key` of a new key that is held for `did`, or of the one that is held already.
    pub async fn reserve_signing_key(&self, did: Option<Did>) -> Result<String, ReserveError> {
        let parts = &self.inner;
        if let Some(did) = did.clone() {
            let fresh_after = parts.clock.now() - FRESH_MICROS;
            let held: Result<_, StoreError> =
                parts.store.read(move |db| reserved_signing_key::get(db, &did)).await;
            if let Some(held) = held?.filter(|held| held.reserved_at > fresh_after) {
                return Ok(held.did_key);
            }
        }
        let key = parts.keys.generate()?;
        let (did_key, sealed) = (key.public_key().did_key(), parts.keys.seal(&key)?);
        parts
            .store
            .write(move |tx| {
                let now = tx.now();
                reserved_signing_key::delete_older(tx, now - HELD_MICROS)?;
                if let Some(did) = &did
                    && let Some(held) = reserved_signing_key::get(tx, did)?
                {
                    reserved_signing_key::set_reserved_at(tx, did, now)?;
                    return Ok(held.did_key);
                }
                let (for_dids, nameless) = reserved_signing_key::count(tx)?;
                match did {
                    Some(_) if for_dids >= FOR_DIDS_MAX => return Err(ReserveError::Full),
                    None if nameless >= NAMELESS_MAX => reserved_signing_key::delete_oldest_nameless(tx)?,
                    Some(_) | None => {}
                }
                let new = ReservedKey { did_key, sealed, reserved_at: now };
                reserved_signing_key::insert(tx, did.as_ref(), &new)?;
                Ok(new.did_key)
            })
            .await
    }

    /// The key that is held for `did`, as it is sealed.
    pub(super) async fn reserved_signing_key(&self, did: &Did) -> Result<Option<ReservedKey>, StoreError> {
        let (did, oldest) = (did.clone(), self.inner.clock.now() - HELD_MICROS);
        let held = self.inner.store.read(move |db| reserved_signing_key::get(db, &did)).await?;
        Ok(held.filter(|held| held.reserved_at >= oldest))
    }
}
