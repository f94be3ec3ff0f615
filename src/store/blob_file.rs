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
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use atproto::data::{Cid, cid};
use sha2::{Digest, Sha256};
use tempfile::TempPath;
use tokio::{fs::File, io::AsyncWriteExt, task::spawn_blocking};

use super::{Store, StoreError};

/// Prefix of the files of uploads under way.
const TMP_PREFIX: &str = "upload-";
/// Directories that are remembered as durable; then they are looked at anew.
const DURABLE_DIRS_MAX: usize = 4096;

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
    file: File,
    path: TempPath,
    digest: Sha256,
    size: u64,
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

    /// Starts an upload.
    pub async fn create(&self) -> Result<PartialBlob, StoreError> {
        let tmp = self.tmp.clone();
        let (file, path) = blocking(&self.tmp, move || {
            Ok(tempfile::Builder::new().prefix(TMP_PREFIX).tempfile_in(tmp)?.into_parts())
        })
        .await?;
        Ok(PartialBlob { file: File::from_std(file), path, digest: Sha256::new(), size: 0 })
    }

    /// Moves a received blob to its place and makes the move durable.
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
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.digest.update(bytes);
        self.size += bytes.len() as u64;
        self.file.write_all(bytes).await.map_err(|source| self.failed(source))
    }

    /// Flushes the file to disk.
    pub async fn finish(mut self) -> Result<ReceivedBlob, StoreError> {
        // Writes run on another thread; flushing waits for the last one and reports its error.
        self.file.flush().await.map_err(|source| self.failed(source))?;
        self.file.sync_all().await.map_err(|source| self.failed(source))?;
        let cid = cid::raw_from_digest(self.digest.finalize().into());
        Ok(ReceivedBlob { cid, size: self.size, path: self.path })
    }

    fn failed(&self, source: io::Error) -> StoreError {
        StoreError::File { path: self.path.to_path_buf(), source }
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
