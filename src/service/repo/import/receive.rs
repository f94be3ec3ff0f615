//! From bytes to blocks on disk, and reading them back.

use std::{
    io::{ErrorKind, Read},
    path::PathBuf,
};

use atproto::{
    data::Cid,
    mst::{NodeSource, Place},
    repo::car::{self, Item},
};
use rusqlite::Connection;

use super::{BLOCK_BYTES_MAX, ImportError, ImportOptions, Progress};
use crate::store::{
    Store, StoreError, repo_block,
    spool::{Spool, SpoolWriter},
};

/// Bytes read from the source at once.
const READ_BYTES: usize = 64 * 1024;

/// Reads a CAR to its end. Every block's hash is checked (CID-6). Returns its blocks, its one
/// root, and how far this has come.
pub(super) fn receive(
    source: &mut impl Read,
    store: &Store,
    options: &mut ImportOptions,
) -> Result<(Spool, Cid, Progress), ImportError> {
    let mut spool = SpoolWriter::create(&store.tmp_dir())?;
    let mut decoder = car::Decoder::new(BLOCK_BYTES_MAX);
    let mut progress = Progress::default();
    let mut root = None;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let n_read = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(n_read) => n_read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        progress.bytes += n_read as u64;
        if progress.bytes > options.bytes_max {
            return Err(ImportError::TooLarge(options.bytes_max));
        }
        store.require_room(0)?;
        decoder.push(&buffer[..n_read]);
        while let Some(item) = decoder.next_item()? {
            match item {
                Item::Header { roots } => match roots[..] {
                    [only] => root = Some(only),
                    _ => return Err(ImportError::Roots(roots.len())),
                },
                Item::Block { cid, data } => {
                    spool.push(&cid, &data)?;
                    progress.blocks += 1;
                }
            }
        }
        (options.progress)(progress);
    }
    decoder.finish()?;
    // A CAR without a header does not finish.
    let root = root.ok_or(ImportError::Roots(0))?;
    Ok((spool.finish()?, root, progress))
}

/// The blocks of the CAR, and behind them those of the repository as it is now.
pub(super) struct Blocks {
    spool: Spool,
    held: Held,
}

/// The repository as it is now, of which only a CAR that leaves something out needs anything.
enum Held {
    /// There is none.
    Nothing,
    /// Not needed so far.
    Unread { db: Connection, repo_id: i64, tmp_dir: PathBuf },
    /// All of it, to be found by CID.
    Spooled(Spool),
}

impl Held {
    fn get(&mut self, cid: &Cid) -> Result<Option<Vec<u8>>, StoreError> {
        if let Held::Unread { db, repo_id, tmp_dir } = self {
            let mut spool = SpoolWriter::create(tmp_dir)?;
            repo_block::scan(db, *repo_id, |cid, block| spool.push(cid, block))?;
            *self = Held::Spooled(spool.finish()?);
        }
        match self {
            Held::Spooled(spool) => spool.get(cid),
            _ => Ok(None),
        }
    }
}

impl Blocks {
    /// `held`: the generation served now. Should it change meanwhile, the import fails at its end.
    pub(super) fn new(spool: Spool, store: &Store, held: Option<i64>) -> Result<Blocks, StoreError> {
        let held = match held {
            Some(repo_id) => Held::Unread { db: store.open_snapshot()?, repo_id, tmp_dir: store.tmp_dir() },
            None => Held::Nothing,
        };
        Ok(Blocks { spool, held })
    }

    /// A block of the CAR.
    pub(super) fn get_imported(&self, cid: &Cid) -> Result<Option<Vec<u8>>, StoreError> {
        self.spool.get(cid)
    }

    /// A block of the CAR or of the repository as it is now.
    pub(super) fn get(&mut self, cid: &Cid) -> Result<Option<Vec<u8>>, StoreError> {
        match self.spool.get(cid)? {
            None => self.held.get(cid),
            found => Ok(found),
        }
    }
}

impl NodeSource for Blocks {
    type Error = StoreError;

    fn node(&mut self, _place: &Place, cid: &Cid) -> Result<Option<Vec<u8>>, StoreError> {
        self.get(cid)
    }
}
