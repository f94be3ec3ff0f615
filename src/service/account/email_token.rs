//! Codes sent by mail: ten letters and digits as `ABCDE-23456`, good for a quarter of an hour, once, for one purpose and
//! one account.
//!
//! Only keyed hashes are stored: whoever reads the database cannot find the code of a hash, short as it is. A new
//! request replaces the code before it, and a few wrong guesses end it.
//!
//! Not for: what a code opens ([`super::email`], [`super::password`], [`super::leave`]).

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use rusqlite::Connection;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{
    service::{
        mail::{Mailer, QueueFull, template::CodeMail},
        settings::Settings,
    },
    store::{
        Store, StoreError, WriteTx,
        account::Account,
        email_token::{self, EmailTokenRow},
    },
    time::{Clock, Entropy, Micros, SECOND},
};

/// How long a code is good, in minutes.
pub const TOKEN_MINUTES: i64 = 15;
/// Wrong guesses after which a code is good no more.
pub const WRONG_GUESSES_MAX: u32 = 10;

/// Characters of a code, in two groups with a hyphen between them.
const TOKEN_CHARS: usize = 10;
/// Longest text looked at as a code, in bytes.
const TOKEN_BYTES_MAX: usize = 64;
/// How long an expired code stays, so that its owner is told that it has expired, in seconds.
const EXPIRED_KEPT_SECS: i64 = 24 * 60 * 60;
/// Expired codes removed in one transaction.
const STEP_ROWS: u32 = 500;

/// What a code is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The address belongs to the account's owner.
    ConfirmEmail,
    /// Another address.
    UpdateEmail,
    /// Another password, for whoever has forgotten it.
    ResetPassword,
    /// The end of the account.
    DeleteAccount,
    /// A signature under an operation on the account's did:plc.
    PlcOperation,
}

impl Purpose {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Purpose::ConfirmEmail => "confirm_email",
            Purpose::UpdateEmail => "update_email",
            Purpose::ResetPassword => "reset_password",
            Purpose::DeleteAccount => "delete_account",
            Purpose::PlcOperation => "plc_operation",
        }
    }

    fn subject(self) -> &'static str {
        match self {
            Purpose::ConfirmEmail => "Email Confirmation",
            Purpose::UpdateEmail => "Email Update Requested",
            Purpose::ResetPassword => "Password Reset Requested",
            Purpose::DeleteAccount => "Account Deletion Requested",
            Purpose::PlcOperation => "PLC Update Operation Requested",
        }
    }

    /// What its owner wishes, and what becomes of it when the code is not used.
    fn wish(self) -> (&'static str, &'static str) {
        match self {
            Purpose::ConfirmEmail => (
                "confirm that this is the mail address of the account",
                "without the code the address is not confirmed",
            ),
            Purpose::UpdateEmail => (
                "change the mail address of the account",
                "without the code the address stays as it is; change your password if you did not ask for this",
            ),
            Purpose::ResetPassword => {
                ("set a new password for the account", "without the code the password stays as it is")
            }
            Purpose::DeleteAccount => (
                "delete the account for good, with everything in it",
                "without the code nothing is deleted; change your password if you did not ask for this",
            ),
            Purpose::PlcOperation => (
                "change the identity of the account (its did:plc), most often to move it to another server",
                "without the code the identity stays as it is; change your password if you did not ask for this",
            ),
        }
    }
}

/// Why a code is not sent, or opens nothing.
#[derive(Debug, thiserror::Error)]
pub enum EmailTokenError {
    /// There is nowhere to send it.
    #[error("account does not have an email address")]
    NoAddress,
    /// Not the code, or used already.
    #[error("Token is invalid")]
    Invalid,
    /// It was good once.
    #[error("Token is expired")]
    Expired,
    /// Too many mails wait.
    #[error(transparent)]
    Busy(#[from] QueueFull),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What codes need.
pub struct EmailTokenParts {
    /// Checked settings.
    pub settings: Arc<Settings>,
    /// Where their hashes are kept.
    pub store: Store,
    /// Sends them.
    pub mailer: Mailer,
    /// Key of the hashes.
    pub key: Zeroizing<[u8; 32]>,
    /// The time of day.
    pub clock: Clock,
    /// Randomness.
    pub entropy: Entropy,
}

/// Codes sent by mail. Cheap to clone.
#[derive(Clone)]
pub struct EmailTokens {
    inner: Arc<EmailTokenParts>,
}

/// A code that somebody typed, hashed for its purpose.
#[derive(Clone)]
pub struct Typed {
    purpose: Purpose,
    hash: [u8; 32],
}

impl EmailTokens {
    /// Codes made from `parts`.
    pub fn new(parts: EmailTokenParts) -> EmailTokens {
        EmailTokens { inner: Arc::new(parts) }
    }

    /// Makes a code and mails it to the account's address; the one before it is good no more. Sending is not waited for.
    pub async fn request(&self, account: &Account, purpose: Purpose) -> Result<(), EmailTokenError> {
        let parts = &self.inner;
        let to = account.email.clone().ok_or(EmailTokenError::NoAddress)?;
        let token = self.generate();
        let (account_id, hash) = (account.id, self.typed(purpose, &token).hash);
        let expires_at = parts.clock.now() + TOKEN_MINUTES * 60 * SECOND;
        parts
            .store
            .write(move |tx| email_token::put(tx, account_id, purpose.as_str(), &hash, expires_at))
            .await
            .map_err(|error: StoreError| EmailTokenError::from(error))?;
        let (wish, otherwise) = purpose.wish();
        let name =
            account.handle.as_ref().map_or_else(|| account.did.to_string(), |handle| format!("@{handle}"));
        let mail = CodeMail {
            subject: purpose.subject(),
            wish,
            otherwise,
            code: &token,
            minutes: TOKEN_MINUTES,
            account: &name,
            server: &parts.settings.hostname,
        };
        Ok(parts.mailer.send(mail.write(&to))?)
    }

    /// Uses a code up: it has to be the account's, for this purpose, and still good.
    pub async fn consume(
        &self,
        account: &Account,
        purpose: Purpose,
        token: &str,
    ) -> Result<(), EmailTokenError> {
        let (account_id, typed) = (account.id, self.typed(purpose, token));
        self.inner
            .store
            .write(move |tx| match typed.check(tx, account_id)? {
                Ok(()) => {
                    email_token::delete(tx, account_id, purpose.as_str())?;
                    Ok(Ok(()))
                }
                refused => Ok(refused),
            })
            .await
            .map_err(|error: StoreError| EmailTokenError::from(error))?
    }

    /// A code as somebody typed it, ready to be checked inside a transaction.
    pub fn typed(&self, purpose: Purpose, token: &str) -> Typed {
        // In any case, with or without the hyphen, blanks around it: what was meant is clear.
        let normal: String = token
            .chars()
            .take(TOKEN_BYTES_MAX)
            .filter(|character| !character.is_whitespace() && *character != '-')
            .map(|character| character.to_ascii_uppercase())
            .collect();
        // Only keys of a fixed length are refused, and HMAC takes any.
        let hash = Hmac::<Sha256>::new_from_slice(&self.inner.key[..]).map_or([0; 32], |mac| {
            mac.chain_update(purpose.as_str())
                .chain_update([0])
                .chain_update(normal)
                .finalize()
                .into_bytes()
                .into()
        });
        Typed { purpose, hash }
    }

    /// Removes codes that expired more than a day ago. The server runs this every hour.
    pub async fn sweep(&self) -> Result<usize, StoreError> {
        let before = self.inner.clock.now() - EXPIRED_KEPT_SECS * SECOND;
        let mut removed = 0;
        loop {
            let n =
                self.inner.store.write(move |tx| email_token::delete_expired(tx, before, STEP_ROWS)).await?;
            removed += n;
            if n < STEP_ROWS as usize {
                return Ok(removed);
            }
        }
    }

    fn generate(&self) -> String {
        const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let random = self.inner.entropy.bytes::<TOKEN_CHARS>();
        let mut token: String =
            random.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
        token.insert(TOKEN_CHARS / 2, '-');
        token
    }
}

impl Typed {
    /// Checks the code against the account's; it stays good. The outer result is the store's. A wrong guess is counted
    /// in this transaction, which therefore has to be committed whatever the inner result is.
    pub fn check(
        &self,
        tx: &WriteTx<'_>,
        account_id: i64,
    ) -> Result<Result<(), EmailTokenError>, StoreError> {
        let purpose = self.purpose.as_str();
        let Some(row) = email_token::get(tx, account_id, purpose)? else {
            return Ok(Err(EmailTokenError::Invalid));
        };
        let verdict = self.verdict(&row, tx.now());
        if matches!(verdict, Err(EmailTokenError::Invalid)) {
            email_token::count_wrong_guess(tx, account_id, purpose)?;
        }
        Ok(verdict)
    }

    /// The account whose code this is, for those who have nothing but the code. No guess is counted: it is nobody's.
    pub fn find(&self, db: &Connection, now: Micros) -> Result<Result<i64, EmailTokenError>, StoreError> {
        let row = email_token::get_by_hash(db, self.purpose.as_str(), &self.hash)?;
        Ok(match row {
            Some(row) => self.verdict(&row, now).map(|()| row.account_id),
            None => Err(EmailTokenError::Invalid),
        })
    }

    fn verdict(&self, row: &EmailTokenRow, now: Micros) -> Result<(), EmailTokenError> {
        let is_same = bool::from(row.token_hash.ct_eq(&self.hash));
        if !is_same || row.wrong_guesses >= WRONG_GUESSES_MAX {
            Err(EmailTokenError::Invalid)
        } else if row.expires_at <= now {
            Err(EmailTokenError::Expired)
        } else {
            Ok(())
        }
    }
}
