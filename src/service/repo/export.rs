//! Repositories as CAR streams: `getRepo` and `getBlocks`.
//!
//! An export runs on a thread of its own with a read transaction of its own: what it streams is one state of the
//! repo, however long the client takes (the reference can mix states). It holds a few chunks, never a list that grows
//! with the repo.
//!
//! A whole repo goes out in the streamable order of the spec (CAR-6): commit, then the tree depth-first. A record that
//! stands under two keys is sent twice; remembering what was sent would cost memory in the size of the repo, and readers
//! accept it (CAR-5). Records that were taken down stay: the commit would not verify without them.
//!
//! A diff (`since`) is the commit, the nodes that came after `since` and the records that did (CAR-12). When nothing
//! did, that leaves the commit alone, which is a valid CAR (SY-28).
//!
//! Not for: who may read ([`crate::xrpc`]) and proofs of single records ([`super::proof`]).

use std::{pin::Pin, sync::Arc, task, time::Duration};

use atproto::{data::Cid, repo::car, syntax::Tid};
use bytes::Bytes;
use futures::Stream;
use rusqlite::Connection;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc},
    time::{Instant, timeout, timeout_at},
};

use super::Repos;
use crate::store::{StoreError, repo, repo_block};

/// Exports under way at once; each costs a thread, a connection and some 3 MiB.
pub const EXPORTS_MAX: usize = 8;
/// How long an export waits for one of those places.
const PLACE_SECS_MAX: u64 = 15;
/// Bytes of a chunk at least, the last one excepted.
const CHUNK_BYTES_MIN: usize = 64 * 1024;
/// Chunks that wait for the client.
const CHUNKS_WAITING_MAX: usize = 4;
/// How long a client may take nothing.
const IDLE_SECS_MAX: u64 = 30;
/// How long an export may take in all. Its snapshot keeps SQLite from reusing the log of writes.
const EXPORT_SECS_MAX: u64 = 20 * 60;
/// CIDs in one `getBlocks`.
pub const BLOCKS_MAX: usize = 500;

/// The places of the exports under way.
pub(super) struct Running(Arc<Semaphore>);

impl Default for Running {
    fn default() -> Running {
        Running(Arc::new(Semaphore::new(EXPORTS_MAX)))
    }
}

/// Why a repo cannot be streamed.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// There is no commit yet.
    #[error("the repo has no commit yet")]
    NoRepo,
    /// Asked for by CID and not in this repo.
    #[error("Could not find cids: {}", .0.iter().map(Cid::to_string).collect::<Vec<_>>().join(", "))]
    BlocksNotFound(Vec<Cid>),
    /// No place among the exports under way.
    #[error("too many exports are under way, try again in a minute")]
    Busy,
    /// The client went away or reads too slowly; nobody is told.
    #[error("the reader of the export is gone or too slow")]
    Abandoned,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for ExportError {
    fn from(error: rusqlite::Error) -> Self {
        ExportError::Store(error.into())
    }
}

/// A CAR in chunks. Its first chunk was there before the stream was handed out, so whatever can be refused has been. An
/// error in the middle breaks the stream off, which the reader sees as a truncated transfer.
pub struct CarStream {
    first: Option<Bytes>,
    rest: mpsc::Receiver<Result<Bytes, ExportError>>,
}

impl Stream for CarStream {
    type Item = Result<Bytes, ExportError>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> task::Poll<Option<Self::Item>> {
        match self.first.take() {
            Some(first) => task::Poll::Ready(Some(Ok(first))),
            None => self.rest.poll_recv(context),
        }
    }
}

impl Repos {
    /// Streams the head of `repo_id`: whole, or what came after `since` (SY-28).
    ///
    /// # Errors
    ///
    /// [`ExportError::NoRepo`], [`ExportError::Busy`].
    pub async fn export(&self, repo_id: i64, since: Option<Tid>) -> Result<CarStream, ExportError> {
        self.stream(move |db, car| {
            let head = repo::get_head(db, repo_id)?.ok_or(ExportError::NoRepo)?;
            car.header(&[head.commit]);
            car.block(&head.commit, &head.commit_block)?;
            let emit = |cid: &Cid, block: &[u8]| car.block(cid, block);
            match since {
                None => repo_block::scan(db, repo_id, emit),
                Some(since) => repo_block::scan_since(db, repo_id, since, emit),
            }
        })
        .await
    }

    /// Streams the blocks named by `cids`, in their order, in a CAR without roots. Costs at most what [`Repos::export`]
    /// costs, and takes one of its places.
    ///
    /// # Errors
    ///
    /// [`ExportError::BlocksNotFound`] names all that are missing. `cids` beyond [`BLOCKS_MAX`] are the caller's to
    /// refuse.
    pub async fn export_blocks(&self, repo_id: i64, cids: Vec<Cid>) -> Result<CarStream, ExportError> {
        self.stream(move |db, car| {
            let head = repo::get_head(db, repo_id)?.ok_or(ExportError::NoRepo)?;
            let found = repo_block::locate(db, &head, &cids)?;
            let missing: Vec<Cid> = cids.iter().filter(|cid| !found.contains_key(cid)).copied().collect();
            if !missing.is_empty() {
                return Err(ExportError::BlocksNotFound(missing));
            }
            car.header(&[]);
            for (cid, location) in cids.iter().filter_map(|cid| found.get_key_value(cid)) {
                if let Some(block) = repo_block::get(db, &head, *location)? {
                    car.block(cid, &block)?;
                }
            }
            Ok(())
        })
        .await
    }

    /// Runs `produce` in a snapshot of its own on a blocking thread and waits for the first chunk.
    async fn stream(
        &self,
        produce: impl FnOnce(&Connection, &mut CarSink) -> Result<(), ExportError> + Send + 'static,
    ) -> Result<CarStream, ExportError> {
        let places = self.inner.exports.0.clone().acquire_owned();
        let Ok(Ok(place)) = timeout(Duration::from_secs(PLACE_SECS_MAX), places).await else {
            return Err(ExportError::Busy);
        };
        let (chunks, mut rest) = mpsc::channel(CHUNKS_WAITING_MAX);
        let (store, runtime) = (self.inner.store.clone(), Handle::current());
        tokio::task::spawn_blocking(move || {
            let mut sink = CarSink::new(chunks, runtime);
            let produced = store.open_snapshot().map_err(ExportError::from).and_then(|db| {
                db.execute_batch("BEGIN")?;
                produce(&db, &mut sink)
            });
            sink.finish(produced);
            drop(place);
        });
        match rest.recv().await {
            Some(Ok(first)) => Ok(CarStream { first: Some(first), rest }),
            Some(Err(error)) => Err(error),
            None => Err(ExportError::Abandoned),
        }
    }
}

/// Gathers blocks into chunks and hands them to the client, from a blocking thread.
struct CarSink {
    buffer: Vec<u8>,
    chunks: mpsc::Sender<Result<Bytes, ExportError>>,
    runtime: Handle,
    deadline: Instant,
}

impl CarSink {
    fn new(chunks: mpsc::Sender<Result<Bytes, ExportError>>, runtime: Handle) -> CarSink {
        let deadline = Instant::now() + Duration::from_secs(EXPORT_SECS_MAX);
        CarSink { buffer: Vec::new(), chunks, runtime, deadline }
    }

    fn header(&mut self, roots: &[Cid]) {
        self.buffer.extend(car::encode_header(roots));
    }

    fn block(&mut self, cid: &Cid, block: &[u8]) -> Result<(), ExportError> {
        car::encode_block(cid, block, &mut self.buffer);
        if self.buffer.len() >= CHUNK_BYTES_MIN {
            let chunk = std::mem::take(&mut self.buffer);
            self.send(Ok(chunk.into()))?;
        }
        Ok(())
    }

    /// Sends what is left, or the error.
    fn finish(mut self, produced: Result<(), ExportError>) {
        let last = match produced {
            Ok(()) => Ok(std::mem::take(&mut self.buffer).into()),
            Err(error) => Err(error),
        };
        // Nobody is there to hear of a failure.
        let _ = self.send(last);
    }

    fn send(&self, chunk: Result<Bytes, ExportError>) -> Result<(), ExportError> {
        let idle_at = (Instant::now() + Duration::from_secs(IDLE_SECS_MAX)).min(self.deadline);
        let sent = self.runtime.block_on(timeout_at(idle_at, self.chunks.send(chunk)));
        match sent {
            Ok(Ok(())) => Ok(()),
            _ => Err(ExportError::Abandoned),
        }
    }
}
