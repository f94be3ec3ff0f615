//! What of an account is here: for its owner, who is moving in and wants to know what is missing (MG-6).

use atproto::{data::Cid, syntax::Tid};

use super::Accounts;
use crate::store::{
    StoreError,
    account::{Account, Status},
    blob, repo, repo_block,
};

/// What there is of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// It is served.
    pub activated: bool,
    /// Its DID names this server and the key kept here.
    pub valid_did: bool,
    /// Its newest commit and rev; `None`: nothing has been imported or written.
    pub head: Option<(Cid, Tid)>,
    /// Blocks of the repository, each once: the commit, the nodes of the tree, the records.
    pub blocks: u64,
    /// Records.
    pub records: u64,
    /// Distinct blobs that the records refer to.
    pub blobs_expected: u64,
    /// Blobs that are here, temporary ones too.
    pub blobs_held: u64,
}

impl Accounts {
    /// What there is of `account`. Asks the directory about its DID.
    pub async fn progress(&self, account: &Account) -> Result<Progress, StoreError> {
        let valid_did = match self.inner.identities.check_validity(account).await {
            Ok(()) => true,
            Err(error) if error.is_verdict() => false,
            Err(error) => {
                tracing::warn!(did = %account.did, %error, "whether a DID is valid could not be found out");
                false
            }
        };
        let (account_id, repo_id) = (account.id, account.repo_id);
        let activated = account.status() == Status::Active;
        self.inner
            .store
            .read(move |db| {
                let mut progress = Progress {
                    activated,
                    valid_did,
                    head: None,
                    blocks: 0,
                    records: 0,
                    blobs_expected: 0,
                    blobs_held: blob::count_held(db, account_id)?,
                };
                if let Some(repo_id) = repo_id
                    && let Some(head) = repo::get_head(db, repo_id)?
                {
                    progress.head = Some((head.commit, head.rev));
                    progress.blocks = 1 + repo_block::count(db, repo_id)?;
                    progress.records = u64::try_from(head.n_records).unwrap_or(0);
                    progress.blobs_expected = blob::count_expected(db, repo_id)?;
                }
                Ok(progress)
            })
            .await
    }
}
