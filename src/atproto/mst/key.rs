//! Keys: their depth and their common prefixes.

use sha2::{Digest, Sha256};

/// The greatest depth there is: half the bits of SHA-256.
pub const DEPTH_MAX: u32 = 128;

/// Longest key, in bytes (RP-4).
pub const KEY_BYTES_MAX: usize = 1024;

/// Depth of `key`: leading zero bits of its SHA-256, halved and rounded down (MST-2).
///
/// The range is `0..=`[`DEPTH_MAX`]; 0 is the bottom of the tree. Two bits to a level make a
/// fanout of 4. The form of the key is not looked at.
///
/// ```
/// use atproto::mst::key_depth;
///
/// assert_eq!(key_depth(b"2653ae71"), 0);
/// assert_eq!(key_depth(b"blue"), 1);
/// assert_eq!(key_depth(b"app.bsky.feed.post/454397e440ec"), 4);
/// ```
pub fn key_depth(key: &[u8]) -> u32 {
    let mut zero_bits = 0;
    for byte in Sha256::digest(key) {
        zero_bits += byte.leading_zeros();
        if byte != 0 {
            break;
        }
    }
    zero_bits / 2
}

/// How many leading bytes two keys share. Bytes, not characters (MST-8).
pub fn common_prefix(left: &[u8], right: &[u8]) -> usize {
    left.iter().zip(right).take_while(|(l, r)| l == r).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_pairs_of_leading_zero_bits() {
        // MST-2, MST-15.
        let cases: [(&[u8], u32); 6] = [
            (b"", 0),
            (b"2653ae71", 0),
            (b"blue", 1),
            (b"88bfafc7", 2),
            (b"app.bsky.feed.post/454397e440ec", 4),
            (b"app.bsky.feed.post/9adeb165882c", 8),
        ];
        for (key, depth) in cases {
            assert_eq!(key_depth(key), depth, "{}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn prefixes_count_bytes_and_may_cut_a_character() {
        // MST-8: U+00E9 and U+00E8 share their first byte.
        assert_eq!(common_prefix("caf\u{e9}".as_bytes(), "caf\u{e8}".as_bytes()), 4);
        assert_eq!(common_prefix(b"abc", b"abc\0"), 3);
        assert_eq!(common_prefix(b"", b"abc"), 0);
    }
}
