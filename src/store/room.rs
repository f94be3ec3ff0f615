//! Free space on the disk of the data directory, and the reserve that is kept of it.
//!
//! A full disk fails writes wherever they happen to be. With a reserve they are refused before they begin, and what is
//! left of the disk is for what has to go on: signing in, deleting, and the checkpoints that bring the write-ahead log
//! into the database.
//!
//! Not for: who asks for room. Whatever grows by what clients send does, in `service`.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
};

use super::{StoreError, failure::NoRoom};
use crate::time::{Clock, Micros, SECOND};

/// `storage.reserve_bytes` unless configured otherwise: 128 MiB.
pub const RESERVE_BYTES_DEFAULT: u64 = 128 << 20;
/// The disk is asked again after so long.
const ASK_EVERY: Micros = SECOND;
/// Until the disk has been asked.
const NEVER: Micros = Micros::MIN;

/// Tells how many bytes are free on the disk that holds a path.
#[derive(Clone)]
pub struct FreeSpace(Arc<Ask>);

/// Bytes that are free on the disk that holds a path.
type Ask = dyn Fn(&Path) -> io::Result<u64> + Send + Sync;

impl FreeSpace {
    /// What the system says is free for this user.
    pub fn of_disk() -> FreeSpace {
        FreeSpace(Arc::new(|path| {
            let disk = rustix::fs::statvfs(path)?;
            Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
        }))
    }

    /// Space of the caller's own (tests).
    pub fn from_fn(free: impl Fn() -> io::Result<u64> + Send + Sync + 'static) -> FreeSpace {
        FreeSpace(Arc::new(move |_| free()))
    }
}

impl std::fmt::Debug for FreeSpace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FreeSpace")
    }
}

/// Watches the free space. What it knows is a second old at most.
#[derive(Debug)]
pub struct Room {
    dir: PathBuf,
    reserve_bytes: u64,
    free_space: FreeSpace,
    asked_at: AtomicI64,
    free_bytes: AtomicU64,
    is_short: AtomicBool,
}

impl Room {
    pub(super) fn new(dir: &Path, reserve_bytes: u64, free_space: FreeSpace) -> Room {
        Room {
            dir: dir.to_owned(),
            reserve_bytes,
            free_space,
            asked_at: AtomicI64::new(NEVER),
            free_bytes: AtomicU64::new(u64::MAX),
            is_short: AtomicBool::new(false),
        }
    }

    /// Refuses while less than the reserve would be free after `bytes` more. `bytes`: what is known to come, such as a
    /// `Content-Length`; 0 when nothing is.
    pub fn require(&self, clock: &Clock, bytes: u64) -> Result<(), StoreError> {
        if self.reserve_bytes == 0 {
            return Ok(());
        }
        let free_bytes = self.free_bytes(clock.now());
        if free_bytes < self.reserve_bytes || free_bytes - self.reserve_bytes < bytes {
            return Err(StoreError::NoRoom(NoRoom { free_bytes, reserve_bytes: self.reserve_bytes }));
        }
        Ok(())
    }

    /// What is missing, while the reserve is used up.
    pub fn shortage(&self, clock: &Clock) -> Option<NoRoom> {
        match self.require(clock, 0) {
            Err(StoreError::NoRoom(shortage)) => Some(shortage),
            _ => None,
        }
    }

    /// What was free within the last second. Unknown counts as enough: a disk that does not answer fails writes by itself.
    fn free_bytes(&self, now: Micros) -> u64 {
        let asked_at = self.asked_at.load(Ordering::Relaxed);
        // A clock that was set back asks again.
        let is_fresh = asked_at != NEVER && (0..ASK_EVERY).contains(&now.saturating_sub(asked_at));
        if is_fresh {
            return self.free_bytes.load(Ordering::Relaxed);
        }
        self.asked_at.store(now, Ordering::Relaxed);
        let free_bytes = match (self.free_space.0)(&self.dir) {
            Ok(free_bytes) => free_bytes,
            Err(error) => {
                tracing::warn!(%error, "the system does not say how much of the disk is free");
                u64::MAX
            }
        };
        self.free_bytes.store(free_bytes, Ordering::Relaxed);
        self.say_change(free_bytes);
        free_bytes
    }

    fn say_change(&self, free_bytes: u64) {
        let (is_short, reserve_bytes) = (free_bytes < self.reserve_bytes, self.reserve_bytes);
        if self.is_short.swap(is_short, Ordering::Relaxed) == is_short {
            return;
        }
        if is_short {
            tracing::warn!(
                free_bytes,
                reserve_bytes,
                "the disk has less free space than the reserve: records, uploads, imports and new accounts are refused \
                 until there is more (docs/operations.md, \"When the disk is full\")"
            );
        } else {
            tracing::info!(free_bytes, reserve_bytes, "the disk has room again: everything is accepted");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    /// A disk to set, a clock to turn, and how often the disk was asked.
    struct Bench {
        free: Arc<AtomicU64>,
        asked: Arc<AtomicU64>,
        now: Arc<AtomicI64>,
        clock: Clock,
        room: Room,
    }

    fn bench(reserve_bytes: u64, free_bytes: u64) -> Bench {
        let (free, asked) = (Arc::new(AtomicU64::new(free_bytes)), Arc::new(AtomicU64::new(0)));
        let now = Arc::new(AtomicI64::new(1_000 * SECOND));
        let (disk, asks, time) = (free.clone(), asked.clone(), now.clone());
        let free_space = FreeSpace::from_fn(move || {
            asks.fetch_add(1, Ordering::Relaxed);
            Ok(disk.load(Ordering::Relaxed))
        });
        let clock = Clock::from_fn(move || time.load(Ordering::Relaxed));
        Bench { free, asked, now, clock, room: Room::new(Path::new("."), reserve_bytes, free_space) }
    }

    #[test]
    fn below_the_reserve_is_refused_and_at_it_is_not() {
        let bench = bench(100, 100);
        bench.room.require(&bench.clock, 0).unwrap();
        assert!(bench.room.require(&bench.clock, 1).is_err(), "what is known to come counts");
        bench.free.store(99, Ordering::Relaxed);
        bench.now.fetch_add(SECOND, Ordering::Relaxed);
        let refused = bench.room.require(&bench.clock, 0).unwrap_err();
        assert_eq!(refused.cause(), super::super::Cause::Full);
        assert_eq!(bench.room.shortage(&bench.clock), Some(NoRoom { free_bytes: 99, reserve_bytes: 100 }));
        bench.free.store(u64::MAX, Ordering::Relaxed);
        bench.now.fetch_add(SECOND, Ordering::Relaxed);
        bench.room.require(&bench.clock, u64::MAX - 100).unwrap();
    }

    #[test]
    fn the_disk_is_asked_once_a_second() {
        let bench = bench(100, 1000);
        for _ in 0..50 {
            bench.room.require(&bench.clock, 0).unwrap();
        }
        assert_eq!(bench.asked.load(Ordering::Relaxed), 1);
        bench.now.fetch_sub(10 * SECOND, Ordering::Relaxed);
        bench.room.require(&bench.clock, 0).unwrap();
        assert_eq!(bench.asked.load(Ordering::Relaxed), 2, "a clock that was set back");
    }

    #[test]
    fn no_reserve_never_asks_and_a_disk_that_does_not_answer_refuses_nothing() {
        let off = bench(0, 0);
        off.room.require(&off.clock, u64::MAX).unwrap();
        assert_eq!(off.asked.load(Ordering::Relaxed), 0);
        let silent = FreeSpace::from_fn(|| Err(io::Error::other("gone")));
        Room::new(Path::new("."), 100, silent).require(&off.clock, 0).unwrap();
    }

    #[test]
    fn the_disk_of_a_directory_has_room() {
        let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::system());
        Room::new(dir.path(), 1, FreeSpace::of_disk()).require(&clock, 0).unwrap();
        assert!(Room::new(dir.path(), u64::MAX, FreeSpace::of_disk()).require(&clock, 0).is_err());
    }
}
