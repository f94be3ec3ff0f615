//! Durable state: all SQL and all blob files, nothing else.
//!
//! One SQLite file in WAL mode. Every change goes through one writer thread that commits in groups
//! ([`writer`]); reads run on a small pool of read-only connections. Each table family has a file of
//! free functions that take the connection, so that several of them compose in one transaction.
//!
//! Not for: rules. What may be written is decided in `service`.

pub mod account;
pub mod account_pref;
mod answers;
pub mod app_password;
pub mod backlink;
pub mod blob;
pub mod blob_file;
pub mod column;
pub mod deleted_account;
pub mod dev_plc_operation;
pub mod did_cache;
pub mod email_token;
pub mod failure;
pub mod invite_code;
pub mod lane;
pub mod mst_node;
pub mod outbox_mail;
pub mod pending_identity;
pub mod record;
pub mod refresh_token;
pub mod repo;
pub mod repo_block;
pub mod repo_seq;
pub mod reserved_signing_key;
pub mod room;
pub mod seq_repair;
pub mod sequence_mark;
pub mod server_secret;
pub mod signing_key;
pub mod spool;
pub mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::{Connection, OpenFlags};

pub use self::{failure::Cause, sequence_mark::SequenceMark, writer::WriteTx};
use self::{
    failure::{GroupFailure, NoRoom},
    room::{FreeSpace, RESERVE_BYTES_DEFAULT, Room},
    writer::Refusal,
};
use crate::{task, time::Clock};

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite refused or failed.
    #[error("database: {0}")]
    Database(#[from] rusqlite::Error),
    /// The schema could not be brought up to date.
    #[error("database migration: {0}")]
    Migrate(String),
    /// A file of the data directory could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The change itself failed; nothing of it is kept.
    #[error("the change was not committed: {0}")]
    NotCommitted(String),
    /// The group that this change was part of did not reach the disk. [`GroupFailure::kept`] says what is left of it.
    #[error("the changes were not committed: {0}")]
    GroupFailed(#[source] GroupFailure),
    /// SQLite has given up the transaction in the middle of a group; nothing of the group is kept.
    #[error("the disk failed in the middle of a group")]
    RolledBack(Cause),
    /// Refused early: the disk has less free space than the reserve.
    #[error("no room: {0}")]
    NoRoom(#[source] NoRoom),
    /// A stored value is not what its column promises.
    #[error("table {table}, column {column} holds a value that cannot be read")]
    Corrupt {
        /// Table.
        table: &'static str,
        /// Column.
        column: &'static str,
    },
    /// Too many of the public read at this moment (see [`lane`]).
    #[error("the server is busy, try again in a few seconds")]
    Busy,
    /// The store is shutting down.
    #[error("the server is stopping")]
    Closed,
}

impl StoreError {
    /// What has to change for the same thing to succeed.
    pub fn cause(&self) -> Cause {
        match self {
            StoreError::Database(error) => Cause::of_sqlite(error),
            StoreError::File { source, .. } => Cause::of_file(source),
            StoreError::GroupFailed(failure) => failure.cause,
            StoreError::RolledBack(cause) => *cause,
            StoreError::NoRoom(_) => Cause::Full,
            StoreError::Busy | StoreError::Closed => Cause::Busy,
            StoreError::Migrate(_) | StoreError::NotCommitted(_) | StoreError::Corrupt { .. } => {
                Cause::Program
            }
        }
    }
}

/// Page cache of a reader, in KiB.
const READER_CACHE_KIB: u32 = 2048;
/// Page cache of a connection that reads through a repository in order, and so comes back to no page but those at the top
/// of its trees, in KiB.
const SNAPSHOT_CACHE_KIB: u32 = 512;

/// Where the store lives and how much it may use.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Holds `rookery.sqlite`, `blobs/` and `tmp/`; made when missing.
    pub data_dir: PathBuf,
    /// Read-only connections.
    pub readers: usize,
    /// Page cache of the writer, in KiB.
    pub writer_cache_kib: u32,
    /// Newest firehose frames kept in memory, in bytes.
    pub ring_bytes_max: usize,
    /// The file that remembers the greatest event number shown to subscribers.
    pub sequence_mark: PathBuf,
    /// Free space below which nothing that grows is accepted, in bytes; 0: the disk is not watched (see [`room`]).
    pub reserve_bytes: u64,
    /// Tells the free space.
    pub free_space: FreeSpace,
    /// Length of the write-ahead log from which on slow readers of snapshots have to give way, in bytes.
    pub wal_bytes_max: u64,
}

/// [`StoreOptions::wal_bytes_max`] unless told otherwise: 512 MiB, thirty times what there is between two checkpoints.
const WAL_BYTES_MAX_DEFAULT: u64 = 512 << 20;

impl StoreOptions {
    /// Defaults for `data_dir`.
    pub fn at(data_dir: impl Into<PathBuf>) -> StoreOptions {
        let data_dir = data_dir.into();
        StoreOptions {
            sequence_mark: data_dir.join(sequence_mark::FILE_NAME),
            data_dir,
            readers: 4,
            writer_cache_kib: 16 * 1024,
            ring_bytes_max: 4 << 20,
            reserve_bytes: RESERVE_BYTES_DEFAULT,
            free_space: FreeSpace::of_disk(),
            wal_bytes_max: WAL_BYTES_MAX_DEFAULT,
        }
    }
}

/// The open store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    options: StoreOptions,
    writer: writer::Writer,
    /// Connections that nobody is using. One that is missing is opened when it is needed.
    readers: Mutex<Vec<Connection>>,
    lanes: lane::Lanes,
    room: Room,
    clock: Clock,
}

impl Inner {
    /// Lends a reader. There is a place for everybody who has a turn.
    fn with_reader<T, E: From<StoreError> + std::error::Error + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let connection = self.take_reader()?;
        let result = query(&connection);
        // SQLite may hold on to an error of the disk for as long as the connection lives, and one in a transaction sees an
        // old state: the next reader gets a new one.
        let has_failed = match &result {
            Err(error) => matches!(Cause::of(error), Some(Cause::Disk | Cause::Full)),
            Ok(_) => false,
        };
        if !has_failed && connection.is_autocommit() {
            self.readers.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        result
    }

    /// A connection of the pool, or a new one in place of one that was not fit to be given back.
    fn take_reader(&self) -> Result<Connection, StoreError> {
        let taken = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let path = || self.options.data_dir.join("rookery.sqlite");
        taken.map_or_else(|| open_reader(&path(), READER_CACHE_KIB), Ok)
    }
}

/// Runs a statement without rows, which is parsed the first time only.
fn run(connection: &Connection, sql: &str) -> Result<(), StoreError> {
    connection.prepare_cached(sql)?.execute(())?;
    Ok(())
}

impl Store {
    /// Opens the store, bringing the schema up to date.
    pub async fn open(options: StoreOptions, clock: Clock) -> Result<Store, StoreError> {
        let path = options.data_dir.join("rookery.sqlite");
        for dir in [&options.data_dir, &options.data_dir.join("blobs"), &options.data_dir.join("tmp")] {
            std::fs::create_dir_all(dir).map_err(|source| StoreError::File { path: dir.clone(), source })?;
        }
        // What is put into `blobs/` later is no more durable than `blobs/` is.
        blob_file::sync_dir(&options.data_dir)
            .map_err(|source| StoreError::File { path: options.data_dir.clone(), source })?;
        migrate(&path).await?;
        let writer = writer::Writer::start(&path, &options, clock.clone())?;
        let readers = (0..options.readers)
            .map(|_| open_reader(&path, READER_CACHE_KIB))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Store {
            inner: Arc::new(Inner {
                lanes: lane::Lanes::new(options.readers),
                room: Room::new(&options.data_dir, options.reserve_bytes, options.free_space.clone()),
                clock,
                readers: Mutex::new(readers),
                writer,
                options,
            }),
        })
    }

    /// The data directory.
    pub fn data_dir(&self) -> &Path {
        &self.inner.options.data_dir
    }

    /// For files that do not outlive the process; on the same file system as the rest.
    pub fn tmp_dir(&self) -> PathBuf {
        self.inner.options.data_dir.join("tmp")
    }

    /// Refuses while the disk has less free space than the reserve, or would have with `bytes` more. Asked before
    /// anything begins that grows by what clients send; deletions and sessions do not ask.
    pub fn require_room(&self, bytes: u64) -> Result<(), StoreError> {
        self.inner.room.require(&self.inner.clock, bytes)
    }

    /// What is missing while the reserve is used up.
    pub fn shortage(&self) -> Option<NoRoom> {
        self.inner.room.shortage(&self.inner.clock)
    }

    /// True when the write-ahead log has grown beyond its measure: as long as a snapshot is read, what was written since stays
    /// in it. Costs a look at the file.
    pub fn is_wal_long(&self) -> bool {
        let wal = self.inner.options.data_dir.join("rookery.sqlite-wal");
        std::fs::metadata(wal).is_ok_and(|wal| wal.len() > self.inner.options.wal_bytes_max)
    }

    /// What subscribers were shown, remembered outside the database.
    pub fn sequence_mark(&self) -> SequenceMark {
        SequenceMark::at(&self.inner.options.sequence_mark)
    }

    /// Runs `change` on the writer thread inside a savepoint of its own and answers once the group it
    /// was committed with is on disk. `Err` from `change` undoes this change alone.
    ///
    /// Nothing slow belongs in here: no network, no password hash, no JSON.
    pub async fn write<T, E, F>(&self, change: F) -> Result<T, E>
    where
        F: FnOnce(&mut WriteTx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + std::error::Error + Send + 'static,
    {
        self.inner.writer.run(Refusal::UndoneAlone, change).await
    }

    /// As [`Store::write`], and cheaper, for a `change` that answers `Err` only before it writes anything: no savepoint
    /// is made. Should it fail after all when it has written, the whole group fails and nobody's change is kept.
    pub async fn write_checked<T, E, F>(&self, change: F) -> Result<T, E>
    where
        F: FnOnce(&mut WriteTx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + std::error::Error + Send + 'static,
    {
        self.inner.writer.run(Refusal::BeforeWriting, change).await
    }

    /// Runs `query` on a read-only connection, off the async threads, in one read transaction. Waits for a connection as
    /// the task's [`lane`] says.
    pub async fn read<T, E, F>(&self, query: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + std::error::Error + Send + 'static,
    {
        let inner = self.inner.clone();
        let turn = self.inner.lanes.enter().await?;
        let outcome = task::spawn_blocking(move || {
            let _turn = turn;
            inner.with_reader(|connection| {
                let result = match run(connection, "BEGIN") {
                    Ok(()) => query(connection),
                    Err(error) => Err(error.into()),
                };
                // A read transaction has nothing to lose; a failed COMMIT leaves nothing behind.
                let _ = run(connection, "COMMIT");
                result
            })
        })
        .await;
        outcome.unwrap_or_else(|_| Err(StoreError::Closed.into()))
    }

    /// As [`Store::read`], for one statement that finds one row by its key: runs at once, on the thread that asks, and
    /// outside of any transaction but the statement's own. A change of threads costs several times what such a look does.
    ///
    /// Not for anything longer: the thread's other tasks wait meanwhile (`docs/decisions/0014`).
    pub async fn look<T, E, F>(&self, query: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E>,
        E: From<StoreError> + std::error::Error + 'static,
    {
        let _turn = self.inner.lanes.enter().await?;
        self.inner.with_reader(query)
    }

    /// A read-only connection of the caller's own, for long snapshots (exports). Not pooled: the caller bounds how many.
    pub fn open_snapshot(&self) -> Result<Connection, StoreError> {
        open_reader(&self.inner.options.data_dir.join("rookery.sqlite"), SNAPSHOT_CACHE_KIB)
    }

    /// The newest frames and the wake-up of their readers.
    pub fn ring(&self) -> &Arc<writer::Ring> {
        self.inner.writer.ring()
    }

    /// Wakes subscribers when another process (`rookery account create`) has appended events since the last write here.
    pub async fn look_for_events_of_others(&self) -> Result<(), StoreError> {
        // The writer looks at the start of every transaction; one without a change costs no disk write.
        self.write(|_| Ok(())).await
    }

    /// Fails when the database cannot be read, or when the writer does not answer. Costs no disk write.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.read(|db| Ok::<_, StoreError>(db.query_row("SELECT 1", (), |_| Ok(()))?)).await?;
        self.write(|_| Ok(())).await
    }

    /// Has the writer's statements cut short, as a full disk does it: see [`writer::Writer::cut_short`].
    #[cfg(test)]
    pub(crate) async fn cut_short(&self) -> Result<Arc<std::sync::atomic::AtomicI64>, StoreError> {
        self.inner.writer.cut_short().await
    }

    /// Changes that wait for the writer.
    #[cfg(test)]
    pub(crate) fn n_waiting(&self) -> usize {
        self.inner.writer.n_waiting()
    }

    /// Waits for queued changes and stops the writer thread. Changes handed in later are refused.
    pub async fn close(&self) {
        self.inner.writer.close().await;
    }
}

async fn migrate(path: &Path) -> Result<(), StoreError> {
    use sqlx::{Connection as _, sqlite::SqliteConnectOptions, sqlite::SqliteJournalMode};
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal);
    let failed = |error: &dyn std::fmt::Display| StoreError::Migrate(error.to_string());
    let mut connection =
        sqlx::SqliteConnection::connect_with(&options).await.map_err(|error| failed(&error))?;
    sqlx::migrate!("./migrations").run(&mut connection).await.map_err(|error| failed(&error))?;
    connection.close().await.map_err(|error| failed(&error))
}

fn open_reader(path: &Path, cache_kib: u32) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.execute_batch(&format!(
        "PRAGMA query_only = ON; PRAGMA cache_size = -{cache_kib}; PRAGMA mmap_size = 0;"
    ))?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_reader_whose_caller_has_gone_keeps_its_place_until_it_is_done() {
        let dir = tempfile::tempdir().unwrap();
        let options = StoreOptions { readers: 1, ..StoreOptions::at(dir.path()) };
        let store = Store::open(options, Clock::system()).await.unwrap();
        let (go_on, gate) = mpsc::channel::<()>();
        let (started, has_started) = tokio::sync::oneshot::channel();
        let reader = store.clone();
        let reading = tokio::spawn(async move {
            let read = reader.read(move |_| {
                let _ = started.send(());
                let _ = gate.recv();
                Ok::<_, StoreError>(())
            });
            read.await
        });
        has_started.await.unwrap();
        reading.abort();
        assert!(reading.await.unwrap_err().is_cancelled());
        let mut next = std::pin::pin!(store.read(|_| Ok::<_, StoreError>(())));
        assert!(futures::poll!(next.as_mut()).is_pending(), "the connection is still in use");
        let mut look = std::pin::pin!(store.look(|_| Ok::<_, StoreError>(())));
        assert!(futures::poll!(look.as_mut()).is_pending(), "whoever only looks waits as well");
        go_on.send(()).unwrap();
        next.await.unwrap();
        look.await.unwrap();
    }

    #[tokio::test]
    async fn a_look_sees_the_newest_state_and_leaves_no_transaction_open() {
        let dir = tempfile::tempdir().unwrap();
        let options = StoreOptions { readers: 1, ..StoreOptions::at(dir.path()) };
        let store = Store::open(options, Clock::system()).await.unwrap();
        let last_seq = || store.look(repo_seq::last_seq);
        assert_eq!(last_seq().await.unwrap(), 0);
        let skip = |tx: &mut WriteTx<'_>| tx.skip_seq_to(7);
        store.write(skip).await.unwrap();
        assert_eq!(last_seq().await.unwrap(), 7);
        assert!(!store.read(|db| Ok::<_, StoreError>(db.is_autocommit())).await.unwrap());
        assert!(store.look(|db| Ok::<_, StoreError>(db.is_autocommit())).await.unwrap());
    }

    #[tokio::test]
    async fn a_reader_that_failed_or_panicked_is_opened_anew() {
        let dir = tempfile::tempdir().unwrap();
        let options = StoreOptions { readers: 1, ..StoreOptions::at(dir.path()) };
        let store = Store::open(options, Clock::system()).await.unwrap();
        let mark = |db: &Connection| db.execute_batch("CREATE TEMP TABLE mark (x)");
        let is_marked =
            || store.read(|db| Ok::<_, StoreError>(db.prepare("SELECT x FROM temp.mark").is_ok()));
        // `query_only` is what keeps readers from making tables; a mark of the connection is what this wants to see.
        let set = move |db: &Connection| db.execute_batch("PRAGMA query_only = OFF").and_then(|()| mark(db));

        store.read(move |db| set(db).map_err(StoreError::from)).await.unwrap();
        assert!(is_marked().await.unwrap(), "a sound connection is used again");
        let io_error =
            || rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR), None);
        let failed = store.read(move |_| Err::<(), StoreError>(io_error().into())).await;
        assert_eq!(failed.unwrap_err().cause(), Cause::Disk);
        assert!(!is_marked().await.unwrap(), "one that has met an I/O error is not");

        let panicked = store.read(|_| -> Result<(), StoreError> { panic!("a mistake in a query") }).await;
        assert!(matches!(panicked, Err(StoreError::Closed)));
        assert!(!is_marked().await.unwrap(), "a panic takes one connection, not the pool");
        let left_open = store.read(|db| Ok::<_, StoreError>(db.execute_batch("COMMIT; BEGIN; BEGIN")?)).await;
        assert!(left_open.is_err());
        assert!(!is_marked().await.unwrap());
    }
}
