//! Announcing every account again, after numbers of the firehose were left out ([`crate::service::sequence`]).
//!
//! What subscribers know of an account may be newer than what a restored database holds. So each account says what it
//! is (`#account`), and an active one what it holds (`#sync`). The state goes out under a new commit over the same
//! tree: consumers drop a state whose `rev` is not above the last that they saw.
//!
//! Goes in steps, and goes on after a crash where it was.
//!
//! Not for: changes of an account ([`super::status`]).

use atproto::syntax::Did;

use super::{
    Accounts,
    status::{StatusError, announce_status},
};
use crate::{
    service::{
        keys::AccountKey,
        repo::write::{announce_head, sign_anew},
    },
    store::{
        StoreError, WriteTx,
        account::{self, Account},
        repo, seq_repair, signing_key,
    },
};

/// Accounts announced in one transaction, so that writes get their turn in between.
const STEP_ACCOUNTS: usize = 25;

impl Accounts {
    /// Announces one account as a repair does; false when it is not here.
    pub async fn announce_one(&self, did: &Did) -> Result<bool, StatusError> {
        let Some(account) = self.find(did).await? else { return Ok(false) };
        let key = self.inner.keys.signing_key(&account.did).await?;
        let clock_id = u16::from_le_bytes(self.inner.entropy.bytes());
        self.inner.store.write(move |tx| announce(tx, &account, Some(&key), clock_id)).await?;
        Ok(true)
    }

    /// Announces the accounts that are still to be announced after [`seq_repair::begin`]; returns how many those were.
    /// Stopping in the middle is harmless: call it again.
    pub async fn announce_again(&self) -> Result<usize, StoreError> {
        let mut n_announced = 0;
        loop {
            let page = self.inner.store.read(|db| match seq_repair::get(db)? {
                Some(after_id) => account::list(db, after_id, STEP_ACCOUNTS).map(Some),
                None => Ok::<_, StoreError>(None),
            });
            let Some(page) = page.await? else { return Ok(n_announced) };
            let mut step = Vec::with_capacity(page.len());
            for account in page {
                let key = match self.inner.keys.signing_key(&account.did).await {
                    Ok(key) => Some(key),
                    Err(error) => {
                        tracing::error!(did = %account.did, %error, "an account cannot be signed for");
                        None
                    }
                };
                step.push((account, key));
            }
            n_announced += step.len();
            let clock_id = u16::from_le_bytes(self.inner.entropy.bytes());
            let written = self.inner.store.write(move |tx| {
                let Some((last, _)) = step.last() else { return Ok(seq_repair::end(tx)?) };
                let last_id = last.id;
                for (account, key) in &step {
                    announce(tx, account, key.as_deref(), clock_id)?;
                }
                Ok(seq_repair::set_after(tx, last_id)?)
            });
            written.await.map_err(|error: StatusError| match error {
                StatusError::Store(error) => error,
                other => StoreError::NotCommitted(other.to_string()),
            })?;
        }
    }
}

/// Announces one account, unless it has gone since it was listed.
fn announce(
    tx: &mut WriteTx<'_>,
    listed: &Account,
    key: Option<&AccountKey>,
    clock_id: u16,
) -> Result<(), StatusError> {
    if account::get_by_did(tx, &listed.did)?.is_none() {
        return Ok(());
    }
    let account = announce_status(tx, &listed.did)?;
    let Some(repo_id) = account.repo_id.filter(|_| account.is_active()) else { return Ok(()) };
    let current = signing_key::get_did_key(tx, account.id)?;
    let head = match key.filter(|key| current.as_deref() == Some(key.did_key())) {
        Some(key) => sign_anew(tx, repo_id, &account.did, key, clock_id)?,
        // Its key was changed since it was opened, and the change has just signed anew.
        None => repo::get_head(tx, repo_id)?,
    };
    if let Some(head) = head {
        announce_head(tx, &account.did, &head)?;
    }
    Ok(())
}
