//! Accounts: making them, listing them, inviting to them, putting them to rest.
//!
//! | operation | file |
//! |---|---|
//! | a new account with a DID of its own, and an account for a DID that moves in | [`create`] |
//! | which mail addresses nobody keeps | [`disposable_email`] |
//! | which handles are given out | [`handle_policy`] |
//! | deactivated, taken down, deleted, and back | [`status`] |
//! | what is left of deleted accounts | [`purge`] |
//! | all of them announced again after a restore | [`announce`] |
//! | what moderators are told of accounts | [`info`] |
//! | another signing key | [`rotate`] |
//! | invite codes, made by the operator and earned | [`invite`] |
//! | signing keys handed out before their account exists | [`reserve`] |
//! | its owner deletes it | [`leave`] |
//! | codes sent by mail | [`email_token`] |
//! | another mail address, another password | [`email`], [`password`] |
//! | how far a move has come | [`progress`] |
//! | another handle | [`handle`] |
//! | what a crash left undone at the directory | [`pending`] |
//!
//! Not for: signing in (`service::auth`).

pub mod announce;
mod changing;
pub mod create;
pub mod disposable_email;
pub mod email;
pub mod email_token;
pub mod handle;
pub mod handle_policy;
pub mod info;
pub mod invite;
pub mod leave;
pub mod password;
pub mod pending;
mod plc_operation;
pub mod progress;
pub mod purge;
pub mod reserve;
pub mod rotate;
pub mod status;

use std::sync::Arc;

use tokio::sync::{Notify, Semaphore};

use self::email_token::EmailTokens;

use self::changing::Changing;
use crate::{
    service::{
        auth::{password::Passwords, session::Sessions},
        blob::Blobs,
        identity::{Identities, PlcClient},
        keys::Keys,
        repo::Repos,
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
    /// Sends their owners codes.
    pub email_tokens: EmailTokens,
    /// Their repositories, which go with them.
    pub repos: Repos,
    /// Their blobs, which go with them.
    pub blobs: Blobs,
    /// The time of day.
    pub clock: Clock,
    /// Randomness.
    pub entropy: Entropy,
}

/// The accounts of this server. Cheap to clone.
#[derive(Clone)]
pub struct Accounts {
    inner: Arc<AccountParts>,
    /// Wakes whoever removes what deleted accounts have left.
    deleted: Arc<Notify>,
    /// Requests for new passwords that are being worked on.
    resets: Arc<Semaphore>,
    changing: Changing,
}

impl Accounts {
    /// Accounts made from `parts`.
    pub fn new(parts: AccountParts) -> Accounts {
        Accounts {
            inner: Arc::new(parts),
            changing: Changing::default(),
            deleted: Arc::default(),
            resets: Arc::new(Semaphore::new(password::RESETS_MAX)),
        }
    }

    /// Accounts in the order in which they were made, after the one numbered `after_id`, at most [`LIST_MAX`].
    pub async fn list(&self, after_id: i64) -> Result<Vec<Account>, StoreError> {
        self.inner.store.read(move |db| account::list(db, after_id, LIST_MAX)).await
    }
}
