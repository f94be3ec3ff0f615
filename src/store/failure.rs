//! Why storage failed, told apart by what helps: room, a look at the disk, another try, or a look at the program.
//!
//! Not for: what clients are told (`xrpc`).

use std::{
    error::Error,
    io::{self, ErrorKind},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rusqlite::{ErrorCode, ffi};

use super::StoreError;

/// What has to change for the same thing to succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Room on the disk.
    Full,
    /// The disk, its file system or the rights on the data directory: an operator has to look.
    Disk,
    /// Nothing; another try can succeed.
    Busy,
    /// The program, or what it was asked for. The disk did its part.
    Program,
}

impl Cause {
    /// The cause at the bottom of `error`, through whatever it is wrapped in; `None` when storage has no part in it.
    pub fn of(error: &(dyn Error + 'static)) -> Option<Cause> {
        links(error).find_map(|error| {
            if let Some(error) = error.downcast_ref::<StoreError>() {
                return Some(error.cause());
            }
            if let Some(failure) = error.downcast_ref::<GroupFailure>() {
                return Some(failure.cause);
            }
            if error.is::<NoRoom>() {
                return Some(Cause::Full);
            }
            if let Some(error) = error.downcast_ref::<rusqlite::Error>() {
                return Some(Cause::of_sqlite(error));
            }
            // Sockets fail with `io::Error` as well, but not like this.
            error.downcast_ref::<io::Error>().filter(|error| is_of_disk(error)).map(Cause::of_file)
        })
    }

    pub(super) fn of_sqlite(error: &rusqlite::Error) -> Cause {
        let code = match error {
            rusqlite::Error::SqliteFailure(failure, _) => failure,
            rusqlite::Error::SqlInputError { error, .. } => error,
            _ => return Cause::Program,
        };
        match code.code {
            ErrorCode::DiskFull => Cause::Full,
            ErrorCode::OutOfMemory | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Cause::Busy,
            ErrorCode::SystemIoFailure if code.extended_code == ffi::SQLITE_IOERR_NOMEM => Cause::Busy,
            ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase => Cause::Disk,
            _ => Cause::Program,
        }
    }

    pub(super) fn of_file(error: &io::Error) -> Cause {
        const OPEN_FILES: [i32; 2] = [23, 24]; // ENFILE, EMFILE
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Cause::Full,
            ErrorKind::OutOfMemory => Cause::Busy,
            _ if error.raw_os_error().is_some_and(|code| OPEN_FILES.contains(&code)) => Cause::Busy,
            _ => Cause::Disk,
        }
    }
}

fn is_of_disk(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    let kinds = [
        ErrorKind::StorageFull,
        ErrorKind::QuotaExceeded,
        ErrorKind::ReadOnlyFilesystem,
        ErrorKind::PermissionDenied,
    ];
    kinds.contains(&error.kind()) || error.raw_os_error() == Some(EIO)
}

/// True when a failed COMMIT cannot have left a whole commit in the write-ahead log: one of its writes failed, and the
/// frame that would make it whole is the last of them.
pub(super) fn is_torn(error: &StoreError) -> bool {
    match error {
        StoreError::Database(rusqlite::Error::SqliteFailure(failure, _)) => {
            failure.code == ErrorCode::DiskFull || failure.extended_code == ffi::SQLITE_IOERR_WRITE
        }
        _ => false,
    }
}

/// What is left of a change that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Nothing, whatever happens next.
    Nothing,
    /// Nothing as long as this process runs. Should it or the machine die before the disk works again, the next start
    /// may find the change done, whole and with its event.
    Unknown,
}

/// Why a group of changes failed: the same for everybody who waited in it, and logged once.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{why}")]
pub struct GroupFailure {
    /// What has to change.
    pub cause: Cause,
    /// What is left.
    pub kept: Kept,
    /// What the log says.
    pub why: String,
}

impl GroupFailure {
    /// The failure of a group at the bottom of `error`.
    pub fn of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a GroupFailure> {
        links(error).find_map(|link| match link.downcast_ref() {
            Some(StoreError::GroupFailed(failure)) => Some(failure),
            _ => link.downcast_ref(),
        })
    }
}

/// `error` and what is below it.
fn links<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (**error).source())
}

/// The disk has less free space than the reserve: what would need more is refused before it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{free_bytes} bytes are free, and {reserve_bytes} are kept in reserve")]
pub struct NoRoom {
    /// Free for this user, in bytes.
    pub free_bytes: u64,
    /// `storage.reserve_bytes`.
    pub reserve_bytes: u64,
}

impl NoRoom {
    /// The early refusal at the bottom of `error`.
    pub fn of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a NoRoom> {
        links(error).find_map(|link| match link.downcast_ref() {
            Some(StoreError::NoRoom(no_room)) => Some(no_room),
            _ => link.downcast_ref(),
        })
    }
}

/// Lets one log line pass in a while, so that a disk that fails does not fill what is left with lines about it.
#[derive(Debug)]
pub struct LogPace(Mutex<Option<(Instant, u64)>>);

/// The while.
const LOG_EVERY: Duration = Duration::from_secs(10);

impl LogPace {
    /// Nothing has been said yet.
    pub const fn new() -> LogPace {
        LogPace(Mutex::new(None))
    }

    /// `Some` when a line may be written now, with the number of those that were held back since the last.
    pub fn pass(&self) -> Option<u64> {
        self.pass_at(Instant::now())
    }

    fn pass_at(&self, now: Instant) -> Option<u64> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *said {
            Some((last, held_back)) if now.duration_since(*last) < LOG_EVERY => {
                *held_back += 1;
                None
            }
            _ => Some(said.replace((now, 0)).map_or(0, |(_, held_back)| held_back)),
        }
    }
}

impl Default for LogPace {
    fn default() -> LogPace {
        LogPace::new()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Wrapped {
        #[error(transparent)]
        Transparent(#[from] StoreError),
        #[error("beside it")]
        Sourced(#[source] Box<Wrapped>),
        #[error("the client went away")]
        Socket(#[source] io::Error),
    }

    fn sqlite(code: i32) -> StoreError {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), None).into()
    }

    fn file(errno: i32) -> StoreError {
        StoreError::File { path: "blobs/1/x".into(), source: io::Error::from_raw_os_error(errno) }
    }

    #[test]
    fn causes_are_found_through_whatever_wraps_them() {
        for (error, cause) in [
            (sqlite(ffi::SQLITE_FULL), Cause::Full),
            (sqlite(ffi::SQLITE_IOERR_FSYNC), Cause::Disk),
            (sqlite(ffi::SQLITE_IOERR_NOMEM), Cause::Busy),
            (sqlite(ffi::SQLITE_CANTOPEN), Cause::Disk),
            (sqlite(ffi::SQLITE_READONLY), Cause::Disk),
            (sqlite(ffi::SQLITE_PERM), Cause::Disk),
            (sqlite(ffi::SQLITE_CORRUPT), Cause::Disk),
            (sqlite(ffi::SQLITE_NOMEM), Cause::Busy),
            (sqlite(ffi::SQLITE_BUSY), Cause::Busy),
            (sqlite(ffi::SQLITE_CONSTRAINT), Cause::Program),
            (file(28), Cause::Full),
            (file(122), Cause::Full),
            (file(5), Cause::Disk),
            (file(13), Cause::Disk),
            (file(30), Cause::Disk),
            (file(24), Cause::Busy),
            (StoreError::NoRoom(NoRoom { free_bytes: 1, reserve_bytes: 2 }), Cause::Full),
            (StoreError::RolledBack(Cause::Disk), Cause::Disk),
            (StoreError::Busy, Cause::Busy),
            (StoreError::NotCommitted("panicked".into()), Cause::Program),
        ] {
            assert_eq!(error.cause(), cause, "{error}");
            let is_visible =
                !matches!(error, StoreError::Busy | StoreError::NotCommitted(_) | StoreError::RolledBack(_));
            let is_many_files = matches!(cause, Cause::Busy) && matches!(error, StoreError::File { .. });
            let wrapped = Wrapped::Sourced(Box::new(Wrapped::Transparent(error)));
            // A transparent wrapper hides the error itself and shows what is below it.
            if is_visible && !is_many_files {
                assert_eq!(Cause::of(&wrapped), Some(cause), "{wrapped:?}");
            }
        }
        let socket = Wrapped::Socket(io::Error::from(ErrorKind::ConnectionReset));
        assert_eq!(Cause::of(&socket), None);
    }

    #[test]
    fn the_failure_of_a_group_is_found_through_whatever_wraps_it() {
        let failure = GroupFailure { cause: Cause::Disk, kept: Kept::Unknown, why: "flush".into() };
        let wrapped = Wrapped::Transparent(StoreError::GroupFailed(failure));
        assert_eq!(GroupFailure::of(&wrapped).map(|failure| failure.kept), Some(Kept::Unknown));
        assert_eq!(Cause::of(&wrapped), Some(Cause::Disk));
    }

    #[test]
    fn one_line_passes_in_a_while_and_says_how_many_did_not() {
        let (pace, start) = (LogPace::new(), Instant::now());
        assert_eq!(pace.pass_at(start), Some(0));
        assert_eq!(pace.pass_at(start), None);
        assert_eq!(pace.pass_at(start + LOG_EVERY - Duration::from_millis(1)), None);
        assert_eq!(pace.pass_at(start + LOG_EVERY), Some(2));
        assert_eq!(pace.pass_at(start + LOG_EVERY), None);
    }
}
