//! The bytes of blobs, as files: `blobs/<account id>/<cid>` in the data directory, and `tmp/upload-<account id>-*` while
//! an upload is under way.
//!
//! A file under `blobs/` is complete and on disk (file, directory and the directory's own name flushed) when
//! [`BlobFiles::place`] returns, so a row that is committed afterwards never outlives its bytes. Account ids and CIDs are
//! the only parts of a name: nothing that a client chooses reaches a path.
//!
//! A file gets its place as a second name (a hard link) and keeps its temporary one until its row has been committed, or
//! until it has been noted as garbage. So a crash in between leaves a name in `tmp/` that tells which file may have no
//! row, and no transaction is needed beforehand to say so. Where there are no hard links, the caller notes the file and
//! [`BlobFiles::replace`]s.
//!
//! Not for: which files should exist ([`super::blob`]) and when they go (`service::blob`).

use std::{
    collections::HashSet,
    io::{self, Read as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use atproto::data::{Cid, cid};
use sha2::{Digest, Sha256};
use tempfile::TempPath;
use tokio::fs::File;

use super::{Store, StoreError};
use crate::task::{self, Outcome};

/// Prefix of the files of uploads under way.
const TMP_PREFIX: &str = "upload-";
/// Directories that are remembered as durable; then they are looked at anew.
const DURABLE_DIRS_MAX: usize = 4096;

/// Bytes of an upload that are gathered before they are hashed and written: each time costs two changes of threads. Up to
/// twice as many are in memory for each upload, as more comes in while these are written.
const WRITE_BYTES: usize = 256 * 1024;

/// Bytes that are read at once of a file that is hashed.
const HASH_BYTES: usize = 64 * 1024;
/// Files in place without a row that are remembered until they have been noted; further ones wait for the next start.
const UNSETTLED_MAX: usize = 1024;

/// The blob files of a store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct BlobFiles {
    blobs: PathBuf,
    tmp: PathBuf,
    /// Accounts whose directory this process has brought to the disk. That a directory is there says nothing: the flush
    /// after it was made may have failed, or a crash may have come before it.
    durable: Arc<Mutex<HashSet<i64>>>,
    unsettled: Unsettled,
}

/// Files whose upload ended between its place and its row.
type Unsettled = Arc<Mutex<Vec<UnsettledBlob>>>;

/// A file in its place that may have no row and no note, and its name in `tmp/`.
#[derive(Debug)]
struct UnsettledBlob {
    account_id: i64,
    cid: Cid,
    tmp: PathBuf,
}

/// An upload under way. Dropping it removes the file.
pub struct PartialBlob {
    tmp: PathBuf,
    account_id: i64,
    /// The last write, which may be under way while more comes in.
    writing: Option<Outcome<io::Result<Written>>>,
    /// What has not been handed to a write yet.
    buffer: Vec<u8>,
    size: u64,
}

/// The file of an upload, and the hash of what is in it. Both are for threads that may wait for the disk.
struct Written {
    file: std::fs::File,
    path: TempPath,
    digest: Sha256,
    /// What was written last, emptied: memory for what is gathered next.
    buffer: Vec<u8>,
}

/// A complete upload on disk, not in place yet. Dropping it removes the file.
pub struct ReceivedBlob {
    account_id: i64,
    /// Hash of the bytes (BL-1).
    pub cid: Cid,
    /// Bytes.
    pub size: u64,
    path: TempPath,
}

/// A blob in its place, whose row is not committed yet. Dropping it says that this has gone wrong: the file is then one
/// of [`BlobFiles::take_unsettled`].
pub struct PlacedBlob {
    account_id: i64,
    cid: Cid,
    /// `None`: somebody else answers for the file, or it has been noted.
    tmp: Option<TempPath>,
    unsettled: Unsettled,
}

/// What [`BlobFiles::place`] could do.
pub enum Place {
    /// The blob is in its place.
    Taken(PlacedBlob),
    /// There is no second name to be had, or a file of another length has it: note the file and [`BlobFiles::replace`].
    NotTaken(ReceivedBlob),
}

impl BlobFiles {
    /// The files that belong to `store`.
    pub fn of(store: &Store) -> BlobFiles {
        BlobFiles {
            blobs: store.data_dir().join("blobs"),
            tmp: store.data_dir().join("tmp"),
            durable: Arc::default(),
            unsettled: Arc::default(),
        }
    }

    /// Starts an upload by an account. Its file is made when there is something to write.
    pub fn create(&self, account_id: i64) -> PartialBlob {
        PartialBlob { tmp: self.tmp.clone(), account_id, writing: None, buffer: Vec::new(), size: 0 }
    }

    /// Gives a blob its place and makes that durable; its temporary name stays.
    ///
    /// From before this until the row is committed, the caller keeps [`BlobFiles::remove`] from being called.
    pub async fn place(&self, blob: ReceivedBlob) -> Result<Place, StoreError> {
        let (files, path) = (self.clone(), self.path(blob.account_id, &blob.cid.to_string()));
        blocking(&path.clone(), move || {
            let dir = files.durable_dir(blob.account_id)?;
            let (account_id, cid, size) = (blob.account_id, blob.cid, blob.size);
            let placed = |tmp| PlacedBlob { account_id, cid, tmp, unsettled: files.unsettled.clone() };
            let placed = match std::fs::hard_link(&blob.path, &path) {
                Ok(()) => placed(Some(blob.path)),
                // The same bytes, flushed before they got this name. Whoever gave it to them answers for them, unless
                // they have a row or a note.
                Err(_) if std::fs::metadata(&path).is_ok_and(|file| file.len() == size) => placed(None),
                Err(_) => return Ok(Place::NotTaken(blob)),
            };
            sync_dir(&dir)?;
            Ok(Place::Taken(placed))
        })
        .await
    }

    /// Moves a blob to its place, whatever is there, and makes the move durable. The caller has noted the file before, so
    /// that a crash from here on leaves none that nobody knows of; otherwise as [`BlobFiles::place`].
    pub async fn replace(&self, blob: ReceivedBlob) -> Result<PlacedBlob, StoreError> {
        let (files, path) = (self.clone(), self.path(blob.account_id, &blob.cid.to_string()));
        blocking(&path.clone(), move || {
            let dir = files.durable_dir(blob.account_id)?;
            std::fs::rename(&blob.path, &path)?;
            // It has gone from its old name: nothing is left to be removed there.
            let _ = blob.path.keep();
            sync_dir(&dir)?;
            let unsettled = files.unsettled.clone();
            Ok(PlacedBlob { account_id: blob.account_id, cid: blob.cid, tmp: None, unsettled })
        })
        .await
    }

    /// Files in their place whose uploads failed to enter a row. Note them as garbage, then [`PlacedBlob::settle`]; those
    /// that are dropped instead are given out again.
    pub fn take_unsettled(&self) -> Vec<PlacedBlob> {
        let unsettled = std::mem::take(&mut *self.unsettled.lock().unwrap_or_else(PoisonError::into_inner));
        let placed = |UnsettledBlob { account_id, cid, tmp }| PlacedBlob {
            account_id,
            cid,
            tmp: TempPath::try_from_path(tmp).ok(),
            unsettled: self.unsettled.clone(),
        };
        unsettled.into_iter().map(placed).collect()
    }

    /// The directory of an account's blobs, made if need be, its name durable.
    fn durable_dir(&self, account_id: i64) -> io::Result<PathBuf> {
        let dir = self.blobs.join(account_id.to_string());
        let is_durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner).contains(&account_id);
        if !is_durable || !dir.is_dir() {
            std::fs::create_dir_all(&dir)?;
            sync_dir(&self.blobs)?;
            let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
            if durable.len() >= DURABLE_DIRS_MAX {
                durable.clear();
            }
            durable.insert(account_id);
        }
        Ok(dir)
    }

    /// Opens a blob for reading; `None` when the file is not there.
    pub async fn open(&self, account_id: i64, cid: &Cid) -> Result<Option<File>, StoreError> {
        let path = self.path(account_id, &cid.to_string());
        match File::open(&path).await {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreError::File { path, source }),
        }
    }

    /// Removes a blob, by the text form of its CID; a file that is not there is fine.
    pub async fn remove(&self, account_id: i64, cid: &str) -> Result<(), StoreError> {
        let path = self.path(account_id, cid);
        match tokio::fs::remove_file(&path).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::File { path, source: error })
            }
            _ => Ok(()),
        }
    }

    /// Goes through what uploads of an earlier run left in `tmp/`: removes what never got a place, and takes the rest for
    /// [`BlobFiles::take_unsettled`]. Returns how many files were removed. Call before the first upload.
    ///
    /// Hashes what has a place: as much as was being placed when that run ended, at most [`UNSETTLED_MAX`] files.
    pub async fn clear_tmp(&self) -> Result<usize, StoreError> {
        let files = self.clone();
        blocking(&self.tmp, move || {
            let (mut removed, mut taken) = (0, 0);
            for entry in std::fs::read_dir(&files.tmp)? {
                let entry = entry?;
                let name = entry.file_name();
                let Some(name) = name.to_str().and_then(|name| name.strip_prefix(TMP_PREFIX)) else {
                    continue;
                };
                // Whoever replaces a file in its place has noted it, so that only one which still has both names
                // can be unknown.
                let has_place = entry.metadata()?.nlink() > 1;
                let account_id = name.split_once('-').and_then(|(account_id, _)| account_id.parse().ok());
                match account_id.filter(|_| has_place) {
                    Some(_) if taken == UNSETTLED_MAX => {}
                    Some(account_id) => {
                        taken += 1;
                        let cid = hash(&entry.path())?;
                        remember(&files.unsettled, UnsettledBlob { account_id, cid, tmp: entry.path() });
                    }
                    None => {
                        std::fs::remove_file(entry.path())?;
                        removed += 1;
                    }
                }
            }
            Ok(removed)
        })
        .await
    }

    fn path(&self, account_id: i64, cid: &str) -> PathBuf {
        self.blobs.join(account_id.to_string()).join(cid)
    }
}

impl PartialBlob {
    /// Bytes so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds bytes at the end.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        self.size += bytes.len() as u64;
        // All writes but the last are of the same length: whole pages, which cost the file system less than parts of them.
        while self.buffer.len() + bytes.len() >= WRITE_BYTES {
            let (full, rest) = bytes.split_at(WRITE_BYTES - self.buffer.len());
            self.buffer.extend_from_slice(full);
            bytes = rest;
            let written = self.written().await?;
            self.write_out(written);
        }
        if self.buffer.capacity() == 0 && !bytes.is_empty() {
            self.buffer.reserve_exact(WRITE_BYTES);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Ends the upload: all of it is written and flushed.
    pub async fn finish(mut self) -> Result<ReceivedBlob, StoreError> {
        let written = self.written().await?;
        let (tmp, buffer) = (self.tmp.clone(), std::mem::take(&mut self.buffer));
        let (account_id, size) = (self.account_id, self.size);
        blocking(&self.tmp, move || {
            let written = written.map_or_else(|| Written::create(&tmp, account_id), Ok)?;
            let Written { file, path, digest, .. } = written.add(buffer)?;
            // Its length as well; what is left out are times.
            file.sync_data()?;
            let_go_of_pages(&file);
            Ok(ReceivedBlob { account_id, cid: cid::raw_from_digest(digest.finalize().into()), size, path })
        })
        .await
    }

    /// Waits for the last write and takes what it was at; `None` before the first.
    async fn written(&mut self) -> Result<Option<Written>, StoreError> {
        let Some(writing) = self.writing.as_mut() else { return Ok(None) };
        let written = writing.await;
        self.writing = None;
        match written {
            Ok(outcome) => {
                outcome.map(Some).map_err(|source| StoreError::File { path: self.tmp.clone(), source })
            }
            Err(_) => Err(StoreError::Closed),
        }
    }

    /// Begins to hash and write what is held, on a thread for such work. When nobody asks for the outcome any more, the
    /// file goes.
    fn write_out(&mut self, mut written: Option<Written>) {
        let next = written.as_mut().map(|written| std::mem::take(&mut written.buffer)).unwrap_or_default();
        let (tmp, account_id) = (self.tmp.clone(), self.account_id);
        let buffer = std::mem::replace(&mut self.buffer, next);
        self.writing = Some(task::spawn_blocking(move || {
            written.map_or_else(|| Written::create(&tmp, account_id), Ok)?.add(buffer)
        }));
    }
}

impl Written {
    fn create(tmp: &Path, account_id: i64) -> io::Result<Written> {
        let prefix = format!("{TMP_PREFIX}{account_id}-");
        let file = tempfile::Builder::new().prefix(&prefix).tempfile_in(tmp)?;
        let (file, path) = file.into_parts();
        Ok(Written { file, path, digest: Sha256::new(), buffer: Vec::new() })
    }

    /// Hashes and writes `bytes`, and keeps their memory.
    fn add(mut self, mut bytes: Vec<u8>) -> io::Result<Written> {
        self.digest.update(&bytes);
        self.file.write_all(&bytes)?;
        bytes.clear();
        self.buffer = bytes;
        Ok(self)
    }
}

impl PlacedBlob {
    /// Whose it is.
    pub fn account_id(&self) -> i64 {
        self.account_id
    }

    /// Hash of the bytes (BL-1).
    pub fn cid(&self) -> Cid {
        self.cid
    }

    /// Takes the temporary name away: the file has its row, or its note. Does not wait for that; a name that comes back
    /// after a crash does no harm.
    pub fn settle(mut self) {
        if let Some(tmp) = self.tmp.take() {
            drop(task::spawn_blocking(move || drop(tmp)));
        }
    }
}

impl Drop for PlacedBlob {
    fn drop(&mut self) {
        // Keeps the name.
        if let Some(tmp) = self.tmp.take().and_then(|tmp| tmp.keep().ok()) {
            remember(&self.unsettled, UnsettledBlob { account_id: self.account_id, cid: self.cid, tmp });
        }
    }
}

/// What there is no room for keeps its name in `tmp/` until the next start.
fn remember(unsettled: &Unsettled, blob: UnsettledBlob) {
    let mut unsettled = unsettled.lock().unwrap_or_else(PoisonError::into_inner);
    if unsettled.len() < UNSETTLED_MAX {
        unsettled.push(blob);
    }
}

/// Tells the system that nobody waits for these bytes: finding new memory for them can cost more than all else, and on
/// a small machine something else has to make room for it. Whoever fetches the blob reads the disk, once (decision 16).
fn let_go_of_pages(file: &std::fs::File) {
    #[cfg(target_os = "linux")]
    // Advice: where it is not taken, nothing is lost.
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
    #[cfg(not(target_os = "linux"))]
    let _ = file;
}

/// The CID of a file's bytes.
fn hash(path: &Path) -> io::Result<Cid> {
    let (mut file, mut digest) = (std::fs::File::open(path)?, Sha256::new());
    let mut buffer = vec![0; HASH_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(cid::raw_from_digest(digest.finalize().into())),
            read => digest.update(&buffer[..read]),
        }
    }
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    std::fs::File::open(dir)?.sync_all()
}

/// Runs file work off the async threads; errors name `path`.
async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    match task::spawn_blocking(work).await {
        Ok(outcome) => outcome.map_err(|source| StoreError::File { path: path.to_owned(), source }),
        Err(_) => Err(StoreError::Closed),
    }
}
