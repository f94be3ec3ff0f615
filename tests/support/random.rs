//! Reproducible randomness for tests that draw what they do: the seed is printed when one fails, and `ROOKERY_SEED`
//! repeats it.
//!
//! Not for: properties of pure functions (proptest shrinks those).

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

/// SplitMix64: a seed means the same whatever the version of a crate.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn from_seed(seed: u64) -> Random {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `end`, which is above 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    /// At least `start` and less than `end`.
    pub fn between(&mut self, start: i64, end: i64) -> i64 {
        start + i64::try_from(self.next() % u64::try_from(end - start).unwrap()).unwrap()
    }

    /// True one time in `n`.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        &among[self.below(among.len())]
    }

    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next().to_le_bytes()[0]).collect()
    }

    /// A generator of its own, so that what one task draws does not hang on how fast another is.
    pub fn fork(&mut self) -> Random {
        Random(self.next())
    }
}

/// The seed of a test: `ROOKERY_SEED`, or a new one. Printed when the test fails.
pub struct Seed(pub u64);

impl Seed {
    pub fn of_this_run() -> Seed {
        match std::env::var("ROOKERY_SEED") {
            Ok(text) => Seed(text.parse().expect("ROOKERY_SEED is a whole number")),
            Err(_) => Seed(rand::random::<u32>().into()),
        }
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with ROOKERY_SEED={}", self.0);
        }
    }
}

/// Whether the long mode was asked for: `ROOKERY_LONG=1`.
pub fn is_long_run() -> bool {
    std::env::var_os("ROOKERY_LONG").is_some_and(|value| value == "1")
}
