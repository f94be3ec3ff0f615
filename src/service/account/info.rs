//! What moderators are told of accounts, whatever their state.

use atproto::syntax::Did;

use super::{Accounts, invite::OF_ACCOUNT_MAX};
use crate::store::{
    StoreError,
    account::{self, Account},
    invite_code::{self, InviteCode},
};

/// An account, and the invite codes around it.
#[derive(Clone, Debug)]
pub struct AccountInfo {
    /// The account.
    pub account: Account,
    /// The code that it signed up with.
    pub invited_by: Option<InviteCode>,
    /// The codes that it may give away, the newest of them, disabled ones too.
    pub invites: Vec<InviteCode>,
}

impl Accounts {
    /// The accounts with these DIDs, in their order and each once. DIDs without an account are left out.
    pub async fn infos(&self, mut dids: Vec<Did>) -> Result<Vec<AccountInfo>, StoreError> {
        let mut seen = std::collections::HashSet::new();
        dids.retain(|did| seen.insert(did.clone()));
        self.inner
            .store
            .read(move |db| {
                dids.iter()
                    .filter_map(|did| account::get_by_did(db, did).transpose())
                    .map(|account| info(db, account?))
                    .collect()
            })
            .await
    }

    /// Accounts whose email address contains `email` in any case, in the order in which they were made, after the one
    /// numbered `after_id`, at most `n_max`. Without `email`: all accounts.
    pub async fn search(
        &self,
        email: Option<String>,
        after_id: i64,
        n_max: usize,
    ) -> Result<Vec<AccountInfo>, StoreError> {
        self.inner
            .store
            .read(move |db| {
                let email = email.map(|email| email.to_lowercase());
                let found = account::search_by_email(db, email.as_deref(), after_id, n_max)?;
                found.into_iter().map(|account| info(db, account)).collect()
            })
            .await
    }
}

fn info(db: &rusqlite::Connection, account: Account) -> Result<AccountInfo, StoreError> {
    let did = account.did.as_str();
    Ok(AccountInfo {
        invited_by: invite_code::get_used_by(db, did)?,
        invites: invite_code::list_of_account(db, did, OF_ACCOUNT_MAX)?,
        account,
    })
}
