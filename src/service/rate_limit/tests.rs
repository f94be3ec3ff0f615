#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::atomic::{AtomicI64, Ordering};

use proptest::prelude::*;

use super::*;

const NOON: Micros = 1_700_000_000 * SECOND;
const SMALL: Bucket = bucket("small", 3, 60);
const LARGE: Bucket = bucket("large", 10, 600);

/// Limits with a clock to turn.
struct Example {
    now: Arc<AtomicI64>,
    limits: RateLimits,
}

impl Example {
    fn new(keys_max: usize) -> Example {
        let now = Arc::new(AtomicI64::new(NOON));
        let clock = now.clone();
        let limits =
            RateLimits::with_keys_max(Clock::from_fn(move || clock.load(Ordering::Relaxed)), keys_max);
        Example { now, limits }
    }

    fn wait(&self, micros: Micros) {
        self.now.fetch_add(micros, Ordering::Relaxed);
    }

    fn charge(&self, bucket: &'static Bucket, key: &str, points: u32) -> Result<Standing, Exceeded> {
        self.limits.charge(&[Charge { bucket, key, points }]).map(Option::unwrap)
    }
}

#[test]
fn a_window_begins_with_the_first_charge_and_ends_after_its_length() {
    let example = Example::new(KEYS_MAX);
    for remaining in [2, 1, 0] {
        let standing = example.charge(&SMALL, "a", 1).unwrap();
        assert_eq!((standing.limit, standing.remaining, standing.window_secs), (3, remaining, 60));
        assert_eq!(standing.resets_at, NOON + 60 * SECOND);
    }
    example.wait(30 * SECOND);
    let exceeded = example.charge(&SMALL, "a", 1).unwrap_err();
    assert_eq!((exceeded.retry_after_secs, exceeded.standing.remaining), (30, 0));
    assert_eq!(exceeded.standing.resets_at_secs(), NOON / SECOND + 60);
    example.wait(30 * SECOND - 1);
    assert_eq!(example.charge(&SMALL, "a", 1).unwrap_err().retry_after_secs, 1);
    example.wait(1);
    assert_eq!(example.charge(&SMALL, "a", 1).unwrap().remaining, 2);
}

#[test]
fn keys_and_buckets_do_not_share_points() {
    let example = Example::new(KEYS_MAX);
    example.charge(&SMALL, "a", 3).unwrap();
    example.charge(&SMALL, "a", 1).unwrap_err();
    example.charge(&SMALL, "b", 3).unwrap();
    example.charge(&LARGE, "a", 3).unwrap();
}

#[test]
fn what_is_refused_takes_nothing_from_any_bucket() {
    let example = Example::new(KEYS_MAX);
    let both = |points| {
        let charge = |bucket| Charge { bucket, key: "a", points };
        example.limits.charge(&[charge(&LARGE), charge(&SMALL)])
    };
    assert_eq!(both(2).unwrap().unwrap().remaining, 1);
    assert_eq!(both(2).unwrap_err().standing.limit, 3);
    // One point is left in the small bucket, and eight in the large one.
    assert_eq!(both(1).unwrap().unwrap().remaining, 0);
    assert_eq!(example.charge(&LARGE, "a", 7).unwrap().remaining, 0);
    // Both refuse: the client is told of the one that opens last.
    assert_eq!(both(1).unwrap_err().standing.limit, 10);
}

#[test]
fn a_clock_that_is_turned_back_locks_nobody_out() {
    let example = Example::new(KEYS_MAX);
    example.charge(&SMALL, "a", 3).unwrap();
    example.wait(-10 * SECOND);
    assert_eq!(example.charge(&SMALL, "a", 1).unwrap().resets_at, NOON + 50 * SECOND);
}

#[test]
fn memory_is_bounded_and_flooding_does_not_forget_who_used_much() {
    let example = Example::new(64);
    example.charge(&SMALL, "busy", 3).unwrap();
    example.wait(SECOND);
    for number in 0..10_000 {
        example.charge(&SMALL, &format!("flood {number}"), 1).unwrap();
        assert!(example.limits.inner.buckets.lock().unwrap()[SMALL.name].len() <= 64);
    }
    example.charge(&SMALL, "busy", 1).unwrap_err();
}

#[test]
fn windows_that_are_over_make_room_first() {
    let example = Example::new(64);
    for number in 0..63 {
        example.charge(&SMALL, &format!("old {number}"), 3).unwrap();
    }
    example.wait(60 * SECOND);
    for number in 0..40 {
        example.charge(&SMALL, &format!("new {number}"), 1).unwrap();
    }
    for number in 0..40 {
        assert_eq!(example.charge(&SMALL, &format!("new {number}"), 1).unwrap().remaining, 1);
    }
}

#[test]
fn a_bypass_key_matches_itself_and_does_not_show() {
    let key = BypassKey::new("let me pass");
    assert!(key.matches(b"let me pass"));
    for wrong in [&b""[..], b"let me pas", b"let me pass "] {
        assert!(!key.matches(wrong));
    }
    assert_eq!(format!("{key:?}"), "BypassKey");
}

/// The plainest account of a fixed window: every charge that went through, with its time.
#[derive(Default)]
struct Ledger {
    begun_at: Option<Micros>,
    taken: Vec<u32>,
}

impl Ledger {
    fn charge(&mut self, bucket: &Bucket, now: Micros, points: u32) -> Option<u32> {
        let length = Micros::from(bucket.window_secs) * SECOND;
        if self.begun_at.is_some_and(|begun_at| now - begun_at >= length) {
            *self = Ledger::default();
        }
        let used: u32 = self.taken.iter().sum();
        if used + points > bucket.points {
            return None;
        }
        self.begun_at.get_or_insert(now);
        self.taken.push(points);
        Some(bucket.points - used - points)
    }
}

proptest! {
    /// Any charges at any times: each is let through or refused as the ledger of its key says, and no window ever
    /// gives more than its points.
    #[test]
    fn windows_are_those_of_the_ledger(
        steps in prop::collection::vec((0i64..40 * SECOND, 0usize..3, 1u32..5), 0..200),
    ) {
        let example = Example::new(KEYS_MAX);
        let mut ledgers: [Ledger; 3] = Default::default();
        for (pause, key, points) in steps {
            example.wait(pause);
            let now = example.now.load(Ordering::Relaxed);
            let expected = ledgers[key].charge(&LARGE, now, points);
            let got = example.charge(&LARGE, &key.to_string(), points);
            prop_assert_eq!(got.ok().map(|standing| standing.remaining), expected);
            if let Err(exceeded) = got {
                prop_assert!((1..=600).contains(&exceeded.retry_after_secs));
            }
        }
    }
}
