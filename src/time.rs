//! The clock and the source of randomness, handed down so that tests can own them.
//!
//! Not for: deadlines and timers (tokio's).

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// Microseconds since 1970, UTC.
pub type Micros = i64;

/// One second in [`Micros`].
pub const SECOND: Micros = 1_000_000;

/// Tells the time of day.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Micros + Send + Sync>);

impl Clock {
    /// The system's clock.
    pub fn system() -> Clock {
        Clock(Arc::new(|| {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
        }))
    }

    /// A clock of the caller's own (tests).
    pub fn from_fn(now: impl Fn() -> Micros + Send + Sync + 'static) -> Clock {
        Clock(Arc::new(now))
    }

    /// Now.
    pub fn now(&self) -> Micros {
        (self.0)()
    }
}

/// Gives random bytes.
#[derive(Clone)]
pub struct Entropy(Arc<Fill>);

/// Fills a buffer with random bytes.
type Fill = dyn Fn(&mut [u8]) + Send + Sync;

impl Entropy {
    /// The operating system's, through a thread-local generator.
    pub fn system() -> Entropy {
        Entropy(Arc::new(|bytes| rand::Rng::fill_bytes(&mut rand::rng(), bytes)))
    }

    /// A source of the caller's own (tests).
    pub fn from_fn(fill: impl Fn(&mut [u8]) + Send + Sync + 'static) -> Entropy {
        Entropy(Arc::new(fill))
    }

    /// `N` fresh random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.0)(&mut bytes);
        bytes
    }

    /// `N` random characters of `a-z2-7`: five bits each.
    pub fn base32<const N: usize>(&self) -> String {
        const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        self.bytes::<N>().iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect()
    }
}
