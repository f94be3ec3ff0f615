//! A new password for whoever has forgotten the old one, or from the operator.
//!
//! With the password die the sessions and the app passwords: whoever resets it wants to be alone in the account.
//!
//! Not for: hashing (`service::auth::password`).

use atproto::syntax::Did;
use tokio::sync::TryAcquireError;
use zeroize::Zeroizing;

use super::{
    Accounts,
    email_token::{EmailTokenError, Purpose},
};
use crate::{
    service::{
        auth::password::{NEW_PASSWORD_CHARS_MAX, PasswordError},
        mail::QueueFull,
    },
    store::{StoreError, account, email_token},
    task,
};

/// Requests for a new password worked on at a time, behind the backs of those who asked.
pub(super) const RESETS_MAX: usize = 64;

/// Why a password is not changed.
#[derive(Debug, thiserror::Error)]
pub enum ResetError {
    /// More than [`NEW_PASSWORD_CHARS_MAX`] characters.
    #[error("Password too long. Maximum length is {NEW_PASSWORD_CHARS_MAX} characters.")]
    TooLong,
    /// No account here has this DID.
    #[error("Account does not exist: {0}")]
    Unknown(Did),
    /// The code opens nothing.
    #[error(transparent)]
    Token(#[from] EmailTokenError),
    /// The password could not be hashed.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Accounts {
    /// Mails a code for a new password to `email`, if an account has that address. Whether one has is not told, neither by
    /// the answer nor by its time: all of it happens after the answer.
    pub fn request_password_reset(&self, email: &str) -> Result<(), QueueFull> {
        let permit = match self.resets.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => return Err(QueueFull),
        };
        let (accounts, email) = (self.clone(), email.to_lowercase());
        task::spawn(async move {
            let _permit = permit;
            if let Err(error) = accounts.mail_password_reset(email).await {
                tracing::warn!(%error, "a code for a new password could not be sent");
            }
        });
        Ok(())
    }

    async fn mail_password_reset(&self, email: String) -> Result<(), EmailTokenError> {
        let found = self.inner.store.read(move |db| account::get_by_email(db, &email)).await;
        match found.map_err(|error: StoreError| EmailTokenError::from(error))? {
            Some(account) => self.inner.email_tokens.request(&account, Purpose::ResetPassword).await,
            None => Ok(()),
        }
    }

    /// Sets a new password with a code that was mailed for it; sessions and app passwords end.
    pub async fn reset_password(&self, token: &str, password: Zeroizing<String>) -> Result<(), ResetError> {
        check_length(&password)?;
        let typed = self.inner.email_tokens.typed(Purpose::ResetPassword, token);
        // Looked at before the hash is computed: guessing codes is not to cost the server a hash each.
        let (early, now) = (typed.clone(), self.inner.clock.now());
        let found: Result<_, StoreError> = self.inner.store.read(move |db| early.find(db, now)).await;
        found??;
        let hash = self.inner.passwords.hash(password).await?;
        let outcome: Result<_, StoreError> = self
            .inner
            .store
            .write(move |tx| {
                let account_id = match typed.find(tx, tx.now())? {
                    Ok(account_id) => account_id,
                    Err(refused) => return Ok(Err(refused)),
                };
                email_token::delete(tx, account_id, Purpose::ResetPassword.as_str())?;
                account::replace_password(tx, account_id, &hash)?;
                Ok(Ok(()))
            })
            .await;
        Ok(outcome??)
    }

    /// The operator sets a new password; sessions and app passwords end.
    pub async fn set_password(&self, did: &Did, password: Zeroizing<String>) -> Result<(), ResetError> {
        check_length(&password)?;
        let hash = self.inner.passwords.hash(password).await?;
        let did = did.clone();
        self.inner
            .store
            .write(move |tx| {
                let account = account::get_by_did(tx, &did)?.ok_or(ResetError::Unknown(did))?;
                Ok(account::replace_password(tx, account.id, &hash)?)
            })
            .await
    }
}

fn check_length(password: &str) -> Result<(), ResetError> {
    if password.chars().count() > NEW_PASSWORD_CHARS_MAX {
        return Err(ResetError::TooLong);
    }
    Ok(())
}
