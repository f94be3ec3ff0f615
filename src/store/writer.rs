//! The one writer: a thread that takes what is waiting, applies each change so that it can be refused alone, commits
//! once, and then answers all. One fsync serves every account that wrote in that moment.
//!
//! It also numbers firehose events: `seq` is drawn inside the transaction that stores the frame, and frames
//! reach the [`Ring`] only after the commit (invariants 1 and 2).
//!
//! When the disk fails, the whole group fails, and the next one starts from what is on disk. Two habits of SQLite need
//! care. Some errors (disk full, I/O) make it roll back and go on without a transaction, in which each statement would
//! be a commit of its own: nothing but the one COMMIT here may commit. And a COMMIT whose flush failed has left its
//! frames in the write-ahead log, where a crash would bring them back: they are overwritten before anyone is answered,
//! and as long as they could not be, nothing else is written. docs/decisions/0013-what-a-failed-commit-leaves.md says
//! what is known when.

use std::{
    collections::VecDeque,
    ops::Deref,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use atproto::{
    event::Frame,
    syntax::{Datetime, Did},
};
use bytes::Bytes;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    Cause, StoreError, StoreOptions,
    answers::Answers,
    failure::{GroupFailure, Kept, LogPace, is_torn},
    repo_seq, run,
};
use crate::time::{Clock, Micros};

/// Changes waiting for the writer before callers have to wait for a place.
const QUEUE_CHANGES_MAX: usize = 1024;
/// Pages in the write-ahead log after which they are copied to their places. A page that many commits changed is copied once:
/// twice as many pages cost a twentieth less for each write, and make the one commit that waits for the copying wait longer.
const WAL_PAGES_MAX: u32 = 4000;
/// What stays of a write-ahead log that an import or a long read has let grow, in bytes: [`WAL_PAGES_MAX`] fit.
const WAL_BYTES_KEPT: u32 = 16 * 1024 * 1024;
/// Changes in one commit.
const GROUP_CHANGES_MAX: usize = 256;

/// An open write transaction, seen by one change. Derefs to the connection for the table functions.
pub struct WriteTx<'a> {
    connection: &'a Connection,
    now: Micros,
    last_seq: i64,
    frames: Vec<(i64, Bytes)>,
    removed_events: bool,
}

impl Deref for WriteTx<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

impl WriteTx<'_> {
    /// The moment of this group of changes.
    pub fn now(&self) -> Micros {
        self.now
    }

    /// Appends a firehose event about `did`: `frame` gets the number and time that it carries.
    /// Subscribers see it once the transaction is on disk, never before.
    pub fn append_event(
        &mut self,
        did: &Did,
        frame: impl FnOnce(i64, Datetime) -> Frame,
    ) -> Result<i64, StoreError> {
        let seq = self.last_seq + 1;
        let frame = Bytes::from(frame(seq, Datetime::from_micros(self.now)).encode());
        // The log keeps its own time, which stands still when the clock steps back: what lies after an event is never
        // older than it, and pruning by time takes no event before its time.
        self.connection
            .prepare_cached(
                "INSERT INTO repo_seq (seq, did, created_at, frame)
                 VALUES (?1, ?2, MAX(?3, IFNULL((SELECT created_at FROM repo_seq ORDER BY seq DESC LIMIT 1), ?3)), ?4)",
            )?
            .execute((seq, did.as_str(), self.now, &frame[..]))?;
        self.last_seq = seq;
        self.frames.push((seq, frame));
        Ok(seq)
    }

    /// Leaves numbers out: the next event gets one above `seq`. Changes nothing when that is so already.
    pub fn skip_seq_to(&mut self, seq: i64) -> Result<(), StoreError> {
        if seq > self.last_seq {
            repo_seq::set_last_seq(self.connection, seq)?;
            self.last_seq = seq;
        }
        Ok(())
    }

    /// Removes up to `limit` events about `did` numbered below `seq`; returns how many. Whoever subscribes after the
    /// commit does not see them, whether they stood in the table or also in memory. Repeat until there are none.
    pub fn remove_events(&mut self, did: &Did, seq: i64, limit: u32) -> Result<usize, StoreError> {
        // Also when the table has none: what was pruned may still stand in memory.
        self.removed_events = true;
        repo_seq::delete_of_did_before(self.connection, did, seq, limit)
    }
}

/// What happens when a change answers with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A savepoint undoes what it has written; the rest of the group stands. SQLite copies each page that is touched.
    UndoneAlone,
    /// It has written nothing yet, and so there is nothing to undo. Should it have written all the same (the disk failed
    /// in the middle, or there is a mistake in it), the whole group goes with it.
    BeforeWriting,
}

/// A change with its caller's answer channel, without their types.
trait Job: Send {
    /// What an error of [`Job::apply`] means.
    fn refusal(&self) -> Refusal;
    /// True: keep. False: refused; see [`Job::refusal`].
    fn apply(&mut self, tx: &mut WriteTx<'_>) -> bool;
    /// The part that storage has in the failure of [`Job::apply`].
    fn cause(&self) -> Option<Cause>;
    /// Called after COMMIT; `Err` says why the group is not on disk.
    fn answer(self: Box<Self>, committed: Result<(), GroupFailure>);
}

struct Change<T, E, F> {
    change: Option<F>,
    refusal: Refusal,
    outcome: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<T, E, F> Job for Change<T, E, F>
where
    F: FnOnce(&mut WriteTx<'_>) -> Result<T, E> + Send,
    T: Send,
    E: From<StoreError> + std::error::Error + Send + 'static,
{
    fn refusal(&self) -> Refusal {
        self.refusal
    }

    fn apply(&mut self, tx: &mut WriteTx<'_>) -> bool {
        let Some(change) = self.change.take() else { return false };
        // A panicking change must not take the writer, and with it every account, down.
        let outcome = catch_unwind(AssertUnwindSafe(|| change(tx)))
            .unwrap_or_else(|_| Err(StoreError::NotCommitted("the change panicked".into()).into()));
        let keep = outcome.is_ok();
        self.outcome = Some(outcome);
        keep
    }

    fn cause(&self) -> Option<Cause> {
        self.outcome.as_ref()?.as_ref().err().and_then(|error| Cause::of(error))
    }

    fn answer(self: Box<Self>, committed: Result<(), GroupFailure>) {
        let outcome = match (self.outcome, committed) {
            (Some(Err(error)), _) => Err(error),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (_, Err(failure)) => Err(StoreError::GroupFailed(failure).into()),
            (None, Ok(())) => Err(StoreError::NotCommitted("not applied".into()).into()),
        };
        // The caller may have gone; the change stands all the same.
        let _ = self.reply.send(outcome);
    }
}

/// The newest frames, shared by all subscribers, and the number of the newest one as a wake-up.
pub struct Ring {
    frames: Mutex<RingFrames>,
    bytes_max: usize,
    last: watch::Sender<i64>,
}

/// Holds every frame whose number is above `floor`, and none at or below it.
struct RingFrames {
    floor: i64,
    queue: VecDeque<(i64, Bytes)>,
    bytes: usize,
}

impl Ring {
    /// An empty ring after the event numbered `last_seq`: whoever has seen that one has caught up.
    pub(super) fn new(bytes_max: usize, last_seq: i64) -> Ring {
        Ring {
            frames: Mutex::new(RingFrames { floor: last_seq, queue: VecDeque::new(), bytes: 0 }),
            bytes_max,
            last: watch::Sender::new(last_seq),
        }
    }

    /// Adds committed frames, in order of their numbers, and wakes the watchers.
    pub(super) fn publish(&self, frames: Vec<(i64, Bytes)>) {
        let Some(last) = frames.last().map(|(seq, _)| *seq) else {
            return;
        };
        let mut held = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        for (seq, frame) in frames {
            held.bytes += frame.len();
            held.queue.push_back((seq, frame));
        }
        while held.bytes > self.bytes_max {
            let Some((seq, frame)) = held.queue.pop_front() else {
                break;
            };
            held.bytes -= frame.len();
            held.floor = seq;
        }
        drop(held);
        self.last.send_replace(last);
    }

    /// Lets go of everything, after events up to `last_seq` have been appended by another process, or some have been
    /// removed: readers find what there is in the table.
    fn skip_to(&self, last_seq: i64) {
        let mut held = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        *held = RingFrames { floor: last_seq, queue: VecDeque::new(), bytes: 0 };
        drop(held);
        self.last.send_replace(last_seq);
    }

    /// Frames after `cursor` in order: at most `frames_max`, and no more once they pass `bytes_max` together. An empty
    /// list says that the reader has caught up; `None`, that the ring no longer reaches back to `cursor`.
    pub fn after(&self, cursor: i64, frames_max: usize, bytes_max: usize) -> Option<Vec<(i64, Bytes)>> {
        let held = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        if cursor < held.floor {
            return None;
        }
        let start = held.queue.partition_point(|(seq, _)| *seq <= cursor);
        let mut bytes = 0;
        let within_budget = |(_, frame): &&(i64, Bytes)| {
            let fits = bytes < bytes_max;
            bytes += frame.len();
            fits
        };
        let frames = held.queue.range(start..).take(frames_max);
        Some(frames.take_while(within_budget).cloned().collect())
    }

    /// The number up to which the ring has let go of frames; later ones are all here.
    pub fn floor(&self) -> i64 {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner).floor
    }

    /// The number of the newest event; changes wake its watchers.
    pub fn last_seq(&self) -> watch::Receiver<i64> {
        self.last.subscribe()
    }
}

/// Handle to the writer thread.
pub(super) struct Writer {
    queue: mpsc::Sender<Box<dyn Job>>,
    ring: Arc<Ring>,
    close: watch::Sender<bool>,
    closed: watch::Receiver<bool>,
    #[cfg(test)]
    is_committing: Arc<AtomicBool>,
}

impl Writer {
    pub(super) fn start(path: &Path, options: &StoreOptions, clock: Clock) -> Result<Writer, StoreError> {
        let connection = Connection::open(path)?;
        connection.execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
             PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = {WAL_PAGES_MAX}; PRAGMA cache_size = -{};
             PRAGMA journal_size_limit = {WAL_BYTES_KEPT};",
            options.writer_cache_kib
        ))?;
        connection.busy_timeout(std::time::Duration::from_secs(10))?;
        connection.set_prepared_statement_cache_capacity(256);
        let last_seq = repo_seq::last_seq(&connection)?;
        let ring = Arc::new(Ring::new(options.ring_bytes_max, last_seq));
        let may_commit = Arc::new(AtomicBool::new(false));
        let allowed = may_commit.clone();
        // True makes SQLite roll back instead.
        connection.commit_hook(Some(move || !allowed.load(Ordering::Relaxed)))?;
        let (queue, jobs) = mpsc::channel(QUEUE_CHANGES_MAX);
        let (close, closing) = watch::channel(false);
        let (done, closed) = watch::channel(false);
        let answers =
            Answers::start().map_err(|source| StoreError::File { path: path.to_owned(), source })?;
        #[cfg(test)]
        let is_committing = may_commit.clone();
        let mut worker = Worker {
            connection,
            may_commit,
            clock,
            last_seq,
            doubtful: None,
            is_failing: false,
            log_pace: LogPace::new(),
            ring: ring.clone(),
            answers,
            jobs,
            closing,
        };
        std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || {
                worker.run();
                done.send_replace(true);
            })
            .map_err(|source| StoreError::File { path: path.to_owned(), source })?;
        Ok(Writer {
            queue,
            ring,
            close,
            closed,
            #[cfg(test)]
            is_committing,
        })
    }

    pub(super) fn ring(&self) -> &Arc<Ring> {
        &self.ring
    }

    pub(super) async fn run<T, E, F>(&self, refusal: Refusal, change: F) -> Result<T, E>
    where
        F: FnOnce(&mut WriteTx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + std::error::Error + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Change { change: Some(change), refusal, outcome: None, reply });
        if self.queue.send(job).await.is_err() {
            return Err(StoreError::Closed.into());
        }
        answer.await.unwrap_or_else(|_| Err(StoreError::Closed.into()))
    }

    /// Has statements cut short: the one that is under way when the number that is returned comes to 0. A statement takes
    /// more than 8 steps of SQLite's machine, which count as one. COMMIT is left alone: it would be cut short when its work
    /// is done, and say that it had failed.
    #[cfg(test)]
    pub(super) async fn cut_short(&self) -> Result<Arc<std::sync::atomic::AtomicI64>, StoreError> {
        use std::sync::atomic::AtomicI64;
        const STEPS: std::ffi::c_int = 8;
        let left = Arc::new(AtomicI64::new(i64::MAX));
        let (counted, is_committing) = (left.clone(), self.is_committing.clone());
        let is_over =
            move || !is_committing.load(Ordering::Relaxed) && counted.fetch_sub(1, Ordering::Relaxed) == 1;
        let set = self.run(Refusal::BeforeWriting, move |tx| {
            Ok::<_, StoreError>(tx.progress_handler(STEPS, Some(is_over))?)
        });
        set.await.map(|()| left)
    }

    /// Changes that wait for their turn.
    #[cfg(test)]
    pub(super) fn n_waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    pub(super) async fn close(&self) {
        self.close.send_replace(true);
        // Wakes the thread when its queue is empty.
        let _ = self.run(Refusal::BeforeWriting, |_| Ok::<(), StoreError>(())).await;
        let _ = self.closed.clone().wait_for(|closed| *closed).await;
    }
}

struct Worker {
    connection: Connection,
    /// What the connection's commit hook goes by: set around our COMMIT only.
    may_commit: Arc<AtomicBool>,
    clock: Clock,
    last_seq: i64,
    /// The last number in a COMMIT that failed, as long as a crash could still bring that commit back.
    doubtful: Option<i64>,
    /// The log says that groups fail, and not yet that they do not any more.
    is_failing: bool,
    log_pace: LogPace,
    ring: Arc<Ring>,
    answers: Answers,
    jobs: mpsc::Receiver<Box<dyn Job>>,
    closing: watch::Receiver<bool>,
}

impl Worker {
    fn run(&mut self) {
        while let Some(first) = self.jobs.blocking_recv() {
            let mut group = vec![first];
            while group.len() < GROUP_CHANGES_MAX {
                match self.jobs.try_recv() {
                    Ok(job) => group.push(job),
                    Err(_) => break,
                }
            }
            self.commit_group(group);
            if *self.closing.borrow() {
                self.jobs.close();
            }
        }
    }

    fn commit_group(&mut self, mut group: Vec<Box<dyn Job>>) {
        // A group that fails here is not even tried: whoever waits in it is told so, and the next one tries again.
        let committed = match self.settle() {
            Ok(()) => self.apply_group(&mut group).map_err(|error| self.undo(&error)),
            Err(error) => Err(GroupFailure {
                cause: error.cause(),
                kept: Kept::Nothing,
                why: format!("what an earlier failed commit left cannot be overwritten: {error}"),
            }),
        };
        self.say(&committed, group.len());
        self.answers.send(Box::new(move || {
            for job in group {
                job.answer(committed.clone());
            }
        }));
    }

    /// Makes sure that nothing of a group comes back that failed with `error`. Returns what its callers are told.
    fn undo(&mut self, error: &StoreError) -> GroupFailure {
        self.roll_back();
        let was_committing = self.doubtful.is_some();
        let (kept, why) = match self.settle() {
            Ok(()) => (Kept::Nothing, error.to_string()),
            Err(_) if !was_committing || is_torn(error) => (Kept::Nothing, error.to_string()),
            Err(settling) => {
                let why = format!(
                    "{error}; and what that left in the write-ahead log cannot be overwritten: {settling}"
                );
                (Kept::Unknown, why)
            }
        };
        GroupFailure { cause: error.cause(), kept, why }
    }

    /// One line for a group, and not for each of many.
    fn say(&mut self, committed: &Result<(), GroupFailure>, changes: usize) {
        match committed {
            Ok(()) if self.is_failing => {
                self.is_failing = false;
                tracing::info!("changes reach the disk again");
            }
            Ok(()) => {}
            Err(failure) => {
                let GroupFailure { cause, kept, why } = failure;
                if let Some(held_back) = self.log_pace.pass() {
                    self.is_failing = true;
                    tracing::error!(
                        ?cause,
                        ?kept,
                        error = why,
                        changes,
                        held_back,
                        "a group of changes was not committed"
                    );
                }
            }
        }
    }

    /// Overwrites what a failed COMMIT has left in the write-ahead log with a commit that says nothing: it takes the
    /// numbers of the failed one out of use, so that none of them can ever stand for two events.
    fn settle(&mut self) -> Result<(), StoreError> {
        let Some(doubtful) = self.doubtful else { return Ok(()) };
        let settled = self.skip_numbers(doubtful);
        match settled {
            Ok(last_seq) => {
                (self.last_seq, self.doubtful) = (last_seq, None);
                // Whatever became of the failed one: the table is what there is.
                self.ring.skip_to(last_seq);
            }
            Err(_) => self.roll_back(),
        }
        settled.map(|_| ())
    }

    /// Makes the next number larger than `seq` plus one; returns the last one that is taken. Always a change on disk.
    fn skip_numbers(&self, seq: i64) -> Result<i64, StoreError> {
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        let last_seq = repo_seq::last_seq(&self.connection)?.max(seq) + 1;
        repo_seq::set_last_seq(&self.connection, last_seq)?;
        self.commit()?;
        Ok(last_seq)
    }

    fn commit(&self) -> Result<(), StoreError> {
        self.may_commit.store(true, Ordering::Relaxed);
        let committed = run(&self.connection, "COMMIT");
        self.may_commit.store(false, Ordering::Relaxed);
        committed
    }

    /// Leaves nothing open; fails when SQLite has already rolled back.
    fn roll_back(&self) {
        let _ = self.connection.execute_batch("ROLLBACK");
    }

    fn apply_group(&mut self, group: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
        run(&self.connection, "BEGIN IMMEDIATE")?;
        // `rookery account create` may have written beside this process; from here on the database is ours.
        let last_seq = repo_seq::last_seq(&self.connection)?;
        if last_seq > self.last_seq {
            self.last_seq = last_seq;
            self.ring.skip_to(last_seq);
        }
        let mut tx = WriteTx {
            connection: &self.connection,
            now: self.clock.now(),
            last_seq: self.last_seq,
            frames: Vec::new(),
            removed_events: false,
        };
        for job in group {
            match job.refusal() {
                Refusal::UndoneAlone => {
                    let (last_seq, n_frames) = (tx.last_seq, tx.frames.len());
                    run(tx.connection, "SAVEPOINT change")?;
                    let keep = job.apply(&mut tx);
                    still_open(tx.connection, &**job)?;
                    if !keep {
                        run(tx.connection, "ROLLBACK TO change")?;
                        tx.last_seq = last_seq;
                        tx.frames.truncate(n_frames);
                    }
                    run(tx.connection, "RELEASE change")?;
                }
                Refusal::BeforeWriting => {
                    let changed = tx.connection.total_changes();
                    let keep = job.apply(&mut tx);
                    still_open(tx.connection, &**job)?;
                    if !keep && tx.connection.total_changes() != changed {
                        let half_done = StoreError::NotCommitted("a change failed half done".into());
                        return Err(job.cause().map_or(half_done, StoreError::RolledBack));
                    }
                }
            }
        }
        let WriteTx { last_seq, frames, removed_events, .. } = tx;
        if let Err(error) = self.commit() {
            self.doubtful = Some(last_seq);
            return Err(error);
        }
        let skipped = last_seq > frames.last().map_or(self.last_seq, |(seq, _)| *seq);
        self.last_seq = last_seq;
        if removed_events || skipped {
            // Frames in memory do not say whose they are. Events go rarely, and the table has the others.
            self.ring.skip_to(last_seq);
        } else {
            self.ring.publish(frames);
        }
        Ok(())
    }
}

/// Some errors of the disk make SQLite roll the whole transaction back by itself; what came after would not be undone
/// together with the rest. `job` is the one in which that happened, and knows the error, unless it has dropped it.
fn still_open(db: &Connection, job: &dyn Job) -> Result<(), StoreError> {
    if db.is_autocommit() {
        return Err(StoreError::RolledBack(job.cause().unwrap_or(Cause::Disk)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    const ANY: usize = usize::MAX;

    fn frames(seqs: impl IntoIterator<Item = i64>) -> Vec<(i64, Bytes)> {
        seqs.into_iter().map(|seq| (seq, Bytes::from(vec![0; 10]))).collect()
    }

    fn seqs(frames: Vec<(i64, Bytes)>) -> Vec<i64> {
        frames.into_iter().map(|(seq, _)| seq).collect()
    }

    #[test]
    fn an_empty_ring_has_nothing_for_those_who_saw_the_last_event() {
        let ring = Ring::new(100, 7);
        assert_eq!(ring.after(7, ANY, ANY), Some(vec![]));
        assert_eq!(ring.after(6, ANY, ANY), None);
    }

    #[test]
    fn a_ring_gives_what_follows_the_cursor() {
        let ring = Ring::new(100, 7);
        ring.publish(frames([8, 9, 12]));
        assert_eq!(seqs(ring.after(7, ANY, ANY).unwrap()), [8, 9, 12]);
        assert_eq!(seqs(ring.after(9, ANY, ANY).unwrap()), [12]);
        assert_eq!(seqs(ring.after(10, ANY, ANY).unwrap()), [12]);
        assert_eq!(seqs(ring.after(12, ANY, ANY).unwrap()), [] as [i64; 0]);
        assert_eq!(*ring.last_seq().borrow(), 12);
    }

    #[test]
    fn a_ring_never_skips_what_it_let_go() {
        let ring = Ring::new(30, 0);
        ring.publish(frames([1, 2, 3]));
        ring.publish(frames([5, 6]));
        assert_eq!(ring.floor(), 2);
        assert_eq!(ring.after(1, ANY, ANY), None);
        assert_eq!(seqs(ring.after(2, ANY, ANY).unwrap()), [3, 5, 6]);
    }

    #[test]
    fn a_frame_larger_than_the_ring_leaves_it_empty_and_behind() {
        let ring = Ring::new(5, 0);
        ring.publish(frames([1]));
        assert_eq!(ring.after(0, ANY, ANY), None);
        assert_eq!(ring.after(1, ANY, ANY), Some(vec![]));
    }

    #[test]
    fn a_reader_gets_at_most_its_budget_and_at_least_one_frame() {
        let ring = Ring::new(1000, 0);
        ring.publish(frames(1..=9));
        assert_eq!(seqs(ring.after(0, 4, ANY).unwrap()), [1, 2, 3, 4]);
        assert_eq!(seqs(ring.after(0, ANY, 15).unwrap()), [1, 2]);
        assert_eq!(seqs(ring.after(0, ANY, 1).unwrap()), [1]);
    }

    async fn store(dir: &Path) -> crate::store::Store {
        let options = StoreOptions::at(dir);
        crate::store::Store::open(options, Clock::system()).await.unwrap()
    }

    /// Announces `did`; what is announced does not matter here.
    fn announce(tx: &mut WriteTx<'_>) -> Result<i64, StoreError> {
        let did = Did::parse("did:web:example.com").unwrap();
        let event_did = did.clone();
        tx.append_event(&did, move |seq, time| {
            Frame::Identity(atproto::event::Identity { seq, time, did: event_did, handle: None })
        })
    }

    #[tokio::test]
    async fn a_refused_change_is_undone_alone_and_takes_no_number() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path()).await;
        assert_eq!(store.write(announce).await.unwrap(), 1);
        let refused = store.write(|tx| {
            announce(tx)?;
            Err::<(), _>(StoreError::NotCommitted("refused".into()))
        });
        assert!(refused.await.is_err());
        let panicked = store.write(|tx| {
            announce(tx)?;
            let empty: Vec<i64> =
                tx.prepare("SELECT 1 WHERE 0")?.query_map((), |row| row.get(0))?.flatten().collect();
            Ok::<_, StoreError>(empty[0])
        });
        assert!(matches!(panicked.await, Err(StoreError::NotCommitted(_))));
        assert_eq!(store.write(announce).await.unwrap(), 2);
        assert_eq!(seqs(store.ring().after(0, ANY, ANY).unwrap()), [1, 2]);
    }

    #[tokio::test]
    async fn a_checked_change_is_refused_alone_before_it_writes_and_takes_its_group_along_after() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path()).await;
        let refused = || StoreError::NotCommitted("refused".into());
        let (before, landed) =
            together(&store, store.write_checked(move |_| Err::<(), _>(refused())), store.write(announce))
                .await;
        assert!(before.is_err());
        assert_eq!(landed.unwrap(), 1);

        let half_done = store.write_checked(move |tx| announce(tx).and_then(|_| Err::<(), _>(refused())));
        let (half_done, beside) = together(&store, half_done, store.write(announce)).await;
        assert!(half_done.is_err());
        assert!(matches!(beside, Err(StoreError::GroupFailed(_))), "{beside:?}");
        assert_eq!(store.write(announce).await.unwrap(), 2, "nothing of the group is left");
        assert_eq!(seqs(store.ring().after(0, ANY, ANY).unwrap()), [1, 2]);
    }

    #[tokio::test]
    async fn an_error_that_ends_the_transaction_fails_its_group_and_commits_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path()).await;
        for swallowed in [true, false] {
            // SQLite rolls back by itself when a statement that writes is interrupted, as it does when the disk is full.
            let interrupted = store.write_checked(move |tx| {
                tx.progress_handler(1, Some(|| true)).unwrap();
                let outcome = announce(tx);
                tx.progress_handler(0, None::<fn() -> bool>).unwrap();
                assert!(outcome.is_err() && tx.is_autocommit());
                // What follows would be a commit of its own.
                let beside = tx.execute("INSERT INTO server_secret (name, sealed) VALUES ('a', x'00')", ());
                assert!(beside.is_err());
                if swallowed { Ok(()) } else { outcome.map(|_| ()) }
            });
            let (interrupted, beside) = together(&store, interrupted, store.write(announce)).await;
            assert!(interrupted.is_err());
            assert!(matches!(beside, Err(StoreError::GroupFailed(_))), "{beside:?}");
        }
        let left = store.read::<i64, StoreError, _>(|db| {
            Ok(db.query_row(
                "SELECT (SELECT COUNT(*) FROM server_secret) + COUNT(*) FROM repo_seq",
                (),
                |row| row.get(0),
            )?)
        });
        assert_eq!(left.await.unwrap(), 0);
        assert_eq!(store.write(announce).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn the_numbers_of_a_commit_that_failed_are_never_given_out_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path()).await;
        assert_eq!(store.write(announce).await.unwrap(), 1);
        // A reference that is looked at only by COMMIT.
        let unsound = store.write(|tx| {
            tx.execute_batch(
                "PRAGMA defer_foreign_keys = ON;
                 INSERT INTO signing_key (account_id, did_key, sealed) VALUES (99, '', x'');",
            )?;
            announce(tx)
        });
        let (unsound, beside) = together(&store, unsound, store.write(announce)).await;
        assert!(unsound.is_err() && beside.is_err());
        // 2 and 3 stood in the commit that failed; 4 is the change that overwrites what is left of it.
        assert_eq!(*store.ring().last_seq().borrow(), 4, "overwritten before anyone was answered");
        assert_eq!(store.write(announce).await.unwrap(), 5);
        assert_eq!(store.ring().after(0, ANY, ANY), None, "the table has what was before");
        assert_eq!(seqs(store.ring().after(4, ANY, ANY).unwrap()), [5]);
        drop(store);
    }

    /// Runs two changes in one group: both are queued while the writer is busy with another.
    async fn together<A, B>(store: &crate::store::Store, one: A, two: B) -> (A::Output, B::Output)
    where
        A: Future,
        B: Future,
    {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let (start, started) = oneshot::channel();
        let holding = store.write(move |_| {
            start.send(()).unwrap();
            let _ = held.recv();
            Ok::<_, StoreError>(())
        });
        let queued = async {
            started.await.unwrap();
            let both = futures::future::join(one, two);
            tokio::pin!(both);
            // One poll puts both into the queue.
            assert!(futures::poll!(&mut both).is_pending());
            release.send(()).unwrap();
            both.await
        };
        let (held, both) = tokio::join!(holding, queued);
        held.unwrap();
        both
    }

    #[tokio::test]
    async fn a_group_commits_once_and_answers_all() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path()).await;
        // Holds the writer until the others are queued behind it.
        let (release, held) = std::sync::mpsc::channel::<()>();
        let (start, started) = oneshot::channel();
        let first = store.write(move |tx| {
            start.send(()).unwrap();
            let _ = held.recv();
            announce(tx)
        });
        let rest: Vec<_> = (0..20)
            .map(|n| {
                store.write(move |tx| match n % 5 {
                    4 => Err(StoreError::NotCommitted("refused".into())),
                    _ => announce(tx).map(|seq| (seq, tx.now())),
                })
            })
            .collect();
        let queued = async {
            // Or the writer could take some of them together with the first.
            started.await.unwrap();
            let outcomes = futures::future::join_all(rest);
            tokio::pin!(outcomes);
            // One poll puts every change into the queue.
            assert!(futures::poll!(&mut outcomes).is_pending());
            release.send(()).unwrap();
            outcomes.await
        };
        let (first, outcomes) = tokio::join!(first, queued);
        assert_eq!(first.unwrap(), 1);
        let landed: Vec<i64> = outcomes.iter().flatten().map(|(seq, _)| *seq).collect();
        assert_eq!(landed, (2..18).collect::<Vec<_>>());
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_err()).count(), 4);
        let moments: std::collections::BTreeSet<_> = outcomes.iter().flatten().map(|(_, now)| now).collect();
        assert_eq!(moments.len(), 1, "what waits together is committed together");
    }

    #[tokio::test]
    async fn numbers_go_on_after_pruning_and_restart_ev_7() {
        let dir = tempfile::tempdir().unwrap();
        let first = store(dir.path()).await;
        for _ in 0..3 {
            first.write(announce).await.unwrap();
        }
        let pruned = first.write(|tx| crate::store::repo_seq::delete_below(tx, 100, 10));
        assert_eq!(pruned.await.unwrap(), 3);
        first.close().await;
        assert!(matches!(first.write(announce).await, Err(StoreError::Closed)));
        drop(first);
        assert_eq!(store(dir.path()).await.write(announce).await.unwrap(), 4);
    }

    #[tokio::test]
    async fn numbers_that_are_left_out_are_left_out_for_good() {
        let dir = tempfile::tempdir().unwrap();
        let first = store(dir.path()).await;
        first.write(|tx| tx.skip_seq_to(40)).await.unwrap();
        assert_eq!(*first.ring().last_seq().borrow(), 40);
        assert_eq!(first.write(announce).await.unwrap(), 41);
        let both = first.write(|tx| {
            tx.skip_seq_to(7)?;
            let before = announce(tx)?;
            tx.skip_seq_to(60)?;
            announce(tx).map(|after| (before, after))
        });
        assert_eq!(both.await.unwrap(), (42, 61));
        assert_eq!(seqs(first.ring().after(41, ANY, ANY).unwrap()), [42, 61]);
        assert_eq!(seqs(first.ring().after(50, ANY, ANY).unwrap()), [61]);
        let refused = first.write(|tx| {
            tx.skip_seq_to(1000)?;
            Err::<(), _>(StoreError::NotCommitted("refused".into()))
        });
        assert!(refused.await.is_err());
        first.write(|tx| tx.skip_seq_to(70)).await.unwrap();
        first.close().await;
        drop(first);
        let second = store(dir.path()).await;
        assert_eq!(second.read(repo_seq::last_seq).await.unwrap(), 70);
        assert_eq!(second.write(announce).await.unwrap(), 71);
    }

    #[tokio::test]
    async fn events_of_another_process_are_numbered_between_ours_and_skipped_by_no_one() {
        let dir = tempfile::tempdir().unwrap();
        let (server, beside) = (store(dir.path()).await, store(dir.path()).await);
        assert_eq!(server.write(announce).await.unwrap(), 1);
        assert_eq!(beside.write(announce).await.unwrap(), 2);
        let mut woken = server.ring().last_seq();
        server.look_for_events_of_others().await.unwrap();
        assert_eq!(*woken.borrow_and_update(), 2);
        assert_eq!(server.ring().after(1, ANY, ANY), None, "the table has it");
        assert_eq!(server.write(announce).await.unwrap(), 3);
        assert_eq!(seqs(server.ring().after(2, ANY, ANY).unwrap()), [3]);
    }
}
