//! The bytes of blobs, as files: `blobs/<account id>/<cid>` in the data directory, and `tmp/upload-*` while an upload
//! is under way.
//!
//! A file under `blobs/` is complete and on disk (file, directory and the directory's own name flushed) when
//! [`BlobFiles::keep`] returns, so a row that is committed afterwards never outlives its bytes. Account ids and CIDs are the only parts of a name:
//! nothing that a client chooses reaches a path.
//!
//! Not for: which files should exist ([`super::blob`]) and when they go (`service::blob`).

use std::{
    collections::HashSet,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use atproto::data::{Cid, cid};
use sha2::{Digest, Sha256};
use tempfile::TempPath;
use tokio::{
    fs::File,
    task::{JoinHandle, spawn_blocking},
};

use super::{Store, StoreError};

/// Prefix of the files of uploads under way.
const TMP_PREFIX: &str = "upload-";
/// Directories that are remembered as durable; then they are looked at anew.
const DURABLE_DIRS_MAX: usize = 4096;

/// Bytes of an upload that are gathered before they are hashed and written: each time costs two changes of threads. Up to
/// twice as many are in memory for each upload, as more comes in while these are written.
const WRITE_BYTES: usize = 256 * 1024;

/// The blob files of a store.
#[derive(Clone, Debug)]
pub struct BlobFiles {
    blobs: PathBuf,
    tmp: PathBuf,
    /// Accounts whose directory this process has brought to the disk. That a directory is there says nothing: the flush
    /// after it was made may have failed, or a crash may have come before it.
    durable: Arc<Mutex<HashSet<i64>>>,
}

/// An upload under way. Dropping it removes the file.
pub struct PartialBlob {
    tmp: PathBuf,
    /// The last write, which may be under way while more comes in.
    writing: Option<JoinHandle<io::Result<Written>>>,
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
    /// Hash of the bytes (BL-1).
    pub cid: Cid,
    /// Bytes.
    pub size: u64,
    path: TempPath,
}

impl BlobFiles {
    /// The files that belong to `store`.
    pub fn of(store: &Store) -> BlobFiles {
        BlobFiles {
            blobs: store.data_dir().join("blobs"),
            tmp: store.data_dir().join("tmp"),
            durable: Arc::default(),
        }
    }

    /// Starts an upload. Its file is made when there is something to write.
    pub fn create(&self) -> PartialBlob {
        PartialBlob { tmp: self.tmp.clone(), writing: None, buffer: Vec::new(), size: 0 }
    }

    /// Moves a flushed blob to its place and makes the move durable.
    pub async fn keep(&self, account_id: i64, blob: ReceivedBlob) -> Result<(), StoreError> {
        let (blobs, path) = (self.blobs.clone(), self.path(account_id, &blob.cid.to_string()));
        let durable = self.durable.clone();
        blocking(&path.clone(), move || {
            let dir = blobs.join(account_id.to_string());
            std::fs::create_dir_all(&dir)?;
            let is_durable = durable.lock().unwrap_or_else(PoisonError::into_inner).contains(&account_id);
            if !is_durable {
                sync_dir(&blobs)?;
                let mut durable = durable.lock().unwrap_or_else(PoisonError::into_inner);
                if durable.len() >= DURABLE_DIRS_MAX {
                    durable.clear();
                }
                durable.insert(account_id);
            }
            std::fs::rename(&blob.path, &path)?;
            // It has gone from its old name: nothing is left to be removed there.
            let _ = blob.path.keep();
            sync_dir(&dir)
        })
        .await
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

    /// Removes what uploads of an earlier run left in `tmp/`; returns how many files. Call before the first upload.
    pub async fn clear_tmp(&self) -> Result<usize, StoreError> {
        let tmp = self.tmp.clone();
        blocking(&self.tmp, move || {
            let mut removed = 0;
            for entry in std::fs::read_dir(tmp)? {
                let entry = entry?;
                if entry.file_name().to_string_lossy().starts_with(TMP_PREFIX) {
                    std::fs::remove_file(entry.path())?;
                    removed += 1;
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
        let (tmp, buffer, size) = (self.tmp.clone(), std::mem::take(&mut self.buffer), self.size);
        blocking(&self.tmp, move || {
            let written = written.map_or_else(|| Written::create(&tmp), Ok)?;
            let Written { file, path, digest, .. } = written.add(buffer)?;
            // Its length as well; what is left out are times.
            file.sync_data()?;
            Ok(ReceivedBlob { cid: cid::raw_from_digest(digest.finalize().into()), size, path })
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
        let (tmp, buffer) = (self.tmp.clone(), std::mem::replace(&mut self.buffer, next));
        self.writing =
            Some(spawn_blocking(move || written.map_or_else(|| Written::create(&tmp), Ok)?.add(buffer)));
    }
}

impl Written {
    fn create(tmp: &Path) -> io::Result<Written> {
        let file = tempfile::Builder::new().prefix(TMP_PREFIX).tempfile_in(tmp)?;
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

/// Makes the names in a directory durable.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    std::fs::File::open(dir)?.sync_all()
}

/// Runs file work off the async threads; errors name `path`.
async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    match spawn_blocking(work).await {
        Ok(outcome) => outcome.map_err(|source| StoreError::File { path: path.to_owned(), source }),
        Err(_) => Err(StoreError::Closed),
    }
}
