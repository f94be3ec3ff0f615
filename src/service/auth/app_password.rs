//! App passwords: secrets that an account's owner gives to programs, one by one, and takes back one by one (XR-11).
//!
//! They are drawn here, 80 random bits each, so nobody can guess one and a slow hash protects nothing: whoever could try
//! 2^79 of them could as well have tried the session key. What is stored is an HMAC under a key that is sealed in the
//! database, bound to the account; a copy of the database alone tells nothing. The HMAC is also how one is found: an
//! account with a hundred of them costs a sign-in one look at an index, and no Argon2 at all.
//!
//! Not for: what their sessions may do (that is in the scope of the session, [`super::Scope`]).

use atproto::syntax::Did;
use zeroize::Zeroizing;

use super::{Scope, jws::Hs256};
use crate::{
    store::{
        Store, StoreError,
        account::Account,
        app_password::{self, AppPassword, InsertError},
        refresh_token,
    },
    time::Entropy,
};

/// Longest name, in characters.
pub const NAME_CHARS_MAX: usize = 128;
/// App passwords of one account.
pub const PER_ACCOUNT_MAX: i64 = 100;

/// Random characters of an app password, before the dashes go in.
const SECRET_CHARS: usize = 16;
/// Characters between dashes.
const GROUP_CHARS: usize = 4;

/// Why an app password was not made.
#[derive(Debug, thiserror::Error)]
pub enum AppPasswordError {
    /// Empty, too long, or with control characters.
    #[error("name must have 1 to {NAME_CHARS_MAX} characters, not only blanks, and no control characters")]
    Name,
    /// The account has one of this name.
    #[error("an app password named {0:?} exists already: revoke it first, or choose another name")]
    NameTaken(String),
    /// No more fit.
    #[error("an account can have {PER_ACCOUNT_MAX} app passwords: revoke one that is not needed any more")]
    TooMany,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the sessions of an app password reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// What most programs need.
    Normal,
    /// Private messages too.
    Privileged,
}

/// An app password that was just made: the only time that its secret is seen.
#[derive(Debug)]
pub struct NewAppPassword {
    /// Name, reach and time.
    pub app_password: AppPassword,
    /// `xxxx-xxxx-xxxx-xxxx`
    pub secret: Zeroizing<String>,
}

/// Makes, lists, finds and revokes app passwords. Cheap to clone.
#[derive(Clone)]
pub struct AppPasswords {
    store: Store,
    key: Hs256,
    entropy: Entropy,
}

impl AppPasswords {
    /// `key`: a secret of this server's own for nothing else.
    pub fn new(store: Store, key: Hs256, entropy: Entropy) -> AppPasswords {
        AppPasswords { store, key, entropy }
    }

    /// Makes one.
    pub async fn create(
        &self,
        account: &Account,
        name: String,
        reach: Reach,
    ) -> Result<NewAppPassword, AppPasswordError> {
        if !is_name(&name) {
            return Err(AppPasswordError::Name);
        }
        let secret = self.draw();
        let hash = self.hash(&account.did, &secret);
        let account_id = account.id;
        let app_password = self
            .store
            .write(move |tx| {
                let new = AppPassword { name, privileged: reach == Reach::Privileged, created_at: tx.now() };
                // The name first: who has too many should still hear that this one exists.
                if app_password::get(tx, account_id, &new.name)?.is_some() {
                    return Err(AppPasswordError::NameTaken(new.name));
                }
                if app_password::count(tx, account_id)? >= PER_ACCOUNT_MAX {
                    return Err(AppPasswordError::TooMany);
                }
                match app_password::insert(tx, account_id, &new, &hash) {
                    Ok(()) => Ok(new),
                    Err(InsertError::NameTaken) => Err(AppPasswordError::NameTaken(new.name)),
                    Err(InsertError::Store(error)) => Err(error.into()),
                }
            })
            .await?;
        Ok(NewAppPassword { app_password, secret })
    }

    /// All of an account, newest first; at most [`PER_ACCOUNT_MAX`].
    pub async fn list(&self, account_id: i64) -> Result<Vec<AppPassword>, StoreError> {
        self.store.read(move |db| app_password::list(db, account_id)).await
    }

    /// Takes one back, and the sessions that were made with it: they cannot be continued. What access tokens they have
    /// is good until it expires. Nothing happens when there is none of this name.
    pub async fn revoke(&self, account_id: i64, name: String) -> Result<(), StoreError> {
        self.store
            .write(move |tx| {
                app_password::delete(tx, account_id, &name)?;
                refresh_token::delete_of_app_password(tx, account_id, &name)
            })
            .await
    }

    /// What is stored of `secret`, which may be anything that someone typed.
    pub(super) fn hash(&self, did: &Did, secret: &str) -> [u8; 32] {
        self.key.derive(format!("{did} {secret}").as_bytes())
    }

    fn draw(&self) -> Zeroizing<String> {
        let drawn = Zeroizing::new(self.entropy.base32::<SECRET_CHARS>());
        let mut secret = Zeroizing::new(String::with_capacity(SECRET_CHARS + SECRET_CHARS / GROUP_CHARS));
        for (at, char) in drawn.chars().enumerate() {
            if at > 0 && at % GROUP_CHARS == 0 {
                secret.push('-');
            }
            secret.push(char);
        }
        secret
    }
}

/// The scope of sessions made with it.
pub(super) fn scope(app_password: &AppPassword) -> Scope {
    if app_password.privileged { Scope::AppPassPrivileged } else { Scope::AppPass }
}

fn is_name(name: &str) -> bool {
    !name.trim().is_empty() && name.chars().count() <= NAME_CHARS_MAX && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::time::Instant;

    use super::*;
    use crate::{
        store::{
            StoreOptions,
            account::{self, NewAccount},
        },
        time::Clock,
    };

    async fn setting() -> (AppPasswords, Account, tempfile::TempDir) {
        let dir = tempfile::TempDir::new().unwrap();
        let store = Store::open(StoreOptions::at(dir.path()), Clock::system()).await.unwrap();
        let did: Did = "did:plc:ewvi7nxzyoun6zhxrhs64oiz".parse().unwrap();
        let new = NewAccount {
            did: did.clone(),
            handle: None,
            email: None,
            password_hash: None,
            deactivated_at: None,
        };
        let made = store.write(move |tx| {
            account::insert(tx, &new, tx.now())
                .map_err(|error| StoreError::NotCommitted(error.to_string()))?;
            account::get_by_did(tx, &did)
        });
        let account = made.await.unwrap().unwrap();
        let key = Hs256::new(Zeroizing::new([3; 32]));
        (AppPasswords::new(store, key, Entropy::system()), account, dir)
    }

    #[tokio::test]
    async fn a_hundred_fit_and_the_last_is_found_as_fast_as_the_first() {
        let (passwords, account, _dir) = setting().await;
        let mut secrets = Vec::new();
        for number in 0..PER_ACCOUNT_MAX {
            let made = passwords.create(&account, format!("no. {number}"), Reach::Normal).await.unwrap();
            secrets.push(made.secret);
        }
        let refused = passwords.create(&account, "one more".into(), Reach::Normal).await;
        assert!(matches!(refused, Err(AppPasswordError::TooMany)));
        let known = passwords.create(&account, "no. 7".into(), Reach::Normal).await;
        assert!(matches!(known, Err(AppPasswordError::NameTaken(_))));

        let hash = passwords.hash(&account.did, &secrets[99]);
        let started = Instant::now();
        let found = passwords.store.read(move |db| app_password::get_by_hash(db, account.id, &hash)).await;
        assert_eq!(found.unwrap().unwrap().name, "no. 99");
        // An Argon2 hash takes tens of milliseconds; a hundred of them, seconds.
        assert!(started.elapsed().as_millis() < 500, "{:?}", started.elapsed());
    }

    #[tokio::test]
    async fn a_secret_has_its_form_and_is_good_for_its_account_alone() {
        let (passwords, account, _dir) = setting().await;
        let secret = passwords.draw();
        let groups: Vec<_> = secret.split('-').collect();
        assert_eq!(groups.len(), 4, "{}", secret.as_str());
        for group in groups {
            assert_eq!(group.len(), 4);
            assert!(group.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7')));
        }
        assert_ne!(*secret, *passwords.draw());
        let other: Did = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa".parse().unwrap();
        assert_ne!(passwords.hash(&account.did, &secret), passwords.hash(&other, &secret));
    }

    #[test]
    fn names_are_short_and_can_be_read() {
        for good in ["phone", "Ünïcode 📱", &"x".repeat(NAME_CHARS_MAX)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "  ", "a\nb", "a\0", &"x".repeat(NAME_CHARS_MAX + 1)] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }
}
