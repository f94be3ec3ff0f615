//! The write path against a sorted map, and imports: on a real store, without HTTP.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod export;
mod import;
mod interrupted;
mod model;
mod write;

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use atproto::{
    data::{Map, Value},
    event::Frame,
    syntax::{Did, Nsid, RecordKey, RepoPath, Tid},
};
use zeroize::Zeroizing;

use super::{
    Repos,
    write::{Applied, CommitMeta, Swap, Validation, Write, WriteError, WriteRequest, create_repo},
};
use crate::{
    service::{
        keys::{AccountKey, Keys},
        word_filter::WordFilter,
    },
    store::{
        Store, StoreError, StoreOptions,
        account::{self, Account, InsertError, NewAccount},
        repo::{self, Head},
        repo_seq, signing_key,
    },
    time::{Clock, Entropy, SECOND},
};

pub const DID: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";

/// A store in a directory of its own, whose clock only moves when told to.
pub struct Bench {
    pub store: Store,
    pub repos: Repos,
    pub keys: Keys,
    clock: Arc<AtomicI64>,
    _dir: tempfile::TempDir,
}

/// What is inserted in one change of the fixture.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
enum SetupError {
    Store(#[from] StoreError),
    Insert(#[from] InsertError),
}

impl Bench {
    pub async fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let time = Arc::new(AtomicI64::new(1_700_000_000 * SECOND));
        let clock = Clock::from_fn({
            let time = time.clone();
            move || time.load(Ordering::Relaxed)
        });
        let entropy = Entropy::system();
        let store = Store::open(StoreOptions::at(dir.path()), clock.clone()).await.unwrap();
        let keys = Keys::new(store.clone(), &Zeroizing::new([7; 32]), entropy.clone());
        let repos = Repos::new(store.clone(), keys.clone(), WordFilter::default(), clock, entropy);
        Bench { store, repos, keys, clock: time, _dir: dir }
    }

    /// Sets the clock forwards or, with a negative number, back.
    pub fn move_clock(&self, by: i64) {
        self.clock.fetch_add(by, Ordering::Relaxed);
    }

    /// An account with an empty repo, or deactivated and without one.
    pub async fn account(&self, did: &str, with_repo: bool) -> Account {
        let did = Did::parse(did).unwrap();
        let key = self.keys.generate().unwrap();
        let sealed = self.keys.seal(&key).unwrap();
        let new = NewAccount {
            did: did.clone(),
            handle: None,
            email: None,
            password_hash: None,
            deactivated_at: (!with_repo).then_some(1),
        };
        self.store
            .write::<_, SetupError, _>(move |tx| {
                let id = account::insert(tx, &new, tx.now())?;
                signing_key::insert(tx, id, &key.public_key().did_key(), &sealed)?;
                if with_repo {
                    let rev = Tid::next(None, tx.now() as u64, 0);
                    create_repo(tx, id, &new.did, rev, &key)?.append_events(tx)?;
                }
                Ok(())
            })
            .await
            .unwrap();
        self.find(&did).await
    }

    pub async fn find(&self, did: &Did) -> Account {
        let did = did.clone();
        let found = self.store.read(move |db| account::get_by_did(db, &did)).await;
        found.unwrap_or_else(|error: StoreError| panic!("{error}")).unwrap()
    }

    pub async fn head(&self, account: &Account) -> Head {
        let repo_id = self.find(&account.did).await.repo_id.unwrap();
        let head = self.store.read(move |db| repo::get_head(db, repo_id)).await;
        head.unwrap_or_else(|error: StoreError| panic!("{error}")).unwrap()
    }

    pub async fn key(&self, account: &Account) -> Arc<AccountKey> {
        self.keys.signing_key(&account.did).await.unwrap()
    }

    /// Every event so far.
    pub async fn events(&self) -> Vec<Frame> {
        let frames = self.store.read(|db| repo_seq::list_after(db, 0, usize::MAX, usize::MAX)).await;
        let frames = frames.unwrap_or_else(|error: StoreError| panic!("{error}"));
        frames.iter().map(|(_, frame)| Frame::decode(frame).unwrap()).collect()
    }

    pub async fn apply(&self, account: &Account, writes: Vec<Write>) -> Result<Applied, WriteError> {
        let request = WriteRequest { writes, validation: Validation::Skip, swap_commit: None };
        self.repos.apply_writes(&account.did, request).await
    }

    /// Applies a write that must change something.
    pub async fn write(&self, account: &Account, write: Write) -> CommitMeta {
        self.apply(account, vec![write]).await.unwrap().commit.unwrap()
    }

    /// Rows of `table`.
    pub async fn count(&self, table: &'static str) -> i64 {
        let count = self.store.read(move |db| {
            let sql = format!("SELECT count(*) FROM {table}");
            Ok(db.query_row(&sql, (), |row| row.get(0))?)
        });
        count.await.unwrap_or_else(|error: StoreError| panic!("{error}"))
    }
}

pub fn nsid(text: &str) -> Nsid {
    Nsid::parse(text).unwrap()
}

pub fn rkey(text: &str) -> RecordKey {
    RecordKey::parse(text).unwrap()
}

pub fn path(text: &str) -> RepoPath {
    RepoPath::parse(text).unwrap()
}

/// A record that says `text` and nothing else.
pub fn note(text: &str) -> Value {
    object([("text", Value::String(text.into()))])
}

pub fn object<const N: usize>(entries: [(&str, Value); N]) -> Value {
    let entries = entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    Value::Map(Map::from_entries(entries).unwrap())
}

pub fn create(collection: &str, key: &str, record: Value) -> Write {
    Write::Create { collection: nsid(collection), rkey: Some(rkey(key)), record, replace_duplicates: true }
}

pub fn update(collection: &str, key: &str, record: Value) -> Write {
    Write::Update { collection: nsid(collection), rkey: rkey(key), record }
}

pub fn put(collection: &str, key: &str, record: Value, swap_record: Swap) -> Write {
    Write::Put { collection: nsid(collection), rkey: rkey(key), record, swap_record }
}

pub fn delete(collection: &str, key: &str, must_exist: bool) -> Write {
    Write::Delete { collection: nsid(collection), rkey: rkey(key), must_exist, swap_record: Swap::Any }
}
