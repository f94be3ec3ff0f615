//! What the operator and the moderation service take down, and how it stands (AC-12, AC-7, BL-12).
//!
//! | taken down | means |
//! |---|---|
//! | an account | nothing of it is served, and its sessions end ([`Accounts::set_takedown`]) |
//! | a record | it is left out where single records are read; the signed repository stays as it is |
//! | a blob | it is not served, does not come back by upload, and no record can refer to it anew |
//!
//! Not for: who may do so (`xrpc`), and an account's other states (`account::status`).

use atproto::{
    data::Cid,
    syntax::{AtIdentifier, Datetime, Did, RepoPath},
};

use super::account::{Accounts, status::StatusError};
use crate::{
    store::{
        Store, StoreError,
        account::{self, Account},
        blob, record,
    },
    time::Clock,
};

/// What is taken down, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// An account with all that it has.
    Account(Did),
    /// One record, whatever its version.
    Record {
        /// Whose.
        repo: AtIdentifier,
        /// Where it stands.
        path: RepoPath,
    },
    /// One blob of one account.
    Blob {
        /// Whose.
        did: Did,
        /// Its CID.
        cid: Cid,
    },
}

/// How a subject stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectStatus {
    /// Whose it is.
    pub did: Did,
    /// The version that stands, of a record.
    pub cid: Option<Cid>,
    /// Why it is taken down; `None` when it is not.
    pub takedown_ref: Option<String>,
    /// Whether the account is deactivated; `None` for what is no account.
    pub deactivated: Option<bool>,
}

/// What becomes of a takedown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Takedown {
    /// It is applied. Without a reason of the caller's, the time stands for one.
    Apply(Option<String>),
    /// It is lifted.
    Lift,
}

/// What becomes of an account's rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// The account is deactivated.
    Begin,
    /// The account is activated; its DID has to name this server then.
    End,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ModerationError {
    /// Whose it is has no account here.
    #[error("{0} has no account here")]
    NoAccount(AtIdentifier),
    /// Two wishes that cannot both come true.
    #[error("An account cannot be taken down and activated at once: leave out takedown or deactivated")]
    Contradiction,
    /// The account would not change its state.
    #[error(transparent)]
    Status(#[from] StatusError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Takes down and lets up again. Cheap to clone.
#[derive(Clone)]
pub struct Moderation {
    store: Store,
    accounts: Accounts,
    clock: Clock,
}

impl Moderation {
    /// Moderation of what is in `store`.
    pub fn new(store: Store, accounts: Accounts, clock: Clock) -> Moderation {
        Moderation { store, accounts, clock }
    }

    /// Changes what is given: first the takedown, then, of an account, its rest. A record or blob that is not here may
    /// be taken down all the same: its owner may just have deleted it. An account for which nothing is given is
    /// announced once more, as it is.
    pub async fn update(
        &self,
        subject: &Subject,
        takedown: Option<Takedown>,
        rest: Option<Rest>,
    ) -> Result<(), ModerationError> {
        if matches!(takedown, Some(Takedown::Apply(_))) && rest == Some(Rest::End) {
            return Err(ModerationError::Contradiction);
        }
        let takedown_ref = takedown.as_ref().map(|takedown| self.takedown_ref(takedown));
        match subject {
            Subject::Account(did) => {
                if takedown.is_none() && rest.is_none() {
                    self.accounts.announce(did).await?;
                }
                if let Some(takedown_ref) = takedown_ref {
                    self.accounts.set_takedown(did, takedown_ref).await?;
                }
                match rest {
                    Some(Rest::Begin) => drop(self.accounts.deactivate(did, None).await?),
                    Some(Rest::End) => drop(self.accounts.activate(did).await?),
                    None => {}
                }
            }
            Subject::Record { repo, path } => {
                let account = self.find(repo).await?;
                if let Some((takedown_ref, repo_id)) = takedown_ref.zip(account.repo_id) {
                    let path = path.clone();
                    let set = self
                        .store
                        .write(move |tx| record::set_takedown(tx, repo_id, &path, takedown_ref.as_deref()));
                    set.await.map_err(|error: StoreError| ModerationError::from(error))?;
                }
            }
            Subject::Blob { did, cid } => {
                let (account, cid) = (self.find(&AtIdentifier::Did(did.clone())).await?, *cid);
                if let Some(takedown_ref) = takedown_ref {
                    let set = self.store.write(move |tx| {
                        blob::set_takedown(tx, account.id, &cid, takedown_ref.as_deref(), tx.now())
                    });
                    set.await.map_err(|error: StoreError| ModerationError::from(error))?;
                }
            }
        }
        tracing::info!(?subject, ?takedown, ?rest, "a moderator changed the status of a subject");
        Ok(())
    }

    fn takedown_ref(&self, takedown: &Takedown) -> Option<String> {
        match takedown {
            Takedown::Apply(Some(reason)) => Some(reason.clone()),
            Takedown::Apply(None) => Some(Datetime::from_micros(self.clock.now()).to_string()),
            Takedown::Lift => None,
        }
    }

    /// How the subject stands; `None` when it is not here.
    pub async fn status(&self, subject: &Subject) -> Result<Option<SubjectStatus>, StoreError> {
        let subject = subject.clone();
        self.store
            .read(move |db| {
                let account = match &subject {
                    Subject::Account(did) | Subject::Blob { did, .. } => account::get_by_did(db, did)?,
                    Subject::Record { repo, .. } => account::get_by_identifier(db, repo)?,
                };
                let Some(account) = account else { return Ok(None) };
                let status = |cid, takedown_ref, deactivated| SubjectStatus {
                    did: account.did.clone(),
                    cid,
                    takedown_ref,
                    deactivated,
                };
                Ok(match subject {
                    Subject::Account(_) => {
                        let deactivated = account.deactivated_at.is_some();
                        Some(status(None, account.takedown_ref.clone(), Some(deactivated)))
                    }
                    Subject::Record { path, .. } => {
                        let found = account.repo_id.map(|repo_id| record::get(db, repo_id, &path));
                        let found = found.transpose()?.flatten();
                        found.map(|record| status(Some(record.cid), record.takedown_ref, None))
                    }
                    Subject::Blob { cid, .. } => {
                        let found = blob::get(db, account.id, &cid)?;
                        found.map(|blob| status(Some(blob.cid), blob.takedown_ref, None))
                    }
                })
            })
            .await
    }

    async fn find(&self, repo: &AtIdentifier) -> Result<Account, ModerationError> {
        let wanted = repo.clone();
        let found = self.store.read(move |db| account::get_by_identifier(db, &wanted)).await?;
        found.ok_or_else(|| ModerationError::NoAccount(repo.clone()))
    }
}
