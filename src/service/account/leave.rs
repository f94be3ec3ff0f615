//! An owner deletes the account: with its password and a code from a mail.
//!
//! Not for: the deletion itself ([`super::status`]).

use atproto::syntax::Did;
use zeroize::Zeroizing;

use super::{
    Accounts,
    email_token::{EmailTokenError, Purpose},
    status::delete_in,
};
use crate::{
    service::auth::password::{PASSWORD_CHARS_MAX, PasswordError},
    store::{StoreError, account},
};

/// Why an account is not deleted.
#[derive(Debug, thiserror::Error)]
pub enum LeaveError {
    /// No account here has this DID.
    #[error("account not found")]
    NoAccount,
    /// Not the account's own password.
    #[error("Invalid did or password")]
    Password,
    /// The code opens nothing.
    #[error(transparent)]
    Token(#[from] EmailTokenError),
    /// The password could not be compared.
    #[error(transparent)]
    Hash(#[from] PasswordError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Accounts {
    /// Deletes the account of whoever knows its password and has read its mail. App passwords do not count.
    pub async fn leave(&self, did: &Did, password: Zeroizing<String>, token: &str) -> Result<(), LeaveError> {
        if password.chars().count() > PASSWORD_CHARS_MAX {
            return Err(LeaveError::Password);
        }
        let account = self.find(did).await?.ok_or(LeaveError::NoAccount)?;
        if !self.inner.passwords.verify(password, account.password_hash).await? {
            return Err(LeaveError::Password);
        }
        let typed = self.inner.email_tokens.typed(Purpose::DeleteAccount, token);
        let owner = did.clone();
        let outcome: Result<_, StoreError> = self
            .inner
            .store
            .write(move |tx| {
                // The one whose password was compared, not one that came after it.
                if account::get_by_did(tx, &owner)?.is_none_or(|found| found.id != account.id) {
                    return Ok(Err(LeaveError::NoAccount));
                }
                match typed.check(tx, account.id)? {
                    Ok(()) => Ok(Ok(delete_in(tx, &owner)?)),
                    Err(refused) => Ok(Err(refused.into())),
                }
            })
            .await;
        self.after_deletion(did, outcome??);
        Ok(())
    }
}
