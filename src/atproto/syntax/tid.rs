//! TIDs: 64 bits as 13 characters that sort as the number does (TID-1..TID-6, RP-11).
//!
//! Not for: reading the clock; its microseconds are an argument.

use std::fmt;

use serde::{Serialize, Serializer};

use super::{ParseError, parse_traits};

const ALPHABET: &[u8; 32] = b"234567abcdefghijklmnopqrstuvwxyz";
const TID_CHARS: usize = 13;
const CLOCK_ID_BITS: u32 = 10;
const CLOCK_ID_MASK: u64 = (1 << CLOCK_ID_BITS) - 1;
const MICROS_MASK: u64 = (1 << 53) - 1;

/// A timestamp identifier: 53 bits of microseconds since 1970, 10 bits of clock id. The order of
/// values is the order of their texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tid(u64);

parse_traits!(Tid);

impl Tid {
    /// Reads the 13 characters, whatever time they tell (TID-6).
    pub fn parse(text: &str) -> Result<Tid, ParseError> {
        let fail = |problem| ParseError::new("TID", text, problem);
        if text.len() != TID_CHARS {
            return Err(fail("must have 13 characters"));
        }
        let mut n = 0u64;
        for (idx, char) in text.bytes().enumerate() {
            let digit = match char {
                b'2'..=b'7' => char - b'2',
                b'a'..=b'z' => char - b'a' + 6,
                _ => return Err(fail("may have only 2 to 7 and a to z")),
            };
            if idx == 0 && digit > 15 {
                return Err(fail("must start with 2 to 7 or a to j"));
            }
            n = n << 5 | u64::from(digit);
        }
        Ok(Tid(n))
    }

    /// From microseconds since 1970 and a clock id; bits above 53 and 10 are cut off.
    pub fn from_parts(micros: u64, clock_id: u16) -> Tid {
        Tid((micros & MICROS_MASK) << CLOCK_ID_BITS | u64::from(clock_id) & CLOCK_ID_MASK)
    }

    /// Microseconds since 1970.
    pub fn micros(self) -> u64 {
        self.0 >> CLOCK_ID_BITS
    }

    /// The clock id, below 1024.
    pub fn clock_id(self) -> u16 {
        (self.0 & CLOCK_ID_MASK) as u16
    }

    /// As an integer (database columns). Negative only for a TID with the top bit set, which
    /// parses, tells a time after the year 2255, and is made by no generator (TID-2).
    pub fn to_i64(self) -> i64 {
        self.0 as i64
    }

    /// From an integer; `None` when it is negative.
    pub fn from_i64(n: i64) -> Option<Tid> {
        u64::try_from(n).ok().map(Tid)
    }

    /// The TID for `now_micros`, or, when the clock is not past `last`, the one a microsecond
    /// after `last` (RP-11, TID-3). `last` from the end of time, in the year 2255, gives itself.
    pub fn next(last: Option<Tid>, now_micros: u64, clock_id: u16) -> Tid {
        let after_last = last.map_or(0, |last| last.micros() + 1);
        let next = Tid::from_parts(now_micros.max(after_last).min(MICROS_MASK), clock_id);
        last.map_or(next, |last| next.max(last))
    }
}

impl fmt::Display for Tid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digit = |idx: usize| ALPHABET[(self.0 >> (5 * (TID_CHARS - 1 - idx)) & 31) as usize];
        let text: [u8; TID_CHARS] = std::array::from_fn(digit);
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Tid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn zero_and_the_largest_are_as_specified() {
        // TID-1, TID-2
        assert_eq!(Tid::from_parts(0, 0).to_string(), "2222222222222");
        assert_eq!(Tid::from_i64(i64::MAX).unwrap().to_string(), "bzzzzzzzzzzzz");
        assert_eq!(Tid::from_i64(-1), None);
        let top_bit = "jzzzzzzzzzzzz";
        assert_eq!(Tid::parse(top_bit).unwrap().to_string(), top_bit);
    }

    #[test]
    fn other_texts_are_refused() {
        for bad in [
            "",
            "222222222222",
            "22222222222222",
            "3JZFCIJPJ2Z2A",
            "0000000000000",
            "kjzfcijpj2z2a",
            "zzzzzzzzzzzzz",
            "3jzf-cij-pj2z-2a",
            "3jzfcijpj2z1a",
            "3jzfcijpj2z8a",
            "éééééé2",
        ] {
            assert!(Tid::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_clock_that_stands_or_steps_back_still_gives_later_tids() {
        // TID-3, RP-11
        let first = Tid::next(None, 1_000, 7);
        let second = Tid::next(Some(first), 1_000, 3);
        let third = Tid::next(Some(second), 5, 3);
        assert_eq!([first.micros(), second.micros(), third.micros()], [1_000, 1_001, 1_002]);
        assert_eq!(Tid::next(Some(third), 2_000, 3).micros(), 2_000);
    }

    proptest! {
        #[test]
        fn text_and_number_agree(a in 0..=i64::MAX, b in 0..=i64::MAX) {
            let (a, b) = (Tid::from_i64(a).unwrap(), Tid::from_i64(b).unwrap());
            prop_assert_eq!(Tid::parse(&a.to_string()).unwrap(), a);
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
            prop_assert_eq!(Tid::from_parts(a.micros(), a.clock_id()), a);
        }

        #[test]
        fn the_next_is_always_later(last in 0..i64::MAX >> 12, now in any::<u64>(), clock_id in any::<u16>()) {
            let last = Tid::from_i64(last).unwrap();
            prop_assert!(Tid::next(Some(last), now, clock_id) > last);
        }
    }
}
