//! A set of blocks on disk, found by CID: what an import holds while it is being checked.
//!
//! Two files of `tmp/` without a name, which vanish with the process: the blocks one after the other, and a SQLite
//! index of where each one starts. Memory does not grow with the number of blocks.
//!
//! Not for: anything that is kept.

use std::{
    fs::File,
    io::{BufWriter, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use atproto::data::Cid;
use rusqlite::{Connection, OptionalExtension};

use super::{StoreError, column::CidColumn};

/// Page cache of the index, in KiB; also what is sorted in memory at a time.
const INDEX_CACHE_KIB: u32 = 8 * 1024;
/// Buffer before the file of blocks, in bytes.
const BUFFER_BYTES: usize = 256 * 1024;

/// A spool that takes blocks.
pub struct SpoolWriter {
    tmp_dir: PathBuf,
    blocks: BufWriter<File>,
    index: Connection,
    bytes: u64,
}

impl SpoolWriter {
    /// An empty spool in `tmp_dir`.
    pub fn create(tmp_dir: &Path) -> Result<SpoolWriter, StoreError> {
        let failed = |source| StoreError::File { path: tmp_dir.to_owned(), source };
        let blocks = tempfile::tempfile_in(tmp_dir).map_err(failed)?;
        // Once SQLite has it open, the name can go.
        let name = tempfile::NamedTempFile::new_in(tmp_dir).map_err(failed)?;
        let index = Connection::open(name.path())?;
        index.execute_batch(&format!(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE;
             PRAGMA cache_size = -{INDEX_CACHE_KIB};
             CREATE TABLE arrived (cid BLOB NOT NULL, start INTEGER NOT NULL, len INTEGER NOT NULL) STRICT;
             BEGIN"
        ))?;
        Ok(SpoolWriter {
            tmp_dir: tmp_dir.to_owned(),
            blocks: BufWriter::with_capacity(BUFFER_BYTES, blocks),
            index,
            bytes: 0,
        })
    }

    /// Adds a block whose hash has been checked. One that is there already takes room but changes nothing.
    pub fn push(&mut self, cid: &Cid, block: &[u8]) -> Result<(), StoreError> {
        self.blocks
            .write_all(block)
            .map_err(|source| StoreError::File { path: self.tmp_dir.clone(), source })?;
        // Files end far below the limit of these columns.
        self.index.prepare_cached("INSERT INTO arrived (cid, start, len) VALUES (?1, ?2, ?3)")?.execute((
            CidColumn(*cid),
            self.bytes as i64,
            block.len() as i64,
        ))?;
        self.bytes += block.len() as u64;
        Ok(())
    }

    /// No more blocks: from now on they can be read.
    pub fn finish(self) -> Result<Spool, StoreError> {
        // Sorted outside memory, so that the index is written from front to back: entered as they arrive, the blocks
        // of a large repository would each touch another page of it.
        self.index.execute_batch(
            "CREATE TABLE block (cid BLOB PRIMARY KEY, start INTEGER NOT NULL, len INTEGER NOT NULL)
             STRICT, WITHOUT ROWID;
             INSERT OR IGNORE INTO block SELECT cid, start, len FROM arrived ORDER BY cid;
             COMMIT",
        )?;
        let failed = |source| StoreError::File { path: self.tmp_dir.clone(), source };
        let blocks = self.blocks.into_inner().map_err(|error| failed(error.into_error()))?;
        Ok(Spool { blocks, index: self.index, tmp_dir: self.tmp_dir })
    }
}

/// A spool that is complete.
pub struct Spool {
    tmp_dir: PathBuf,
    blocks: File,
    index: Connection,
}

impl Spool {
    /// The block of this CID.
    pub fn get(&self, cid: &Cid) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self
            .index
            .prepare_cached("SELECT start, len FROM block WHERE cid = ?1")?
            .query_row([CidColumn(*cid)], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
            .optional()?;
        let Some((start, len)) = found else {
            return Ok(None);
        };
        let mut block = vec![0; len as usize];
        self.blocks
            .read_exact_at(&mut block, start as u64)
            .map_err(|source| StoreError::File { path: self.tmp_dir.clone(), source })?;
        Ok(Some(block))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use atproto::data::cid;

    use super::*;

    #[test]
    fn blocks_come_back_by_cid_and_leave_no_file_behind() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = SpoolWriter::create(dir.path()).unwrap();
        let blocks: Vec<Vec<u8>> = (0..20_000).map(|n| n.to_string().into_bytes()).collect();
        for block in &blocks {
            spool.push(&cid::for_raw(block), block).unwrap();
        }
        spool.push(&cid::for_raw(&blocks[0]), &blocks[0]).unwrap();
        let spool = spool.finish().unwrap();
        for block in &blocks {
            assert_eq!(spool.get(&cid::for_raw(block)).unwrap().as_ref(), Some(block));
        }
        assert_eq!(spool.get(&cid::for_raw(b"missing")).unwrap(), None);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
