//! From bytes to blocks on disk, and reading them back.

use std::io::{ErrorKind, Read};

use atproto::{
    data::Cid,
    mst::{NodeSource, Place},
    repo::car::{self, Item},
};
use rusqlite::Connection;

use super::{BLOCK_BYTES_MAX, ImportError, ImportOptions, Progress};
use crate::store::{
    Store, StoreError, mst_node, record,
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
    held: Option<(Connection, i64)>,
}

impl Blocks {
    /// `held`: the generation served now. Should it change meanwhile, the import fails at its end.
    pub(super) fn new(spool: Spool, store: &Store, held: Option<i64>) -> Result<Blocks, StoreError> {
        let held = held.map(|repo_id| Ok::<_, StoreError>((store.open_snapshot()?, repo_id))).transpose()?;
        Ok(Blocks { spool, held })
    }

    /// A block of the CAR.
    pub(super) fn get_imported(&self, cid: &Cid) -> Result<Option<Vec<u8>>, StoreError> {
        self.spool.get(cid)
    }

    /// A record of the CAR or of the repository as it is now.
    pub(super) fn get_record(&self, cid: &Cid) -> Result<Option<Vec<u8>>, StoreError> {
        match (self.spool.get(cid)?, &self.held) {
            (None, Some((db, repo_id))) => record::get_body(db, *repo_id, cid),
            (found, _) => Ok(found),
        }
    }
}

impl NodeSource for Blocks {
    type Error = StoreError;

    fn node(&mut self, _place: &Place, cid: &Cid) -> Result<Option<Vec<u8>>, StoreError> {
        match (self.spool.get(cid)?, &self.held) {
            (None, Some((db, repo_id))) => mst_node::get_block(db, *repo_id, cid),
            (found, _) => Ok(found),
        }
    }
}
