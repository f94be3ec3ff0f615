//! Accounts: making them, listing them, inviting to them.
//!
//! | operation | file |
//! |---|---|
//! | a new account with a DID of its own, and an account for a DID that moves in | [`create`] |
//! | which handles are given out | [`handle_policy`] |
//! | invite codes, made by the operator and earned | [`invite`] |
//! | signing keys handed out before their account exists | [`reserve`] |
//! | another handle | [`handle`] |
//! | what a crash left undone at the directory | [`pending`] |
//!
//! Not for: signing in (`service::auth`).

mod changing;
pub mod create;
pub mod handle;
pub mod handle_policy;
pub mod invite;
pub mod pending;
mod plc_operation;
pub mod reserve;

use std::sync::Arc;

use self::changing::Changing;
use crate::{
    service::{
        auth::{password::Passwords, session::Sessions},
        identity::{Identities, PlcClient},
        keys::Keys,
        settings::Settings,
    },
    store::{
        Store, StoreError,
        account::{self, Account},
    },
    time::{Clock, Entropy},
};

/// Accounts listed at a time.
pub const LIST_MAX: usize = 500;

/// What making accounts needs.
pub struct AccountParts {
    /// Checked settings.
    pub settings: Arc<Settings>,
    /// Where accounts are kept.
    pub store: Store,
    /// Makes their signing keys.
    pub keys: Keys,
    /// Hashes their passwords.
    pub passwords: Passwords,
    /// Signs them in when they are made.
    pub sessions: Sessions,
    /// Where their DIDs are registered.
    pub plc: PlcClient,
    /// What their DIDs and handles lead to.
    pub identities: Identities,
    /// The time of day.
    pub clock: Clock,
    /// Randomness.
    pub entropy: Entropy,
}

/// The accounts of this server. Cheap to clone.
#[derive(Clone)]
pub struct Accounts {
    inner: Arc<AccountParts>,
    changing: Changing,
}

impl Accounts {
    /// Accounts made from `parts`.
    pub fn new(parts: AccountParts) -> Accounts {
        Accounts { inner: Arc::new(parts), changing: Changing::default() }
    }

    /// Accounts in the order in which they were made, after the one numbered `after_id`, at most [`LIST_MAX`].
    pub async fn list(&self, after_id: i64) -> Result<Vec<Account>, StoreError> {
        self.inner.store.read(move |db| account::list(db, after_id, LIST_MAX)).await
    }
}
