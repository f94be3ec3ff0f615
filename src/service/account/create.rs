//! Making accounts.
//!
//! With a new DID ([`Accounts::sign_up`]): it is registered at the directory first; then account, key, first commit,
//! invite use, session and the four firehose events are one transaction. When that fails the DID is tombstoned: nothing
//! half done remains (PL-19).
//!
//! With a DID that exists already ([`Accounts::move_in`]): account, key, an empty first commit, invite use and session
//! are one transaction; no directory is told anything and no event is sent until the account is activated (MG-2).

use atproto::{
    crypto::{PublicKey, SigningKey},
    event::{self, Frame},
    plc::{Operation, PlcData},
    syntax::{Did, Handle, Tid},
};
use zeroize::Zeroizing;

use super::{
    Accounts,
    disposable_email::is_disposable,
    handle_policy::{Asker, HandleError},
};
use crate::{
    service::{
        auth::{
            Scope,
            password::{NEW_PASSWORD_CHARS_MAX, PasswordError},
            session::Session,
        },
        identity::PlcError,
        keys::KeyError,
        repo::write::create_repo,
    },
    store::{
        StoreError, WriteTx,
        account::{self, Account, InsertError, NewAccount},
        invite_code,
        pending_identity::{self, Kind},
        refresh_token::{self, RefreshTokenRow},
        reserved_signing_key, signing_key,
    },
    task,
};

/// Longest email address, in characters.
const EMAIL_CHARS_MAX: usize = 254;

/// Who wants an account, and under which name.
#[derive(Debug)]
pub struct SignUp {
    /// The handle, under one of the service domains.
    pub handle: Handle,
    /// As typed.
    pub email: Option<String>,
    /// Without one the account cannot sign in by password.
    pub password: Option<Zeroizing<String>>,
    /// Needed when the server is closed and [`Asker::Public`] asks; one that is given has to be good in any case.
    pub invite_code: Option<String>,
    /// `did:key` put first among the rotation keys of a new DID.
    pub recovery_key: Option<String>,
    /// The operator needs neither invite nor address, and may give out reserved names.
    pub asker: Asker,
}

/// An account for a DID that exists already, made by the operator.
#[derive(Debug)]
pub struct Adoption {
    /// The DID.
    pub did: Did,
    /// The handle that it claims; not resolved.
    pub handle: Option<Handle>,
    /// As typed.
    pub email: Option<String>,
    /// Without one the account cannot sign in by password.
    pub password: Option<Zeroizing<String>>,
}

/// Why an account was not made.
#[derive(Debug, thiserror::Error)]
pub enum CreateAccountError {
    /// More than [`NEW_PASSWORD_CHARS_MAX`] characters.
    #[error("Password too long. Maximum length is {NEW_PASSWORD_CHARS_MAX} characters.")]
    PasswordTooLong,
    /// Invites are needed and none was given.
    #[error("No invite code provided")]
    InviteMissing,
    /// Unknown, disabled, or used up.
    #[error("Provided invite code not available")]
    InviteUnusable,
    /// None given.
    #[error("Email is required")]
    EmailMissing,
    /// Not an address, or one that nobody keeps.
    #[error("This email address is not supported, please use a different email.")]
    EmailInvalid,
    /// Another account has it. Shown as it was typed.
    #[error("Email already taken: {0}")]
    EmailTaken(String),
    /// Not a handle that is given out.
    #[error(transparent)]
    Handle(#[from] HandleError),
    /// Another account has it.
    #[error("Handle already taken: {0}")]
    HandleTaken(Handle),
    /// The DID has an account here, active or not.
    #[error("Repo already exists")]
    DidTaken,
    /// The caller has not shown that the DID is theirs (MG-1).
    #[error("Missing auth to create account with did: {0}")]
    DidUnproven(Did),
    /// `recoveryKey` is not a did:key.
    #[error("recoveryKey must be a did:key of a k256 or p256 key")]
    RecoveryKey,
    /// The directory did not register the DID.
    #[error(transparent)]
    Plc(#[from] PlcError),
    /// The password could not be hashed.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// No key could be made or sealed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the transaction needs, all of it prepared outside.
struct Prepared {
    account: NewAccount,
    typed_email: String,
    key: SigningKey,
    sealed: Vec<u8>,
}

impl Accounts {
    /// Makes an account with a new did:plc, active and signed in.
    pub async fn sign_up(&self, sign_up: SignUp) -> Result<Session, CreateAccountError> {
        let sign_up = SignUp { invite_code: sign_up.invite_code.filter(|code| !code.is_empty()), ..sign_up };
        let email = self.check(&sign_up, None).await?;
        let (accounts, handle) = (self.clone(), sign_up.handle.clone());
        // A task of its own: a client that hangs up must not leave a registered DID without account or tombstone.
        task::spawn_to_the_end(async move { accounts.register(sign_up, email).await }).await.unwrap_or_else(
            |error| {
                tracing::error!(%handle, %error, "making an account was cut off");
                Err(StoreError::NotCommitted("making the account was cut off".into()).into())
            },
        )
    }

    async fn register(&self, sign_up: SignUp, email: Option<String>) -> Result<Session, CreateAccountError> {
        let parts = &self.inner;
        let password_hash = self.hash(sign_up.password).await?;
        let key = parts.keys.generate()?;
        let genesis = self.genesis(&sign_up.handle, sign_up.recovery_key, &key).await?;
        // A genesis operation that was just signed has a DID.
        let did = genesis.did().map_err(|error| PlcError::Refused(error.to_string()))?;
        let prepared = Prepared {
            account: NewAccount {
                did: did.clone(),
                handle: Some(sign_up.handle),
                email: email.as_ref().map(|email| email.to_lowercase()),
                password_hash,
                deactivated_at: None,
            },
            typed_email: email.unwrap_or_default(),
            sealed: parts.keys.seal(&key)?,
            key,
        };
        // A crash between the directory's answer and our rows must not leave a DID that nobody knows of.
        let (noted, handle) = (did.clone(), prepared.account.handle.clone());
        parts.store.write(move |tx| note(tx, &noted, handle.as_ref())).await?;
        let made = match parts.plc.submit_and_confirm(&did, &genesis).await {
            Ok(()) => self.store(prepared, sign_up.invite_code).await,
            Err(error) => Err(error.into()),
        };
        match &made {
            Ok(_) => {}
            // Not registered, so there is nothing to undo.
            Err(CreateAccountError::Plc(PlcError::Refused(_))) => self.forget_pending(&did).await,
            Err(_) => self.tombstone(&did, &genesis).await,
        }
        made
    }

    /// Makes an account whose DID is its handle's own host name, `did:web:alice.pds.example`, active and signed in. This
    /// server answers for the DID, so no directory is asked; it cannot move elsewhere.
    pub async fn sign_up_hosted(&self, sign_up: SignUp) -> Result<Session, CreateAccountError> {
        let email = self.check(&sign_up, None).await?;
        let parts = &self.inner;
        // A handle is a host name, and makes a DID.
        let did = Did::parse(&format!("did:web:{}", sign_up.handle))
            .map_err(|_| CreateAccountError::Handle(HandleError::Characters))?;
        let key = parts.keys.generate()?;
        let prepared = Prepared {
            account: NewAccount {
                did,
                handle: Some(sign_up.handle),
                email: email.as_ref().map(|email| email.to_lowercase()),
                password_hash: self.hash(sign_up.password).await?,
                deactivated_at: None,
            },
            typed_email: email.unwrap_or_default(),
            sealed: parts.keys.seal(&key)?,
            key,
        };
        self.store(prepared, None).await
    }

    /// Makes an account for a DID that exists already: deactivated, signed in, with an empty repo that an import
    /// replaces (MG-1, MG-2). `proven`: the DID that the caller has shown to be theirs.
    ///
    /// It signs with the key that was reserved for the DID, when there is one. It stays until its owner or the operator
    /// deletes it: a date on which it goes by itself could come after the DID has moved and before it is activated.
    pub async fn move_in(
        &self,
        did: Did,
        proven: Option<&Did>,
        sign_up: SignUp,
    ) -> Result<Session, CreateAccountError> {
        let sign_up = SignUp { invite_code: sign_up.invite_code.filter(|code| !code.is_empty()), ..sign_up };
        let email = self.check(&sign_up, Some(&did)).await?;
        if proven != Some(&did) {
            return Err(CreateAccountError::DidUnproven(did));
        }
        let parts = &self.inner;
        let (key, sealed) = match self.reserved_signing_key(&did).await? {
            Some(reserved) => (parts.keys.open(&reserved.sealed)?, reserved.sealed),
            None => {
                let key = parts.keys.generate()?;
                let sealed = parts.keys.seal(&key)?;
                (key, sealed)
            }
        };
        let prepared = Prepared {
            account: NewAccount {
                did,
                handle: Some(sign_up.handle),
                email: email.as_ref().map(|email| email.to_lowercase()),
                password_hash: self.hash(sign_up.password).await?,
                deactivated_at: Some(parts.clock.now()),
            },
            typed_email: email.unwrap_or_default(),
            sealed,
            key,
        };
        self.store(prepared, sign_up.invite_code).await
    }

    /// All rows and events of an account, or none.
    async fn store(&self, prepared: Prepared, invite: Option<String>) -> Result<Session, CreateAccountError> {
        let parts = &self.inner;
        let session = parts.sessions.prepare(&prepared.account.did, Scope::Access);
        let row = session.row(0);
        let clock_id = u16::from_le_bytes(parts.entropy.bytes());
        let account = parts
            .store
            .write(move |tx| {
                let account = insert(tx, &prepared)?;
                refresh_token::insert(tx, &RefreshTokenRow { account_id: account.id, ..row })?;
                if let Some(code) = invite {
                    use_invite(tx, &code, &account.did)?;
                }
                // It is the account's key now.
                reserved_signing_key::delete(tx, &account.did)?;
                begin_repo(tx, &account, &prepared.key, clock_id)?;
                Ok::<_, CreateAccountError>(account)
            })
            .await?;
        Ok(Session { account, access_jwt: session.access_jwt, refresh_jwt: session.refresh_jwt })
    }

    /// Makes an account for a DID that exists already: deactivated, with a signing key of its own and without a
    /// repo until one is imported. No directory is asked or told, no event is emitted.
    pub async fn adopt(&self, adoption: Adoption) -> Result<Account, CreateAccountError> {
        let parts = &self.inner;
        parts.store.require_room(0)?;
        check_password(adoption.password.as_ref())?;
        let email = adoption.email.map(check_email).transpose()?;
        let key = parts.keys.generate()?;
        let prepared = Prepared {
            account: NewAccount {
                did: adoption.did,
                handle: adoption.handle,
                email: email.as_ref().map(|email| email.to_lowercase()),
                password_hash: self.hash(adoption.password).await?,
                deactivated_at: Some(parts.clock.now()),
            },
            typed_email: email.unwrap_or_default(),
            sealed: parts.keys.seal(&key)?,
            key,
        };
        parts.store.write(move |tx| insert(tx, &prepared)).await
    }

    /// Everything that can be known before the directory is asked, in the reference's order; returns the address.
    /// `did`: the one that moves in.
    async fn check(&self, sign_up: &SignUp, did: Option<&Did>) -> Result<Option<String>, CreateAccountError> {
        self.inner.store.require_room(0)?;
        let settings = &self.inner.settings;
        check_password(sign_up.password.as_ref())?;
        let needs_invite = settings.invite_required && sign_up.asker == Asker::Public;
        if needs_invite && sign_up.invite_code.is_none() {
            return Err(CreateAccountError::InviteMissing);
        }
        let email = match sign_up.email.as_ref().filter(|email| !email.is_empty()) {
            Some(email) => Some(check_email(email.clone())?),
            None if sign_up.asker == Asker::Public => return Err(CreateAccountError::EmailMissing),
            None => None,
        };
        self.check_handle(&sign_up.handle, did, sign_up.asker).await?;
        if let Some(key) = &sign_up.recovery_key {
            PublicKey::from_did_key(key).map_err(|_| CreateAccountError::RecoveryKey)?;
        }
        let (handle, did, invite) = (sign_up.handle.clone(), did.cloned(), sign_up.invite_code.clone());
        self.inner
            .store
            .read(move |db| {
                if let Some(code) = invite
                    && !invite_code::is_usable(db, &code)?
                {
                    return Err(CreateAccountError::InviteUnusable);
                }
                // Whoever holds it keeps it, active or not. Who moves in twice is told so below, not of his own handle.
                let is_taken =
                    |holder: Option<Account>| holder.is_some_and(|held| Some(&held.did) != did.as_ref());
                if is_taken(account::get_by_handle(db, &handle)?) {
                    return Err(CreateAccountError::HandleTaken(handle));
                }
                match email {
                    Some(email) if is_taken(account::get_by_email(db, &email.to_lowercase())?) => {
                        Err(CreateAccountError::EmailTaken(email))
                    }
                    email => Ok(email),
                }
            })
            .await
    }

    async fn hash(&self, password: Option<Zeroizing<String>>) -> Result<Option<String>, PasswordError> {
        match password {
            Some(password) => self.inner.passwords.hash(password).await.map(Some),
            None => Ok(None),
        }
    }

    /// The operation that makes the DID (PL-17): the owner's recovery key before the server's keys (PL-18).
    async fn genesis(
        &self,
        handle: &Handle,
        recovery_key: Option<String>,
        key: &SigningKey,
    ) -> Result<Operation, CreateAccountError> {
        let settings = &self.inner.settings;
        let rotation_key = self.inner.keys.plc_rotation_key().await?;
        let mut rotation_keys = Vec::with_capacity(3);
        let server_key = Some(rotation_key.public_key().did_key());
        for key in [recovery_key, settings.recovery_did_key.clone(), server_key].into_iter().flatten() {
            // The directory takes no key twice (PL-8).
            if !rotation_keys.contains(&key) {
                rotation_keys.push(key);
            }
        }
        let data = PlcData::for_account(rotation_keys, &key.public_key(), handle, &settings.public_url);
        Ok(Operation::sign(data, None, &rotation_key))
    }

    /// Gives up a DID that no account came of.
    async fn tombstone(&self, did: &Did, genesis: &Operation) {
        let Ok(key) = self.inner.keys.plc_rotation_key().await else {
            return;
        };
        let tombstone = Operation::sign_tombstone(&genesis.cid(), &key);
        match self.inner.plc.submit_and_confirm(did, &tombstone).await {
            Ok(()) => self.forget_pending(did).await,
            Err(error) => tracing::warn!(%did, %error, "a DID without an account is tombstoned later"),
        }
    }
}

fn check_password(password: Option<&Zeroizing<String>>) -> Result<(), CreateAccountError> {
    match password {
        Some(password) if password.chars().count() > NEW_PASSWORD_CHARS_MAX => {
            Err(CreateAccountError::PasswordTooLong)
        }
        _ => Ok(()),
    }
}

/// An address that mail could reach, and that somebody keeps: one `@`, something before it, a domain with a dot after it,
/// no blanks.
pub(super) fn check_email(email: String) -> Result<String, CreateAccountError> {
    let looks_right = email.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty()
            && domain.contains('.')
            && domain.split('.').all(|label| !label.is_empty() && !label.starts_with('-'))
            && !domain.contains('@')
            && !is_disposable(domain)
    });
    let has_blanks = email.chars().any(|char| char.is_whitespace() || char.is_control());
    if !looks_right || has_blanks || email.chars().count() > EMAIL_CHARS_MAX {
        return Err(CreateAccountError::EmailInvalid);
    }
    Ok(email)
}

/// Holds the handle for the DID while the directory is asked.
fn note(tx: &WriteTx<'_>, did: &Did, handle: Option<&Handle>) -> Result<(), CreateAccountError> {
    if let Some(handle) = handle {
        let is_taken = account::get_by_handle(tx, handle)?.is_some()
            || pending_identity::holder_of(tx, handle)?.is_some()
            || is_a_did(tx, handle)?;
        if is_taken {
            return Err(CreateAccountError::HandleTaken(handle.clone()));
        }
    }
    Ok(pending_identity::put(tx, did, Kind::Create, handle, tx.now())?)
}

/// True when the handle is the host of a DID that lives here: whoever got it would answer in the other's place.
pub(super) fn is_a_did(db: &rusqlite::Connection, handle: &Handle) -> Result<bool, StoreError> {
    match Did::parse(&format!("did:web:{handle}")) {
        Ok(did) => Ok(account::get_by_did(db, &did)?.is_some()),
        Err(_) => Ok(false),
    }
}

/// The end of what [`note`] began, and for who moves in, a look at handles that are being given away.
fn end_note(tx: &WriteTx<'_>, did: &Did, handle: Option<&Handle>) -> Result<(), CreateAccountError> {
    if let Some(handle) = handle
        && (pending_identity::holder_of(tx, handle)?.is_some_and(|holder| holder != *did)
            || (did.as_str() != format!("did:web:{handle}") && is_a_did(tx, handle)?))
    {
        return Err(CreateAccountError::HandleTaken(handle.clone()));
    }
    if pending_identity::get(tx, did)?.is_some_and(|pending| pending.abandoned) {
        return Err(PlcError::Unavailable("it took too long to register the DID".into()).into());
    }
    Ok(pending_identity::delete(tx, did)?)
}

fn insert(tx: &WriteTx<'_>, prepared: &Prepared) -> Result<Account, CreateAccountError> {
    let new = &prepared.account;
    // First, so that who makes an account twice is not told that its own handle is taken.
    if account::get_by_did(tx, &new.did)?.is_some() {
        return Err(CreateAccountError::DidTaken);
    }
    end_note(tx, &new.did, new.handle.as_ref())?;
    let id = account::insert(tx, new, tx.now()).map_err(|error| match (error, &new.handle) {
        (InsertError::HandleTaken, Some(handle)) => CreateAccountError::HandleTaken(handle.clone()),
        (InsertError::EmailTaken, _) => CreateAccountError::EmailTaken(prepared.typed_email.clone()),
        (InsertError::Store(error), _) => error.into(),
        (InsertError::DidTaken | InsertError::HandleTaken, _) => CreateAccountError::DidTaken,
    })?;
    signing_key::insert(tx, id, &prepared.key.public_key().did_key(), &prepared.sealed)?;
    Ok(account::get_by_did(tx, &new.did)?.ok_or(StoreError::Corrupt { table: "account", column: "did" })?)
}

fn use_invite(tx: &WriteTx<'_>, code: &str, did: &Did) -> Result<(), CreateAccountError> {
    // Another account may have used it up since the first check.
    if !invite_code::is_usable(tx, code)? {
        return Err(CreateAccountError::InviteUnusable);
    }
    Ok(invite_code::insert_use(tx, code, did.as_str(), tx.now())?)
}

/// The first commit, and the events of a new account in their order (AC-9); none when it is deactivated (MG-2).
fn begin_repo(
    tx: &mut WriteTx<'_>,
    account: &Account,
    key: &SigningKey,
    clock_id: u16,
) -> Result<(), StoreError> {
    let rev = Tid::next(None, u64::try_from(tx.now()).unwrap_or(0), clock_id);
    let genesis = create_repo(tx, account.id, &account.did, rev, key)?;
    if !account.is_active() {
        return Ok(());
    }
    let (did, handle) = (account.did.clone(), account.handle.clone());
    tx.append_event(&account.did, |seq, time| Frame::Identity(event::Identity { seq, time, did, handle }))?;
    let did = account.did.clone();
    tx.append_event(&account.did, |seq, time| {
        Frame::Account(event::Account { seq, time, did, active: true, status: None })
    })?;
    genesis.append_events(tx)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_no_mail_can_reach_are_refused() {
        for email in ["a@b.c", "first.last+tag@sub.example.com", "UPPER@Example.Com", "ü@example.com"] {
            assert!(check_email(email.into()).is_ok(), "{email}");
        }
        let long = format!("{}@example.com", "a".repeat(EMAIL_CHARS_MAX));
        for email in
            ["", "a", "@b.c", "a@", "a@b", "a@b@c.d", "a b@c.d", "a@b..c", "a@.c", "a@b.c\n", "a@-b.c", &long]
        {
            assert!(check_email(email.into()).is_err(), "{email:?}");
        }
    }
}
