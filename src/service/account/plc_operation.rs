//! Submitting an operation that an account's owner made, and announcing it.
//!
//! Not for: what may be submitted (`service::identity::plc_operation`).

use atproto::plc::Operation;

use super::{Accounts, handle};
use crate::{
    service::identity::{Freshness, PlcError, plc_operation::PlcOperationError},
    store::{
        StoreError,
        account::Account,
        pending_identity::{self, Kind},
    },
    task,
};

impl Accounts {
    /// Checks an operation on the account's DID, submits it and announces it (MG-8).
    ///
    /// # Errors
    ///
    /// The first guard that it does not pass; nothing was submitted then. When the directory cannot be reached it may
    /// have taken the operation all the same; it is announced later.
    pub async fn submit_operation(
        &self,
        account: &Account,
        operation: Operation,
    ) -> Result<(), PlcOperationError> {
        self.inner.identities.check_operation(account, &operation).await?;
        let (accounts, account) = (self.clone(), account.clone());
        // A task of its own: a client that hangs up must not keep a change from being announced.
        task::spawn_to_the_end(async move { accounts.submit_checked(&account, &operation).await })
            .await
            .unwrap_or_else(|error| {
                tracing::error!(%error, "submitting an operation was cut off");
                Err(StoreError::NotCommitted("submitting the operation was cut off".into()).into())
            })
    }

    async fn submit_checked(
        &self,
        account: &Account,
        operation: &Operation,
    ) -> Result<(), PlcOperationError> {
        let parts = &self.inner;
        let did = &account.did;
        let _claim = self.changing.claim(did).ok_or_else(|| {
            PlcError::Refused("another change of this account's identity is under way; try again".into())
        })?;
        let key = did.clone();
        let noted = parts.store.write(move |tx| {
            // What is noted already ends with an event too.
            match pending_identity::get(tx, &key)? {
                Some(_) => Ok(()),
                None => pending_identity::put(tx, &key, Kind::Operation, None, tx.now()),
            }
        });
        noted.await.map_err(|error: StoreError| error)?;
        if let Err(error) = parts.plc.submit_and_confirm(did, operation).await {
            if matches!(error, PlcError::Refused(_)) {
                self.forget_operation(account).await;
            }
            return Err(error.into());
        }
        let key = did.clone();
        let announced = parts.store.write(move |tx| {
            delete_operation(tx, &key)?;
            handle::announce(tx, &key, None)
        });
        announced.await.map_err(|error: StoreError| error)?;
        if let Err(error) = parts.identities.dids().resolve(did, Freshness::Forced).await {
            tracing::debug!(%did, %error, "the document could not be read again after an operation");
        }
        Ok(())
    }

    async fn forget_operation(&self, account: &Account) {
        let key = account.did.clone();
        let forgotten: Result<(), StoreError> =
            self.inner.store.write(move |tx| delete_operation(tx, &key)).await;
        if let Err(error) = forgotten {
            tracing::warn!(did = %account.did, %error, "a pending operation could not be forgotten");
        }
    }
}

/// A change of handle that waits for the directory goes on waiting.
fn delete_operation(db: &rusqlite::Connection, did: &atproto::syntax::Did) -> Result<(), StoreError> {
    match pending_identity::get(db, did)? {
        Some(pending) if pending.kind == Kind::Operation => pending_identity::delete(db, did),
        _ => Ok(()),
    }
}
