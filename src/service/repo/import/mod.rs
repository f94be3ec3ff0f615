//! Taking over a whole repository from a CAR (MG-4, CAR-5..CAR-11).
//!
//! ```text
//! bytes -> CAR decoder (hashes) -> spool on disk -> commit, tree, records checked in key order
//!       -> rows of a generation that nobody sees yet -> one short transaction that makes it the one served
//! ```
//!
//! Memory does not grow with the repository. The tree is checked by building it anew from its own keys: if that gives
//! the root that the commit names, every node is in its canonical form. Whatever is wrong is found before the last
//! step, and then the staged rows are removed; after a crash [`Repos::sweep_generations`] does that.
//!
//! Not for: lexicon validation. What another server accepted is kept as it is, byte for byte (CB-12).

mod receive;
mod stage;

use std::{
    collections::HashSet,
    io::Read,
    sync::{Arc, Mutex, PoisonError},
};

use atproto::{
    crypto::{PublicKey, SigningKey},
    data::Cid,
    mst,
    repo::{Commit, CommitError, car},
    syntax::{Did, RepoPath, Tid},
};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
};

use self::{
    receive::{Blocks, receive},
    stage::Stage,
};
use super::{
    Repos, Shared, unsigned,
    write::{CommitMeta, Signed},
};
use crate::{
    service::keys::{AccountKey, KeyError},
    store::{
        Store, StoreError, WriteTx,
        account::{self, Account, Status},
        blob,
        repo::{self, Head},
        signing_key,
    },
    task,
};

/// Imports at one time, over all accounts; each may keep a file of the size of its CAR and some 20 MiB of memory.
pub const IMPORTS_MAX: usize = 2;
/// Largest block in a CAR, in bytes: room for any record and any node that is within the limits.
pub const BLOCK_BYTES_MAX: u64 = 2 * 1024 * 1024;
/// Rows removed in one write by the removal of a generation.
const REMOVE_ROWS: u32 = 500;
/// Generations looked at in one round of the sweep.
const SWEEP_GENERATIONS: u32 = 100;

/// How far an import has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the CAR read.
    pub bytes: u64,
    /// Blocks read.
    pub blocks: u64,
    /// Records checked and staged; these start when the CAR has been read.
    pub records: u64,
}

/// How to import.
pub struct ImportOptions {
    /// Largest CAR, in bytes; also the most that its records may amount to.
    pub bytes_max: u64,
    /// The account's signing key in its DID document, when that could be resolved. A commit signed with another key
    /// is only noted in the log: in the middle of a migration the document names the new server's key.
    pub known_key: Option<PublicKey>,
    /// Called now and then, on the thread that imports.
    pub progress: Box<dyn FnMut(Progress) + Send>,
}

/// What was imported.
#[derive(Clone, Copy, Debug)]
pub struct Imported {
    /// The commit made here over the imported tree (MG-10).
    pub commit: CommitMeta,
    /// Root of the tree.
    pub data: Cid,
    /// Records in it.
    pub n_records: i64,
}

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The body could not be read to its end.
    #[error("the upload broke off: {0}")]
    Read(#[from] std::io::Error),
    /// The CAR, or the records in it, are larger than the server allows.
    #[error("the repository is larger than {0} bytes, the most that this server imports")]
    TooLarge(u64),
    /// The bytes are not a CAR file.
    #[error(transparent)]
    Car(#[from] car::Error),
    /// A CAR of a repository has one root, its commit.
    #[error("expected one root: the CAR has {0}")]
    Roots(usize),
    /// The commit is not one of version 3 in good form.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// RP-7.
    #[error("the commit is of {found}, not of {expected}")]
    WrongDid {
        /// Whose repository is being imported.
        expected: Did,
        /// What the commit says.
        found: Did,
    },
    /// There can be no later rev (RP-10).
    #[error("the commit has rev {0}, after which no other can come")]
    LastRev(Tid),
    /// CAR-9.
    #[error("{what} {cid} is missing from the CAR")]
    Missing {
        /// What it was needed as.
        what: &'static str,
        /// The block.
        cid: Cid,
    },
    /// The tree breaks a rule (MST-10).
    #[error("{0}")]
    Tree(String),
    /// The tree is not the one that its keys make.
    #[error(
        "the tree is not in its canonical form: its keys make the root {rebuilt}, the commit says {data}"
    )]
    NotCanonical {
        /// What the commit says.
        data: Box<Cid>,
        /// What it should be.
        rebuilt: Box<Cid>,
    },
    /// A key of the tree is no path (RP-1..RP-3).
    #[error("key {key:?} of the tree is not a record path: {problem}")]
    Path {
        /// The key.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A record is not an object in canonical CBOR.
    #[error("Could not parse record at '{path}': {problem}")]
    Record {
        /// Where.
        path: RepoPath,
        /// What is wrong with it.
        problem: String,
    },
    /// The repository was written to, or another import finished, while this one ran.
    #[error("the repository changed during the import; try again")]
    Moved,
    /// [`IMPORTS_MAX`], or one of this account.
    #[error("{0}; try again when it is done")]
    Busy(&'static str),
    /// The account was taken down.
    #[error("the account is taken down")]
    Takendown,
    /// The account is gone.
    #[error("there is no such account")]
    NoAccount,
    /// The signing key cannot be had.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The database or a temporary file failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<mst::Error<StoreError>> for ImportError {
    fn from(error: mst::Error<StoreError>) -> ImportError {
        match error {
            mst::Error::Source(error) => ImportError::Store(error),
            mst::Error::MissingNode(cid) => ImportError::Missing { what: "tree node", cid },
            error => ImportError::Tree(error.to_string()),
        }
    }
}

impl From<mst::Error> for ImportError {
    fn from(error: mst::Error) -> ImportError {
        ImportError::Tree(error.to_string())
    }
}

impl Repos {
    /// Replaces the repository of `account` by the one in the CAR that `source` gives, and makes a commit of its own
    /// over it. Announces it with `#sync` if the account is active (SY-15).
    ///
    /// `source` is read on a blocking thread. Nodes and records that the CAR leaves out may come from the repository
    /// as it is now (a CAR limited by `since`, MG-4), never from another account (CAR-10). When this returns an error,
    /// nothing has changed.
    pub async fn import(
        &self,
        account: &Account,
        source: impl Read + Send + 'static,
        options: ImportOptions,
    ) -> Result<Imported, ImportError> {
        self.inner.store.require_room(0)?;
        let slot = Slot::enter(&self.inner, account.id)?;
        let import = Import {
            store: self.inner.store.clone(),
            runtime: Handle::current(),
            account_id: account.id,
            did: account.did.clone(),
            key: self.inner.keys.signing_key(&account.did).await?,
            clock_id: self.inner.clock_id,
            now: unsigned(self.inner.clock.now()),
            options,
        };
        let ran = task::spawn_blocking(move || {
            let _slot = slot;
            import.run(source)
        });
        // The thread only disappears with the runtime.
        let outcome = ran.await.unwrap_or(Err(StoreError::Closed.into()));
        if matches!(outcome, Err(ImportError::Moved)) {
            // It may have been the key that changed: the next try opens it anew.
            self.inner.keys.forget(&account.did);
        }
        let (imported, replaced) = outcome?;
        if let Some(repo_id) = replaced {
            let store = self.inner.store.clone();
            task::spawn(async move {
                if let Err(error) = remove_generation(&store, repo_id).await {
                    tracing::warn!(%error, repo_id, "a replaced repository is removed within the hour");
                }
            });
        }
        Ok(imported)
    }

    /// Removes the generations of an account that has been deleted; false while an import into it is still running.
    pub async fn remove_generations_of_deleted(&self, account_id: i64) -> Result<bool, StoreError> {
        loop {
            if self.inner.imports.is_running(account_id) {
                return Ok(false);
            }
            let next = self.inner.store.read(move |db| repo::get_any_of(db, account_id)).await?;
            match next {
                Some(repo_id) => remove_generation(&self.inner.store, repo_id).await?,
                None => return Ok(true),
            }
        }
    }

    /// Removes what imports that were cut short, or replaced repositories, have left: what a crash left at the start, and
    /// what failed to clear up after itself later. Running imports and what is served are left alone. Returns how many
    /// generations are gone.
    pub async fn sweep_generations(&self) -> Result<usize, StoreError> {
        let mut n_removed = 0;
        loop {
            let unserved = self.inner.store.read(|db| repo::list_unserved(db, SWEEP_GENERATIONS)).await?;
            let before = n_removed;
            for (repo_id, account_id) in unserved {
                if !self.inner.imports.is_running(account_id) {
                    remove_generation(&self.inner.store, repo_id).await?;
                    n_removed += 1;
                }
            }
            if n_removed == before {
                return Ok(n_removed);
            }
        }
    }
}

/// In steps, so that other writes get their turn.
async fn remove_generation(store: &Store, repo_id: i64) -> Result<(), StoreError> {
    while !store.write(move |tx| repo::delete_step(tx, repo_id, REMOVE_ROWS)).await? {}
    Ok(())
}

/// The imports that run.
pub(super) struct Running {
    permits: Arc<Semaphore>,
    accounts: Mutex<HashSet<i64>>,
}

impl Default for Running {
    fn default() -> Running {
        Running { permits: Arc::new(Semaphore::new(IMPORTS_MAX)), accounts: Mutex::default() }
    }
}

impl Running {
    fn is_running(&self, account_id: i64) -> bool {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner).contains(&account_id)
    }
}

/// The right to import into one account. Held by the thread that does it.
struct Slot {
    shared: Arc<Shared>,
    account_id: i64,
    _permit: OwnedSemaphorePermit,
}

impl Slot {
    fn enter(shared: &Arc<Shared>, account_id: i64) -> Result<Slot, ImportError> {
        let Ok(permit) = shared.imports.permits.clone().try_acquire_owned() else {
            return Err(ImportError::Busy("as many imports as this server can take are running"));
        };
        if !shared.imports.accounts.lock().unwrap_or_else(PoisonError::into_inner).insert(account_id) {
            return Err(ImportError::Busy("an import into this account is running"));
        }
        Ok(Slot { shared: shared.clone(), account_id, _permit: permit })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut accounts = self.shared.imports.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.remove(&self.account_id);
    }
}

/// One import, on its blocking thread.
struct Import {
    store: Store,
    runtime: Handle,
    account_id: i64,
    did: Did,
    key: Arc<AccountKey>,
    clock_id: u16,
    now: u64,
    options: ImportOptions,
}

/// The account's repository: the generation served and its head.
type Served = Option<(i64, Option<Head>)>;

impl Import {
    /// Returns also the generation that was served before.
    fn run(mut self, mut source: impl Read) -> Result<(Imported, Option<i64>), ImportError> {
        // What stands now, before the upload: a write that lands from here on makes the import fail.
        let did = self.did.clone();
        let before =
            self.runtime.block_on(self.store.read(move |db| match account::get_by_did(db, &did)? {
                Some(account) => served(db, &account).map_err(ImportError::from),
                None => Err(ImportError::NoAccount),
            }))?;
        let (spool, root, progress) = receive(&mut source, &self.store, &mut self.options)?;
        let held = before.as_ref().map(|(repo_id, _)| *repo_id);
        let mut blocks = Blocks::new(spool, &self.store, held)?;
        let commit = self.check_commit(&blocks, root)?;

        // Past every rev there was, so that `getRepo` since any of them carries the imported rows.
        let last_rev = before.iter().filter_map(|(_, head)| head.as_ref()).map(|head| head.rev).max();
        let rev = Tid::next(last_rev.max(Some(commit.rev)), self.now, self.clock_id);
        if rev <= commit.rev {
            return Err(ImportError::LastRev(commit.rev));
        }
        let mut stage =
            Stage::open(&self.store, &self.runtime, self.account_id, rev, self.options.bytes_max)?;
        let repo_id = stage.repo_id();
        let published = stage.fill(&mut blocks, commit.data, progress, &mut self.options.progress).and_then(
            |n_records| {
                let account_id = self.account_id;
                self.publish(Staged { account_id, repo_id, rev, data: commit.data, n_records }, before)
            },
        );
        if published.is_err()
            && let Err(error) = self.runtime.block_on(remove_generation(&self.store, repo_id))
        {
            tracing::warn!(%error, repo_id, "a refused import is removed within the hour");
        }
        Ok((published?, held))
    }

    fn check_commit(&self, blocks: &Blocks, root: Cid) -> Result<Commit, ImportError> {
        let block = blocks.get_imported(&root)?.ok_or(ImportError::Missing { what: "commit", cid: root })?;
        let commit = Commit::decode(&block)?;
        if commit.did != self.did {
            return Err(ImportError::WrongDid { expected: self.did.clone(), found: commit.did });
        }
        if let Some(Err(error)) = self.options.known_key.as_ref().map(|key| commit.verify(key)) {
            tracing::warn!(did = %self.did, rev = %commit.rev, %error, "the imported commit is not signed by the key of the DID document");
        }
        Ok(commit)
    }

    /// Makes the staged generation the one served.
    fn publish(&self, staged: Staged, before: Served) -> Result<Imported, ImportError> {
        let (did, key, clock_id) = (self.did.clone(), self.key.clone(), self.clock_id);
        self.runtime.block_on(self.store.write(move |tx| staged.publish(tx, &did, &key, clock_id, &before)))
    }
}

/// A generation that is complete but for its commit.
struct Staged {
    account_id: i64,
    repo_id: i64,
    /// Rev of its rows.
    rev: Tid,
    data: Cid,
    n_records: i64,
}

impl Staged {
    fn publish(
        &self,
        tx: &mut WriteTx<'_>,
        did: &Did,
        key: &SigningKey,
        clock_id: u16,
        before: &Served,
    ) -> Result<Imported, ImportError> {
        // Deleted, and perhaps made anew, in the meantime: what was staged belongs to the account that is gone.
        let account = account::get_by_did(tx, did)?
            .filter(|account| account.id == self.account_id)
            .ok_or(ImportError::NoAccount)?;
        if account.status() == Status::Takendown {
            return Err(ImportError::Takendown);
        }
        let signs = signing_key::get_did_key(tx, account.id)?;
        if served(tx, &account)? != *before || signs != Some(key.public_key().did_key()) {
            return Err(ImportError::Moved);
        }
        let rev = Tid::next(Some(self.rev), unsigned(tx.now()), clock_id);
        let signed = Signed::new(did, self.data, rev, key);
        repo::set_head(tx, &signed.head(self.repo_id, self.n_records))?;
        account::set_repo(tx, account.id, self.repo_id)?;
        blob::settle(tx, account.id, self.repo_id)?;
        if account.is_active() {
            signed.append_sync(tx)?;
        }
        Ok(Imported { commit: signed.meta(), data: self.data, n_records: self.n_records })
    }
}

fn served(db: &rusqlite::Connection, account: &Account) -> Result<Served, StoreError> {
    let Some(repo_id) = account.repo_id else {
        return Ok(None);
    };
    Ok(Some((repo_id, repo::get_head(db, repo_id)?)))
}
