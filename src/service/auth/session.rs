//! Sessions: signing in, continuing, signing out (XR-10).
//!
//! A refresh token is good once. Its successor's `jti` is derived from its own by HMAC, so a client that lost the
//! answer, or that asked twice at once, gets the same successor again for two hours. Only hashes are stored.

use std::time::Duration;

use atproto::syntax::{AtIdentifier, Did};
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{
    Scope,
    app_password::{self, AppPasswords},
    password::{PASSWORD_CHARS_MAX, PasswordError, Passwords},
    token::{RefreshToken, Tokens},
};
use crate::{
    store::{
        Store, StoreError,
        account::{self, Account, Status},
        app_password::{self as store_app_password, AppPassword},
        refresh_token::{self, RefreshTokenRow},
    },
    time::{Entropy, Micros, SECOND},
};

/// How long a refresh token that has been used still gives its successor.
const GRACE_SECS: i64 = 2 * 60 * 60;
/// Every sign-in takes at least this long, so that its time says nothing.
const SIGN_IN_MILLIS_MIN: u64 = 350;

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// No such account, or not its password: which of them is not said.
    #[error("Invalid identifier or password")]
    Credentials,
    /// More than [`PASSWORD_CHARS_MAX`] characters, which no password here has.
    #[error("Password too long. Consider resetting your password.")]
    PasswordTooLong,
    /// The operator has taken the account down.
    #[error("Account has been taken down")]
    Takendown,
    /// The token's account is not here any more.
    #[error("Could not find account: {0}")]
    AccountMissing(Did),
    /// Signed out, used too long ago, or the password has changed.
    #[error("Token has been revoked")]
    Revoked,
    /// The password could not be compared.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What to do about a taken-down account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakendownSignIn {
    /// Refuse.
    Refused,
    /// Give tokens that only serve to appeal or to leave.
    Limited,
}

/// A session that stands.
#[derive(Debug)]
pub struct Session {
    /// Whose it is.
    pub account: Account,
    /// For requests.
    pub access_jwt: String,
    /// For the next session.
    pub refresh_jwt: String,
}

/// Tokens of a session, and the row that makes it last.
#[derive(Debug)]
pub struct NewSession {
    /// For requests.
    pub access_jwt: String,
    /// For the next session.
    pub refresh_jwt: String,
    id_hash: [u8; 32],
    expires_at: Micros,
}

impl NewSession {
    /// The row of table `refresh_token`.
    pub fn row(&self, account_id: i64) -> RefreshTokenRow {
        RefreshTokenRow {
            id_hash: self.id_hash,
            account_id,
            expires_at: self.expires_at,
            rotated_at: None,
            app_password_name: None,
        }
    }
}

/// Makes and ends sessions. Cheap to clone.
#[derive(Clone)]
pub struct Sessions {
    store: Store,
    tokens: Tokens,
    passwords: Passwords,
    app_passwords: AppPasswords,
    entropy: Entropy,
}

impl Sessions {
    /// Sessions of the accounts in `store`.
    pub fn new(
        store: Store,
        tokens: Tokens,
        passwords: Passwords,
        app_passwords: AppPasswords,
        entropy: Entropy,
    ) -> Sessions {
        Sessions { store, tokens, passwords, app_passwords, entropy }
    }

    /// Tokens that start a session; it stands once [`NewSession::row`] is stored.
    pub fn prepare(&self, did: &Did, scope: Scope) -> NewSession {
        self.prepare_named(did, scope, &STANDARD_NO_PAD.encode(self.entropy.bytes::<32>()))
    }

    fn prepare_named(&self, did: &Did, scope: Scope, jti: &str) -> NewSession {
        let (refresh_jwt, expires_at) = self.tokens.issue_refresh(did, jti);
        let access_jwt = self.tokens.issue_access(did, scope);
        NewSession { access_jwt, refresh_jwt, id_hash: id_hash(jti), expires_at }
    }

    /// Signs in, with the account's own password or an app password. `identifier`: handle, DID or email address, in any
    /// case. Takes [`SIGN_IN_MILLIS_MIN`] at least, whatever comes of it; deactivated accounts may sign in (AC-4), but
    /// app passwords do not open one that is taken down.
    pub async fn sign_in(
        &self,
        identifier: &str,
        password: Zeroizing<String>,
        takendown: TakendownSignIn,
    ) -> Result<Session, SessionError> {
        let floor = tokio::time::sleep(Duration::from_millis(SIGN_IN_MILLIS_MIN));
        let outcome = self.check_and_sign_in(identifier, password, takendown).await;
        floor.await;
        outcome
    }

    async fn check_and_sign_in(
        &self,
        identifier: &str,
        password: Zeroizing<String>,
        takendown: TakendownSignIn,
    ) -> Result<Session, SessionError> {
        if password.chars().count() > PASSWORD_CHARS_MAX {
            return Err(SessionError::PasswordTooLong);
        }
        let (account, app_password) = self.find(identifier.to_lowercase(), password.clone()).await?;
        // Found by its keyed hash, which is proof enough. Everyone else pays for one Argon2 hash, known here or not.
        if app_password.is_none() {
            let phc = account.as_ref().and_then(|account| account.password_hash.clone());
            if !self.passwords.verify(password, phc).await? {
                return Err(SessionError::Credentials);
            }
        }
        let account = account.ok_or(SessionError::Credentials)?;
        if account.status() == Status::Takendown {
            return match takendown {
                TakendownSignIn::Refused => Err(SessionError::Takendown),
                // Its refresh token is not stored, and so never good for anything.
                TakendownSignIn::Limited => {
                    Ok(session(self.prepare(&account.did, Scope::Takendown), account))
                }
            };
        }
        let scope = app_password.as_ref().map_or(Scope::Access, app_password::scope);
        self.begin(account, app_password, scope).await
    }

    /// Stores a session, unless what opened it has been taken back in the meantime.
    async fn begin(
        &self,
        account: Account,
        app_password: Option<AppPassword>,
        scope: Scope,
    ) -> Result<Session, SessionError> {
        let new = self.prepare(&account.did, scope);
        let row = RefreshTokenRow {
            app_password_name: app_password.as_ref().map(|found| found.name.clone()),
            ..new.row(account.id)
        };
        let seen = account.clone();
        self.store
            .write(move |tx| {
                let account = account::get_by_did(tx, &seen.did)?.ok_or(SessionError::Credentials)?;
                let still_stands = match &app_password {
                    Some(found) => {
                        store_app_password::get(tx, account.id, &found.name)?.as_ref() == Some(found)
                    }
                    None => account.password_hash == seen.password_hash,
                };
                if account.id != seen.id || !still_stands {
                    return Err(SessionError::Credentials);
                }
                if account.status() == Status::Takendown {
                    return Err(SessionError::Takendown);
                }
                refresh_token::delete_expired(tx, row.account_id, tx.now())?;
                Ok(refresh_token::insert(tx, &row)?)
            })
            .await?;
        Ok(session(new, account))
    }

    /// The account, and the app password that `password` is: none for an account that is taken down.
    async fn find(
        &self,
        identifier: String,
        password: Zeroizing<String>,
    ) -> Result<(Option<Account>, Option<AppPassword>), StoreError> {
        let app_passwords = self.app_passwords.clone();
        self.store
            .read(move |db| {
                let account = match AtIdentifier::parse(&identifier) {
                    Ok(AtIdentifier::Did(did)) => account::get_by_did(db, &did)?,
                    Ok(AtIdentifier::Handle(handle)) => account::get_by_handle(db, &handle)?,
                    Err(_) if identifier.contains('@') => account::get_by_email(db, &identifier)?,
                    Err(_) => None,
                };
                let app_password = match &account {
                    Some(account) if account.status() != Status::Takendown => {
                        let hash = app_passwords.hash(&account.did, &password);
                        store_app_password::get_by_hash(db, account.id, &hash)?
                    }
                    _ => None,
                };
                Ok((account, app_password))
            })
            .await
    }

    /// Trades a refresh token for a new pair. A session that an app password began keeps to what that one reaches now.
    pub async fn refresh(&self, token: &RefreshToken) -> Result<Session, SessionError> {
        let (did, old_hash) = (token.did.clone(), id_hash(&token.jti));
        let (account, app_password_name, scope) = self
            .store
            .read(move |db| {
                let account = account::get_by_did(db, &did)?
                    .ok_or_else(|| SessionError::AccountMissing(did.clone()))?;
                if account.status() == Status::Takendown {
                    return Err(SessionError::Takendown);
                }
                let old = refresh_token::get(db, &old_hash)?
                    .filter(|old| old.account_id == account.id)
                    .ok_or(SessionError::Revoked)?;
                let scope = match &old.app_password_name {
                    Some(name) => app_password::scope(
                        &store_app_password::get(db, account.id, name)?.ok_or(SessionError::Revoked)?,
                    ),
                    None => Scope::Access,
                };
                Ok((account, old.app_password_name, scope))
            })
            .await?;
        let new = self.prepare_named(&account.did, scope, &self.successor(&token.jti));
        let row = RefreshTokenRow { app_password_name, ..new.row(account.id) };
        self.store
            .write(move |tx| {
                let now = tx.now();
                let old = refresh_token::get(tx, &old_hash)?
                    .filter(|old| old.account_id == row.account_id && old.expires_at > now)
                    .ok_or(SessionError::Revoked)?;
                // The successor has been signed out: its predecessor must not bring it back.
                if old.rotated_at.is_some() && refresh_token::get(tx, &row.id_hash)?.is_none() {
                    return Err(SessionError::Revoked);
                }
                refresh_token::delete_expired(tx, row.account_id, now)?;
                if old.rotated_at.is_none() {
                    let expires_at = old.expires_at.min(now + GRACE_SECS * SECOND);
                    refresh_token::set_rotated(tx, &old_hash, now, expires_at)?;
                }
                Ok(refresh_token::insert(tx, &row)?)
            })
            .await?;
        Ok(session(new, account))
    }

    /// Signs out: the token is good no more. Nothing happens when it was not.
    pub async fn sign_out(&self, token: &RefreshToken) -> Result<(), StoreError> {
        let hash = id_hash(&token.jti);
        self.store.write(move |tx| refresh_token::delete(tx, &hash)).await
    }

    fn successor(&self, jti: &str) -> String {
        STANDARD_NO_PAD.encode(self.tokens.key().derive(format!("refresh token after {jti}").as_bytes()))
    }
}

fn session(new: NewSession, account: Account) -> Session {
    Session { account, access_jwt: new.access_jwt, refresh_jwt: new.refresh_jwt }
}

fn id_hash(jti: &str) -> [u8; 32] {
    Sha256::digest(jti.as_bytes()).into()
}
