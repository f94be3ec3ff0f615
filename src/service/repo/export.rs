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

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use atproto::{data::Cid, repo::car, syntax::Tid};
use bytes::Bytes;
use futures::Stream;
use rusqlite::Connection;
use tokio::{
    runtime::Handle,
    sync::mpsc::{self, error::TrySendError},
    time::{Instant, timeout_at},
};

use super::Repos;
use crate::{
    service::{
        pace::Pace,
        places::{Place, Places},
    },
    store::{Store, StoreError, repo, repo_block},
    task,
};

/// Exports under way at once; each costs a thread, a connection and some 1.5 MiB.
pub const EXPORTS_MAX: usize = 8;
/// How long an export waits for one of those places, in seconds.
const PLACE_SECS_MAX: u64 = 20;
/// Bytes of a chunk at least, the last one excepted.
const CHUNK_BYTES_MIN: usize = 128 * 1024;
/// Room made for a chunk, so that few blocks make it grow, in bytes.
const CHUNK_BYTES: usize = CHUNK_BYTES_MIN + 4 * 1024;
/// Chunks that wait for the client.
const CHUNKS_WAITING_MAX: usize = 3;
/// How long a client may take nothing, in seconds. What it has to take is said in [`Pace`].
const IDLE_SECS_MAX: u64 = 30;
/// How long it may take nothing when others wait for its place, in seconds.
const WANTED_IDLE_SECS_MAX: u64 = 3;
/// How long it may keep us waiting in all when others wait, in seconds, and for each [`WANTED_RATE_BYTES_MIN`] taken.
const WANTED_WAIT_SECS_MAX: u64 = 5;
/// What a client has to take when others wait for its place, or the disk does, in bytes a second.
const WANTED_RATE_BYTES_MIN: u64 = 256 * 1024;
/// How often it is looked whether others wait, in milliseconds.
const WANTED_LOOK_MILLIS: u64 = 250;
/// How long an export may take in all. Its snapshot keeps SQLite from reusing the log of writes.
const EXPORT_SECS_MAX: u64 = 20 * 60;
/// CIDs in one `getBlocks`.
pub const BLOCKS_MAX: usize = 500;

/// The places of the exports under way.
pub(super) struct Running(Places);

impl Default for Running {
    fn default() -> Running {
        Running(Places::new(EXPORTS_MAX))
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
    /// Set once everything has been handed over. What ends without is not a whole CAR.
    is_whole: Arc<AtomicBool>,
}

impl Stream for CarStream {
    type Item = Result<Bytes, ExportError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        match ready!(self.rest.poll_recv(context)) {
            // Swapped, so that the error comes once.
            None if !self.is_whole.swap(true, Ordering::Acquire) => {
                Poll::Ready(Some(Err(ExportError::Abandoned)))
            }
            next => Poll::Ready(next),
        }
    }
}

impl Repos {
    /// Streams the head of `repo_id`: whole, or what came after `since` (SY-28). `client` is whoever asks, and has a share
    /// of the places; `None` is nobody in particular.
    ///
    /// # Errors
    ///
    /// [`ExportError::NoRepo`], [`ExportError::Busy`].
    pub async fn export(
        &self,
        repo_id: i64,
        since: Option<Tid>,
        client: Option<&str>,
    ) -> Result<CarStream, ExportError> {
        self.stream(client, move |db, car| {
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
    pub async fn export_blocks(
        &self,
        repo_id: i64,
        cids: Vec<Cid>,
        client: Option<&str>,
    ) -> Result<CarStream, ExportError> {
        self.stream(client, move |db, car| {
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
        client: Option<&str>,
        produce: impl FnOnce(&Connection, &mut CarSink) -> Result<(), ExportError> + Send + 'static,
    ) -> Result<CarStream, ExportError> {
        let place = self.inner.exports.0.take(client, Duration::from_secs(PLACE_SECS_MAX)).await;
        let place = place.map_err(|_| ExportError::Busy)?;
        let (chunks, mut rest) = mpsc::channel(CHUNKS_WAITING_MAX);
        let (store, runtime) = (self.inner.store.clone(), Handle::current());
        let is_whole = Arc::new(AtomicBool::new(false));
        let whole = is_whole.clone();
        drop(task::spawn_blocking(move || {
            let mut sink = CarSink::new(chunks, runtime, place, whole, store.clone());
            let produced = store.open_snapshot().map_err(ExportError::from).and_then(|db| {
                db.execute_batch("BEGIN")?;
                produce(&db, &mut sink)
            });
            sink.finish(produced);
        }));
        match rest.recv().await {
            Some(Ok(first)) => Ok(CarStream { first: Some(first), rest, is_whole }),
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
    pace: Pace,
    /// How long the client has kept us waiting, and what it has taken, in bytes.
    waited: Duration,
    taken: u64,
    place: Place,
    is_whole: Arc<AtomicBool>,
    store: Store,
}

impl CarSink {
    fn new(
        chunks: mpsc::Sender<Result<Bytes, ExportError>>,
        runtime: Handle,
        place: Place,
        is_whole: Arc<AtomicBool>,
        store: Store,
    ) -> CarSink {
        CarSink {
            buffer: Vec::with_capacity(CHUNK_BYTES),
            chunks,
            runtime,
            deadline: Instant::now() + Duration::from_secs(EXPORT_SECS_MAX),
            pace: Pace::new(Duration::from_secs(IDLE_SECS_MAX)),
            waited: Duration::ZERO,
            taken: 0,
            place,
            is_whole,
            store,
        }
    }

    fn header(&mut self, roots: &[Cid]) {
        self.buffer.extend(car::encode_header(roots));
    }

    fn block(&mut self, cid: &Cid, block: &[u8]) -> Result<(), ExportError> {
        car::encode_block(cid, block, &mut self.buffer);
        if self.buffer.len() >= CHUNK_BYTES_MIN {
            let chunk = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK_BYTES));
            self.send(Ok(chunk.into()))?;
        }
        Ok(())
    }

    /// Sends what is left, or the error.
    fn finish(mut self, produced: Result<(), ExportError>) {
        let last = match produced {
            Ok(()) => std::mem::take(&mut self.buffer).into(),
            // Whoever is too slow for a chunk is not waited for again.
            Err(ExportError::Abandoned) => return,
            Err(error) => {
                // Nobody is there to hear of a failure.
                let _ = self.send(Err(error));
                return;
            }
        };
        // Before the last chunk is handed over: who takes it must find this set.
        self.is_whole.store(true, Ordering::Release);
        if self.send(Ok(last)).is_err() {
            self.is_whole.store(false, Ordering::Release);
        }
    }

    fn send(&mut self, chunk: Result<Bytes, ExportError>) -> Result<(), ExportError> {
        let bytes = chunk.as_ref().map_or(0, Bytes::len);
        let waited = match self.chunks.try_send(chunk) {
            Ok(()) => Duration::ZERO,
            Err(TrySendError::Closed(_)) => return Err(ExportError::Abandoned),
            Err(TrySendError::Full(chunk)) => {
                let runtime = self.runtime.clone();
                runtime.block_on(self.hand_over(chunk))?
            }
        };
        self.pace.moved(bytes, waited);
        self.waited += waited;
        self.taken += bytes as u64;
        if self.has_to_give_way(Duration::ZERO) { Err(ExportError::Abandoned) } else { Ok(()) }
    }

    /// Waits until the client takes on, for as long as it may keep us waiting; says how long it did.
    async fn hand_over(&self, chunk: Result<Bytes, ExportError>) -> Result<Duration, ExportError> {
        let mut sending = std::pin::pin!(self.chunks.send(chunk));
        let since = Instant::now();
        let idle_at = (since + self.pace.left()).min(self.deadline);
        loop {
            let look_at = Instant::now() + Duration::from_millis(WANTED_LOOK_MILLIS);
            match timeout_at(look_at.min(idle_at), sending.as_mut()).await {
                Ok(Ok(())) => return Ok(since.elapsed()),
                Ok(Err(_)) => return Err(ExportError::Abandoned),
                Err(_) if Instant::now() >= idle_at => return Err(ExportError::Abandoned),
                Err(_) if self.has_to_give_way(since.elapsed()) => return Err(ExportError::Abandoned),
                Err(_) => {}
            }
        }
    }

    /// Whether others wait, or the write-ahead log grows beyond measure behind the snapshot, while the client, who has kept
    /// us waiting for `waiting` now, takes too little.
    fn has_to_give_way(&self, waiting: Duration) -> bool {
        let may_wait = WANTED_WAIT_SECS_MAX + self.taken / WANTED_RATE_BYTES_MIN;
        let is_slow = waiting >= Duration::from_secs(WANTED_IDLE_SECS_MAX)
            || self.waited + waiting >= Duration::from_secs(may_wait);
        is_slow && (self.place.is_wanted() || self.store.is_wal_long())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use futures::StreamExt;

    use super::*;
    use crate::{store::StoreOptions, time::Clock};

    fn stream(chunks: usize, is_whole: bool) -> CarStream {
        let (send, rest) = mpsc::channel(CHUNKS_WAITING_MAX);
        for _ in 0..chunks {
            send.try_send(Ok(Bytes::from("chunk"))).unwrap();
        }
        CarStream { first: Some(Bytes::from("first")), rest, is_whole: Arc::new(AtomicBool::new(is_whole)) }
    }

    #[tokio::test]
    async fn a_slow_reader_gives_way_when_the_log_of_writes_grows_behind_its_snapshot() {
        let (slow, quick) = (Duration::from_secs(WANTED_IDLE_SECS_MAX), Duration::ZERO);
        for (wal_bytes_max, has_to) in [(u64::MAX, false), (0, true)] {
            let dir = tempfile::tempdir().unwrap();
            let options = StoreOptions { wal_bytes_max, ..StoreOptions::at(dir.path()) };
            let store = Store::open(options, Clock::system()).await.unwrap();
            store.write(|tx| tx.skip_seq_to(7)).await.unwrap();
            let place =
                Running::default().0.take(None, Duration::ZERO).await.unwrap_or_else(|_| panic!("no place"));
            let (chunks, _rest) = mpsc::channel(1);
            let mut sink = CarSink::new(chunks, Handle::current(), place, Arc::default(), store);
            assert_eq!(sink.has_to_give_way(slow), has_to, "{wal_bytes_max}");
            assert!(!sink.has_to_give_way(quick), "who takes what there is may go on");
            sink.waited = Duration::from_secs(WANTED_WAIT_SECS_MAX);
            assert_eq!(sink.has_to_give_way(quick), has_to, "{wal_bytes_max}");
            sink.taken = WANTED_RATE_BYTES_MIN;
            assert!(!sink.has_to_give_way(quick));
        }
    }

    #[tokio::test]
    async fn a_car_that_breaks_off_does_not_end_like_a_whole_one() {
        let whole: Vec<_> = stream(2, true).collect().await;
        assert!(whole.len() == 3 && whole.iter().all(Result::is_ok));
        let cut: Vec<_> = stream(2, false).collect().await;
        assert!(matches!(cut[..], [Ok(_), Ok(_), Ok(_), Err(ExportError::Abandoned)]), "{cut:?}");
    }
}
