//! A CAR file on disk as a source of blocks: one pass checks every hash and notes where each block stands, after which
//! blocks are read where they are. Memory: 16 bytes per block, whatever their size.
//!
//! Not for: streams. An upload has no second pass; see `service::repo::import`.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::FileExt as _,
    path::Path,
};

use atproto::{
    data::Cid,
    mst::{NodeSource, Place},
    repo::car::{Decoder, Error as CarError, Item},
};

/// Bytes read from the file at a time.
const READ_BYTES: usize = 256 * 1024;
/// Larger blocks are refused: records and tree nodes stay far below.
const BLOCK_BYTES_MAX: u64 = 2 * 1024 * 1024;
/// Bits of a packed location that hold the length; enough for [`BLOCK_BYTES_MAX`].
const LENGTH_BITS: u32 = 22;
/// Larger files do not fit a packed location.
const FILE_BYTES_MAX: u64 = 1 << (64 - LENGTH_BITS);
/// Damage is listed up to here, then only counted.
const DAMAGES_MAX: usize = 100;

/// Why a file cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The system refuses.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// The header is not one of a CAR file.
    #[error("is not a CAR file: {0}")]
    Header(CarError),
    /// Too large for the index.
    #[error("has {0} bytes; at most {FILE_BYTES_MAX} can be read")]
    TooLarge(u64),
}

/// An indexed CAR file.
pub struct CarFile {
    file: File,
    roots: Vec<Cid>,
    /// (first bytes of the digest, offset and length), sorted.
    index: Vec<(u64, u64)>,
    damage: Vec<CarError>,
}

impl CarFile {
    /// Reads the file once from end to end. `progress` is told the bytes read so far and the bytes there are.
    ///
    /// Damage behind the header is no error here: it is kept in [`CarFile::damage`], and the blocks that are whole can be
    /// read.
    pub fn open(path: &Path, mut progress: impl FnMut(u64, u64)) -> Result<CarFile, OpenError> {
        let mut file = File::open(path)?;
        let bytes = file.metadata()?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(OpenError::TooLarge(bytes));
        }
        let mut indexer = Indexer::default();
        let mut decoder = Decoder::new(BLOCK_BYTES_MAX);
        let mut buffer = vec![0; READ_BYTES];
        let mut read = 0;
        loop {
            let n = file.read(&mut buffer)?;
            if n == 0 {
                break;
            }
            read += n as u64;
            decoder.push(buffer.get(..n).unwrap_or_default());
            if indexer.drain(&mut decoder)? == Next::Stop {
                break;
            }
            progress(read, bytes);
        }
        indexer.finish(file, decoder)
    }

    /// The CIDs that the header names.
    pub fn roots(&self) -> &[Cid] {
        &self.roots
    }

    /// What is wrong with the file as a CAR, in the order found.
    pub fn damage(&self) -> &[CarError] {
        &self.damage
    }

    /// Number of whole blocks.
    pub fn n_blocks(&self) -> usize {
        self.index.len()
    }

    /// The block with this CID; its hash was right when the file was indexed, and is checked again here because several
    /// digests can begin alike.
    pub fn block(&self, cid: &Cid) -> io::Result<Option<Vec<u8>>> {
        let wanted = digest_prefix(cid);
        let start = self.index.partition_point(|(prefix, _)| *prefix < wanted);
        for (_, location) in self.index.iter().skip(start).take_while(|(prefix, _)| *prefix == wanted) {
            let mut data = vec![0; usize::try_from(location & ((1 << LENGTH_BITS) - 1)).unwrap_or(0)];
            self.file.read_exact_at(&mut data, location >> LENGTH_BITS)?;
            if atproto::data::cid::matches(cid, &data) {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

impl NodeSource for &CarFile {
    type Error = io::Error;

    fn node(&mut self, _place: &Place, cid: &Cid) -> Result<Option<Vec<u8>>, io::Error> {
        self.block(cid)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Continue,
    Stop,
}

#[derive(Default)]
struct Indexer {
    roots: Option<Vec<Cid>>,
    index: Vec<(u64, u64)>,
    damage: Vec<CarError>,
    stopped: bool,
}

impl Indexer {
    fn drain(&mut self, decoder: &mut Decoder) -> Result<Next, OpenError> {
        loop {
            match decoder.next_item() {
                Ok(Some(Item::Header { roots })) => self.roots = Some(roots),
                Ok(Some(Item::Block { cid, data })) => {
                    let length = data.len() as u64;
                    let offset = decoder.position().saturating_sub(length);
                    self.index.push((digest_prefix(&cid), offset << LENGTH_BITS | length));
                }
                Ok(None) => return Ok(Next::Continue),
                Err(error) if self.roots.is_none() => return Err(OpenError::Header(error)),
                // The section was read; what follows it can be.
                Err(error @ CarError::HashMismatch(_)) if self.damage.len() < DAMAGES_MAX => {
                    self.damage.push(error)
                }
                Err(error) => {
                    self.damage.push(error);
                    self.stopped = true;
                    return Ok(Next::Stop);
                }
            }
        }
    }

    fn finish(mut self, file: File, decoder: Decoder) -> Result<CarFile, OpenError> {
        if !self.stopped
            && let Err(error) = decoder.finish()
        {
            match &self.roots {
                None => return Err(OpenError::Header(error)),
                Some(_) => self.damage.push(error),
            }
        }
        let Some(roots) = self.roots else {
            return Err(OpenError::Header(CarError::Truncated));
        };
        self.index.sort_unstable();
        Ok(CarFile { file, roots, index: self.index, damage: self.damage })
    }
}

/// The first eight bytes of a CID's digest.
fn digest_prefix(cid: &Cid) -> u64 {
    let mut prefix = [0; 8];
    for (to, from) in prefix.iter_mut().zip(cid.hash().digest()) {
        *to = *from;
    }
    u64::from_be_bytes(prefix)
}
