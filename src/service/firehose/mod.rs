//! The firehose: `com.atproto.sync.subscribeRepos` without the socket (sections 8 and 9).
//!
//! A subscriber is a number, the *cursor*, and a wake-up. It takes what follows its cursor from the ring of newest
//! frames, or from the event table when the ring no longer reaches back that far; replay and live are the same loop.
//! It has no queue: one that reads slowly costs a page of frames and nothing else (EV-10).
//!
//! Not for: making events (the writer numbers and stores them with the change that they announce) and websockets.

mod retention;
mod subscriber;
#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

use tokio::sync::Semaphore;

pub use self::subscriber::{Seat, SubscribeError, Subscriber};
use crate::{
    store::Store,
    time::{Clock, Micros},
};

/// How long events are kept for replay, unless configured otherwise (EV-12).
pub const WINDOW_DEFAULT: Duration = Duration::from_secs(72 * 3600);
/// Subscribers at once, unless told otherwise.
pub const SUBSCRIBERS_MAX_DEFAULT: usize = 1000;
/// Pages read from the event table at once, so that many replays leave readers to everyone else.
const TABLE_PAGES_MAX: usize = 2;

/// Limits of the firehose.
#[derive(Clone, Copy, Debug)]
pub struct FirehoseOptions {
    /// How long events are kept for replay.
    pub window: Duration,
    /// Subscribers at once.
    pub subscribers_max: usize,
}

impl Default for FirehoseOptions {
    fn default() -> FirehoseOptions {
        FirehoseOptions { window: WINDOW_DEFAULT, subscribers_max: SUBSCRIBERS_MAX_DEFAULT }
    }
}

/// The event log, as its readers see it. Cheap to clone.
#[derive(Clone)]
pub struct Firehose {
    inner: Arc<Shared>,
}

struct Shared {
    store: Store,
    clock: Clock,
    window: Micros,
    subscribers: Arc<Semaphore>,
    subscribers_max: usize,
    table_pages: Semaphore,
    /// Events numbered below this have been pruned or are being pruned. Raised before they go.
    pruned_below: AtomicI64,
}

impl Firehose {
    /// The log of `store`.
    pub fn new(store: Store, clock: Clock, options: FirehoseOptions) -> Firehose {
        Firehose {
            inner: Arc::new(Shared {
                store,
                clock,
                window: Micros::try_from(options.window.as_micros()).unwrap_or(Micros::MAX),
                subscribers: Arc::new(Semaphore::new(options.subscribers_max)),
                subscribers_max: options.subscribers_max,
                table_pages: Semaphore::new(TABLE_PAGES_MAX),
                pruned_below: AtomicI64::new(0),
            }),
        }
    }
}

impl Shared {
    /// Events from before this moment are outside the window.
    fn window_start(&self) -> Micros {
        self.clock.now().saturating_sub(self.window)
    }
}
