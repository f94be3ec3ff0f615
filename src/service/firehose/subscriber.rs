//! One reader of the firehose: where it starts, and what comes next (EV-8, EV-9).

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use atproto::event::{ErrorFrame, Frame, Info};
use bytes::Bytes;
use rusqlite::Connection;
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, sleep_until},
};

use super::{Firehose, Shared};
use crate::{
    store::{StoreError, repo_seq},
    time::Micros,
};

/// Frames taken at once.
const PAGE_FRAMES_MAX: usize = 200;
/// Bytes of frames taken at once, but at least one frame. This is what a slow subscriber holds in memory.
const PAGE_BYTES_MAX: usize = 256 * 1024;
/// A subscriber that has caught up rests for so many microseconds for each one that there is, so that waking them all
/// for every commit does not become the work of the server. An event after a quiet while is not held up.
const REST_MICROS_PER_SUBSCRIBER: u64 = 40;
/// Rests are not longer than this, in microseconds.
const REST_MICROS_MAX: u64 = 40_000;
/// Shorter rests are left out, in microseconds: the runtime's timers are no finer.
const REST_MICROS_MIN: u64 = 1_000;

/// Why a subscription does not start, or ends.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    /// The cursor is a number that this server has not given out (EV-8).
    #[error("cursor {cursor} is in the future: the newest event is {last_seq}")]
    FutureCursor {
        /// What the subscriber has.
        cursor: i64,
        /// What there is.
        last_seq: i64,
    },
    /// What the subscriber still had to read has left the replay window, or a frame was not taken in time (EV-10).
    #[error("the consumer does not keep up with the stream")]
    ConsumerTooSlow,
    /// No place among the subscribers.
    #[error("this server has as many subscribers as it takes, try again later")]
    Full,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SubscribeError {
    /// The error frame that a subscriber is told with before it is cut; `None` when there is no name for it.
    pub fn frame(&self) -> Option<Bytes> {
        let error = self.name()?.to_owned();
        let message = Some(self.to_string());
        Some(Frame::Error(ErrorFrame { error, message }).encode().into())
    }

    /// The name in the lexicon, which is also the reason of the close frame (EV-5).
    pub fn name(&self) -> Option<&'static str> {
        match self {
            SubscribeError::FutureCursor { .. } => Some("FutureCursor"),
            SubscribeError::ConsumerTooSlow => Some("ConsumerTooSlow"),
            SubscribeError::Full | SubscribeError::Store(_) => None,
        }
    }
}

/// A place among the subscribers, not started yet.
pub struct Seat {
    shared: Arc<Shared>,
    permit: OwnedSemaphorePermit,
}

/// A reader of the firehose. Dropping it frees its place.
pub struct Subscriber {
    shared: Arc<Shared>,
    /// Number of the last event handed out.
    cursor: i64,
    /// Frame to hand out before any event.
    info: Option<Bytes>,
    last_seq: watch::Receiver<i64>,
    /// When the rest after the last page is over.
    rested_at: Option<Instant>,
    _permit: OwnedSemaphorePermit,
}

impl Firehose {
    /// Takes a place among the subscribers, to be refused before the connection is upgraded.
    pub fn seat(&self) -> Result<Seat, SubscribeError> {
        let permit = self.inner.subscribers.clone().try_acquire_owned();
        Ok(Seat { permit: permit.map_err(|_| SubscribeError::Full)?, shared: self.inner.clone() })
    }
}

impl Seat {
    /// Starts after `cursor`: `None` is now, zero and below is the oldest event of the window, and a cursor from before
    /// the window gets an `#info` `OutdatedCursor` and then the window (EV-8). Strictly after, never the cursor's own
    /// event again (EV-9).
    pub async fn start(self, cursor: Option<i64>) -> Result<Subscriber, SubscribeError> {
        let shared = self.shared;
        let last_seq = shared.store.ring().last_seq();
        let now_at = *last_seq.borrow();
        let start = match cursor {
            None => Start::at(now_at),
            Some(cursor) => {
                let window_start = shared.window_start();
                shared.store.read(move |db| Start::find(db, cursor, window_start)).await?
            }
        };
        let info = start.outdated.then(|| {
            let info = Info {
                name: "OutdatedCursor".to_owned(),
                message: Some("Requested cursor exceeded limit. Possibly missing events".to_owned()),
            };
            Frame::Info(info).encode().into()
        });
        Ok(Subscriber { shared, cursor: start.cursor, info, last_seq, rested_at: None, _permit: self.permit })
    }
}

/// Where a subscription starts.
struct Start {
    cursor: i64,
    outdated: bool,
}

impl Start {
    fn at(cursor: i64) -> Start {
        Start { cursor, outdated: false }
    }

    fn find(db: &Connection, cursor: i64, window_start: Micros) -> Result<Start, SubscribeError> {
        // The table, not the ring: an event is in the table a moment before it is in the ring, and a subscriber that
        // read it there comes back with its number.
        let last_seq = repo_seq::last_seq(db)?;
        if cursor > last_seq {
            return Err(SubscribeError::FutureCursor { cursor, last_seq });
        }
        let window_first = match repo_seq::first_since(db, window_start)? {
            Some(seq) => seq,
            None => last_seq + 1,
        };
        if cursor <= 0 {
            return Ok(Start::at(window_first - 1));
        }
        if cursor + 1 >= window_first {
            return Ok(Start::at(cursor));
        }
        // Numbers between the cursor and the window: events that are too old, or were pruned, or went with their account.
        // Only the last of these is no loss, and it is certain only while an event from before the gap is there.
        let too_old = repo_seq::first_after(db, cursor)?.is_some_and(|(seq, _)| seq < window_first);
        let oldest = repo_seq::first_after(db, 0)?.map(|(seq, _)| seq);
        let pruned = oldest.is_none_or(|oldest| oldest > cursor);
        Ok(Start { cursor: window_first - 1, outdated: too_old || pruned })
    }
}

impl Subscriber {
    /// The next frames, at least one; waits until there is one. Cancelling loses nothing.
    pub async fn next(&mut self) -> Result<Vec<Bytes>, SubscribeError> {
        if let Some(info) = self.info.take() {
            return Ok(vec![info]);
        }
        if let Some(rested_at) = self.rested_at {
            sleep_until(rested_at).await;
            self.rested_at = None;
        }
        loop {
            // Marked as seen before looking, so that an event committed in between ends the wait below.
            self.last_seq.borrow_and_update();
            let ring = self.shared.store.ring();
            let frames = match ring.after(self.cursor, PAGE_FRAMES_MAX, PAGE_BYTES_MAX) {
                Some(frames) => frames,
                None => {
                    let floor = ring.floor();
                    let frames = self.read_table().await?;
                    if frames.is_empty() {
                        // All up to `floor` was committed before the table was read, and nothing of it is left
                        // (removed with its account).
                        self.cursor = self.cursor.max(floor);
                        continue;
                    }
                    frames
                }
            };
            if let Some((seq, _)) = frames.last() {
                self.cursor = *seq;
                if *seq == *self.last_seq.borrow() {
                    self.rested_at = self.shared.rest().map(|rest| Instant::now() + rest);
                }
                return Ok(frames.into_iter().map(|(_, frame)| frame).collect());
            }
            if self.last_seq.changed().await.is_err() {
                return Err(StoreError::Closed.into());
            }
        }
    }

    /// A page of the event table.
    async fn read_table(&self) -> Result<Vec<(i64, Bytes)>, SubscribeError> {
        let Ok(_page) = self.shared.table_pages.acquire().await else {
            return Err(StoreError::Closed.into());
        };
        let cursor = self.cursor;
        let frames = self
            .shared
            .store
            .read(move |db| repo_seq::list_after(db, cursor, PAGE_FRAMES_MAX, PAGE_BYTES_MAX))
            .await?;
        // After the reading: had a needed event been removed before it, the bound was raised before that.
        if cursor + 1 < self.shared.pruned_below.load(Ordering::SeqCst) {
            return Err(SubscribeError::ConsumerTooSlow);
        }
        Ok(frames)
    }
}

impl Shared {
    /// How long a subscriber rests that has caught up; the more there are, the longer.
    pub(super) fn rest(&self) -> Option<Duration> {
        let subscribers = self.subscribers_max.saturating_sub(self.subscribers.available_permits());
        let micros = REST_MICROS_PER_SUBSCRIBER.saturating_mul(subscribers as u64).min(REST_MICROS_MAX);
        (micros >= REST_MICROS_MIN).then(|| Duration::from_micros(micros))
    }
}
