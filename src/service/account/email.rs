//! The account's mail address: confirming it and changing it.
//!
//! Not for: codes themselves ([`super::email_token`]).

use atproto::syntax::{AtIdentifier, Did};

use super::{
    Accounts,
    create::{CreateAccountError, check_email},
    email_token::{EmailTokenError, Purpose},
};
use crate::store::{
    StoreError, WriteTx,
    account::{self, Account},
    email_token,
};

/// Why an address is neither confirmed nor changed.
#[derive(Debug, thiserror::Error)]
pub enum EmailError {
    /// The account is gone.
    #[error("user not found")]
    NoAccount,
    /// No account here has that name.
    #[error("Account does not exist: {0}")]
    Unknown(AtIdentifier),
    /// Not the address that the account has.
    #[error("invalid email")]
    Other,
    /// Not an address.
    #[error("This email address is not supported, please use a different email.")]
    Unsupported,
    /// Another account has it.
    #[error("This email address is already in use, please use a different email.")]
    Taken,
    /// A confirmed address is changed with a code only.
    #[error("confirmation token required")]
    TokenRequired,
    /// The code opens nothing.
    #[error(transparent)]
    Token(#[from] EmailTokenError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Accounts {
    /// Notes that the account's owner reads mail to `email`.
    pub async fn confirm_email(&self, did: &Did, email: &str, token: &str) -> Result<(), EmailError> {
        let (did, email) = (did.clone(), email.to_lowercase());
        let typed = self.inner.email_tokens.typed(Purpose::ConfirmEmail, token);
        self.change_email(move |tx| {
            let Some(account) = account::get_by_did(tx, &did)? else { return Ok(Err(EmailError::NoAccount)) };
            if account.email.as_deref() != Some(&*email) {
                return Ok(Err(EmailError::Other));
            }
            if let Err(refused) = typed.check(tx, account.id)? {
                return Ok(Err(refused.into()));
            }
            account::set_email_confirmed(tx, account.id, tx.now())?;
            email_token::delete(tx, account.id, Purpose::ConfirmEmail.as_str())?;
            Ok(Ok(()))
        })
        .await
    }

    /// Gives the account another address. A confirmed one is only given up for a code that was mailed to it; a code
    /// that is given is checked in any case. The new address is not confirmed, and no code that went to the old one
    /// stays good.
    pub async fn update_email(&self, did: &Did, email: &str, token: Option<&str>) -> Result<(), EmailError> {
        let (did, email) = (did.clone(), checked(email)?);
        let typed = token.map(|token| self.inner.email_tokens.typed(Purpose::UpdateEmail, token));
        self.change_email(move |tx| {
            let Some(account) = account::get_by_did(tx, &did)? else { return Ok(Err(EmailError::NoAccount)) };
            match typed {
                None if account.email_confirmed_at.is_some() => return Ok(Err(EmailError::TokenRequired)),
                None => {}
                Some(typed) => {
                    if let Err(refused) = typed.check(tx, account.id)? {
                        return Ok(Err(refused.into()));
                    }
                }
            }
            replace(tx, &account, &email)
        })
        .await
    }

    /// The operator gives the account another address, without any code.
    pub async fn admin_update_email(&self, who: AtIdentifier, email: &str) -> Result<(), EmailError> {
        let email = checked(email)?;
        self.change_email(move |tx| {
            let account = match &who {
                AtIdentifier::Did(did) => account::get_by_did(tx, did)?,
                AtIdentifier::Handle(handle) => account::get_by_handle(tx, handle)?,
            };
            match account {
                Some(account) => replace(tx, &account, &email),
                None => Ok(Err(EmailError::Unknown(who))),
            }
        })
        .await
    }

    /// What a refusal has counted stands, so a refusal is no error of the transaction.
    async fn change_email(
        &self,
        change: impl FnOnce(&mut WriteTx<'_>) -> Result<Result<(), EmailError>, StoreError> + Send + 'static,
    ) -> Result<(), EmailError> {
        let outcome: Result<_, StoreError> = self.inner.store.write(change).await;
        outcome?
    }
}

fn checked(email: &str) -> Result<String, EmailError> {
    match check_email(email.to_lowercase()) {
        Ok(email) => Ok(email),
        Err(CreateAccountError::Store(error)) => Err(error.into()),
        Err(_) => Err(EmailError::Unsupported),
    }
}

fn replace(tx: &WriteTx<'_>, account: &Account, email: &str) -> Result<Result<(), EmailError>, StoreError> {
    if !account::set_email(tx, account.id, email)? {
        return Ok(Err(EmailError::Taken));
    }
    email_token::delete_all(tx, account.id)?;
    Ok(Ok(()))
}
