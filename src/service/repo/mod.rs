//! Repositories: writing, reading, importing, exporting.
//!
//! | operation | file |
//! |---|---|
//! | from a request to canonical bytes, outside any transaction | `prepare` |
//! | from prepared writes to a commit, its rows and its event, in one transaction | [`mod@write`] |
//! | one record, a page of records, the collections | [`records`] |
//! | a whole repository from a CAR | [`import`] |
//! | a whole repository, or blocks of it, as a CAR stream | [`export`] |
//! | one record, there or not, with the nodes that prove it | [`proof`] |
//!
//! Not for: who may do this (`xrpc`), and SQL (`store`).

pub mod export;
pub mod import;
mod open_trees;
mod prepare;
pub mod proof;
pub mod records;
#[cfg(test)]
mod tests;
pub mod write;

use std::sync::{Arc, Mutex, PoisonError};

use atproto::syntax::Tid;

use crate::{
    service::{keys::Keys, word_filter::WordFilter},
    store::Store,
    time::{Clock, Entropy, Micros},
};

/// What all repository operations share. Cheap to clone.
#[derive(Clone)]
pub struct Repos {
    pub(crate) inner: Arc<Shared>,
}

pub(crate) struct Shared {
    pub store: Store,
    pub keys: Keys,
    pub clock: Clock,
    /// Clock id of the TIDs made here; random per process (TID-4).
    pub clock_id: u16,
    /// What may not stand in record keys.
    pub words: WordFilter,
    /// The newest record key given out, so that none is given out twice (TID-3).
    last_rkey: Mutex<Option<Tid>>,
    imports: import::Running,
    exports: export::Running,
    trees: Arc<open_trees::OpenTrees>,
}

impl Repos {
    /// The repositories in `store`, whose commits are signed with `keys`. Record keys with one of `words` are refused.
    pub fn new(store: Store, keys: Keys, words: WordFilter, clock: Clock, entropy: Entropy) -> Repos {
        let clock_id = u16::from_le_bytes(entropy.bytes()) % CLOCK_IDS;
        Repos {
            inner: Arc::new(Shared {
                store,
                keys,
                clock,
                clock_id,
                words,
                last_rkey: Mutex::new(None),
                imports: import::Running::default(),
                exports: export::Running::default(),
                trees: Arc::default(),
            }),
        }
    }

    /// A TID that was never given out before, for a record without a key.
    fn next_rkey(&self) -> Tid {
        let now = unsigned(self.inner.clock.now());
        let mut last = self.inner.last_rkey.lock().unwrap_or_else(PoisonError::into_inner);
        let next = Tid::next(*last, now, self.inner.clock_id);
        *last = Some(next);
        next
    }
}

/// A TID has 10 bits of clock id (TID-2).
const CLOCK_IDS: u16 = 1 << 10;

/// A clock that stands before 1970 counts as 1970; revs and keys grow all the same.
fn unsigned(now: Micros) -> u64 {
    u64::try_from(now).unwrap_or(0)
}
