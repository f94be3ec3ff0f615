//! Patience with a peer that keeps us waiting: for its bytes, or for it to take ours.
//!
//! Waiting uses patience up, bytes that move give it back, up to what there was at the start. So whoever moves
//! [`RATE_BYTES_MIN`] a second is never cut off however long it takes, whoever stalls is cut off when the patience is used
//! up, and whoever drips a little later.
//!
//! Not for: the clock and the timer, which are its user's.

use std::time::Duration;

/// What a peer has to move, in bytes a second, to be waited for without end.
pub const RATE_BYTES_MIN: u64 = 4 * 1024;

/// How much longer one peer is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    left: Duration,
    patience: Duration,
}

impl Pace {
    /// `patience`: how long a peer may move nothing at all.
    pub fn new(patience: Duration) -> Pace {
        Pace { left: patience, patience }
    }

    /// How long the peer may keep us waiting from now on.
    pub fn left(&self) -> Duration {
        self.left
    }

    /// The peer has kept us waiting, and has moved `bytes` then.
    pub fn moved(&mut self, bytes: usize, waited: Duration) {
        let earned = Duration::from_micros(bytes as u64 * 1_000_000 / RATE_BYTES_MIN);
        self.left = self.left.saturating_sub(waited).saturating_add(earned).min(self.patience);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);
    const SECOND: Duration = Duration::from_secs(1);

    /// Seconds until a peer is cut off that moves `bytes` every `pause`, at most `seconds_max`.
    fn cut_after(bytes: usize, pause: Duration, seconds_max: u64) -> Option<u64> {
        let mut pace = Pace::new(PATIENCE);
        let mut now = Duration::ZERO;
        while now.as_secs() < seconds_max {
            if pace.left() < pause {
                return Some((now + pace.left()).as_secs());
            }
            now += pause;
            pace.moved(bytes, pause);
        }
        None
    }

    #[test]
    fn a_peer_that_keeps_the_rate_is_waited_for_without_end() {
        assert_eq!(cut_after(RATE_BYTES_MIN as usize, SECOND, 100_000), None);
        assert_eq!(cut_after(50 * RATE_BYTES_MIN as usize, 50 * SECOND, 100_000), None);
    }

    #[test]
    fn a_peer_that_stalls_or_drips_is_cut_off_in_bounded_time() {
        assert_eq!(cut_after(0, SECOND, 1_000), Some(60));
        assert_eq!(cut_after(1, SECOND, 1_000), Some(60));
        assert_eq!(cut_after(1, 59 * SECOND, 1_000), Some(60));
        // Half the rate: patience runs down at half speed.
        assert_eq!(cut_after(RATE_BYTES_MIN as usize / 2, SECOND, 1_000), Some(119));
    }

    #[test]
    fn haste_is_not_saved_up() {
        let mut pace = Pace::new(PATIENCE);
        pace.moved(usize::MAX >> 24, SECOND);
        assert_eq!(pace.left(), PATIENCE);
    }
}
