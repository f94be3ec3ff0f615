//! Content identifiers: the blessed form (CID-1), how to make one, and what else is let in.
//!
//! Not for: the looser text format of lexicon strings beyond [`check_format`].

use sha2::{Digest, Sha256};

/// A CID, from the `cid` crate with `multihash`.
pub type Cid = ::cid::Cid;

/// Codec of record, node and commit blocks.
pub const CODEC_DAG_CBOR: u64 = 0x71;
/// Codec of blobs.
pub const CODEC_RAW: u64 = 0x55;
/// Longest binary CID that is read, in bytes (DM-18).
pub const CID_BYTES_MAX: usize = 100;
/// Longest text CID that is read, in bytes. A binary CID of 100 bytes has at most 801 digits in base 2.
pub const CID_TEXT_BYTES_MAX: usize = 1_024;

const HASH_SHA2_256: u64 = 0x12;
const HASH_BLAKE3: u64 = 0x1e;
const DIGEST_BYTES: usize = 32;
/// Version, codec, hash and digest length of a blessed CID are one byte each.
const BLESSED_BYTES: usize = 4 + DIGEST_BYTES;
const BASE32_DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Why bytes or a text are not a CID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a CID: {0}")]
pub struct ParseCidError(pub String);

/// CIDv1, dag-cbor, sha2-256 of `block` (CID-7).
pub fn for_cbor(block: &[u8]) -> Cid {
    from_digest(CODEC_DAG_CBOR, Sha256::digest(block).into())
}

/// CIDv1, raw, sha2-256 of `blob` (BL-1).
pub fn for_raw(blob: &[u8]) -> Cid {
    raw_from_digest(Sha256::digest(blob).into())
}

/// CIDv1, raw, from a finished SHA-256 digest (streamed uploads).
pub fn raw_from_digest(digest: [u8; DIGEST_BYTES]) -> Cid {
    from_digest(CODEC_RAW, digest)
}

fn from_digest(codec: u64, digest: [u8; DIGEST_BYTES]) -> Cid {
    Cid::new_v1(codec, wrap(HASH_SHA2_256, &digest))
}

/// Cannot fail for a digest of at most 64 bytes; ours have 32.
fn wrap(hash: u64, digest: &[u8; DIGEST_BYTES]) -> multihash::Multihash<64> {
    multihash::Multihash::wrap(hash, digest).unwrap_or_default()
}

/// True for the blessed form (CID-1): v1, dag-cbor or raw, sha2-256, 32 byte digest.
pub fn is_blessed(cid: &Cid) -> bool {
    is_linkable(cid) && cid.hash().code() == HASH_SHA2_256
}

/// True for what may stand in a link: the blessed form, or the same with a BLAKE3 hash, which the
/// CBOR profile of the protocol (DRISL) allows and only links to foreign data can have.
pub fn is_linkable(cid: &Cid) -> bool {
    cid.version() == ::cid::Version::V1
        && matches!(cid.codec(), CODEC_DAG_CBOR | CODEC_RAW)
        && matches!(cid.hash().code(), HASH_SHA2_256 | HASH_BLAKE3)
        && cid.hash().digest().len() == DIGEST_BYTES
}

/// Appends the text form of `cid`, as `to_string` gives it, without the general machinery for the forms that nearly every
/// CID has.
pub fn write(cid: &Cid, text: &mut String) {
    let codec = match cid.codec() {
        CODEC_DAG_CBOR => 0x71,
        CODEC_RAW => 0x55,
        _ => return text.push_str(&cid.to_string()),
    };
    if !is_blessed(cid) {
        return text.push_str(&cid.to_string());
    }
    // Base32 takes bits from the front, five at a time; zeros fill up the last digit.
    let (mut bits, mut n_bits) = (0_u32, 0);
    let mut digits = [b'b'; 1 + (BLESSED_BYTES * 8).div_ceil(5)];
    let mut places = digits.iter_mut().skip(1);
    for byte in [0x01, codec, 0x12, DIGEST_BYTES as u8].iter().chain(cid.hash().digest()).chain([&0]) {
        bits = bits << 8 | u32::from(*byte);
        n_bits += 8;
        while n_bits >= 5 {
            n_bits -= 5;
            let Some(place) = places.next() else { break };
            *place = BASE32_DIGITS[(bits >> n_bits) as usize & 0x1f];
        }
    }
    text.push_str(std::str::from_utf8(&digits).unwrap_or_default());
}

/// Reads the text form of any CID, version 0 or 1, in any base.
///
/// Follow with [`is_blessed`] where the protocol fixes the form (CID-3).
pub fn parse(text: &str) -> Result<Cid, ParseCidError> {
    if text.len() > CID_TEXT_BYTES_MAX {
        return Err(ParseCidError(format!(
            "text is {} bytes; at most {CID_TEXT_BYTES_MAX} are read",
            text.len()
        )));
    }
    // The `cid` crate cuts off everything before "/ipfs/", which is no part of a CID.
    if !text.is_ascii() || text.contains("/ipfs/") {
        return Err(ParseCidError("text has characters that no CID has".to_owned()));
    }
    let cid = Cid::try_from(text).map_err(|error| ParseCidError(error.to_string()))?;
    // Base32 digits have one case (CID-2); the decoder takes both.
    if text.starts_with('b') && text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(ParseCidError("base32 must be in lower case".to_owned()));
    }
    match cid.encoded_len() {
        ..=CID_BYTES_MAX => Ok(cid),
        bytes => Err(ParseCidError(format!("it is {bytes} bytes; at most {CID_BYTES_MAX} are read"))),
    }
}

/// Checks the `cid` string format of lexicons, which looks at characters and length only (CID-5).
///
/// Version 0 is refused: it cannot be told from other base58 text.
pub fn check_format(text: &str) -> Result<(), ParseCidError> {
    let problem = if !(8..=256).contains(&text.len()) {
        "it must have 8 to 256 characters"
    } else if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'=')) {
        "only letters, digits, + and = may occur"
    } else if text.starts_with("Qm") {
        "version 0 is not supported; write it as version 1"
    } else {
        return Ok(());
    };
    Err(ParseCidError(problem.to_owned()))
}

/// Reads a binary CID that is the whole input; at most 100 bytes.
pub fn from_bytes(bytes: &[u8]) -> Result<Cid, ParseCidError> {
    match from_bytes_prefix(bytes)? {
        (cid, used) if used == bytes.len() => Ok(cid),
        (_, used) => Err(ParseCidError(format!("{} bytes follow it", bytes.len() - used))),
    }
}

/// Reads the binary CID that `bytes` start with; returns it and its length (CAR sections).
pub fn from_bytes_prefix(bytes: &[u8]) -> Result<(Cid, usize), ParseCidError> {
    if let Some(cid) = blessed_prefix(bytes) {
        return Ok((cid, BLESSED_BYTES));
    }
    let head = &bytes[..bytes.len().min(CID_BYTES_MAX)];
    let cid = Cid::read_bytes(head).map_err(|error| ParseCidError(error.to_string()))?;
    let used = cid.encoded_len();
    // A varint in a longer form than needed would come back shorter (CB-10).
    if head.get(..used) != Some(cid.to_bytes().as_slice()) {
        return Err(ParseCidError("it is not in its shortest form".to_owned()));
    }
    Ok((cid, used))
}

/// The form that nearly every CID has, read without the general machinery.
fn blessed_prefix(bytes: &[u8]) -> Option<Cid> {
    let (head, digest) = bytes.get(..BLESSED_BYTES)?.split_at(4);
    let codec = match head {
        [0x01, 0x71, 0x12, 0x20] => CODEC_DAG_CBOR,
        [0x01, 0x55, 0x12, 0x20] => CODEC_RAW,
        _ => return None,
    };
    Some(from_digest(codec, digest.try_into().ok()?))
}

/// True when `block` hashes to `cid` (CID-6). Only sha2-256 is known; for any other hash it is false.
pub fn matches(cid: &Cid, block: &[u8]) -> bool {
    cid.hash().code() == HASH_SHA2_256 && cid.hash().digest() == Sha256::digest(block).as_slice()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    /// `echo -n | sha256sum`, in base32 behind the head of each codec.
    const EMPTY_RAW: &str = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";

    #[test]
    fn the_cids_of_nothing_are_as_known() {
        // CID-1, CID-2
        assert_eq!(for_raw(b"").to_string(), EMPTY_RAW);
        assert_eq!(parse(EMPTY_RAW), Ok(for_raw(b"")));
        assert!(for_cbor(b"").to_string().starts_with("bafyrei"));
        assert_eq!(for_raw(b"").to_bytes().len(), 36);
        assert!(is_blessed(&for_raw(b"")) && is_blessed(&for_cbor(b"")));
        assert!(matches(&for_cbor(b"a"), b"a") && !matches(&for_cbor(b"a"), b"b"));
    }

    #[test]
    fn other_versions_codecs_and_hashes_are_read_but_not_blessed() {
        // CID-3, CID-5
        for text in [
            "QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR",
            "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi",
            "zb2rhe5P4gXftAwvA4eXQ5HJwsER2owDyS9sKaQRRVQPn93bA",
        ] {
            let cid = parse(text).unwrap();
            assert_eq!(is_blessed(&cid), text.starts_with('z'), "{text}");
        }
    }

    #[test]
    fn other_texts_and_bytes_are_refused() {
        let upper = EMPTY_RAW.to_uppercase().replacen('B', "b", 1);
        let long = format!("f{}", "0".repeat(2_000));
        for bad in [
            "",
            "b",
            "bafkrei",
            ".",
            "/ipfs/",
            &format!("/ipfs/{EMPTY_RAW}"),
            &format!(" {EMPTY_RAW}"),
            &upper,
            &long,
            "é",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let bytes = for_raw(b"").to_bytes();
        assert!(from_bytes(&bytes[..35]).is_err());
        assert!(from_bytes(&[bytes.as_slice(), &[0]].concat()).is_err());
        assert_eq!(from_bytes_prefix(&[bytes.as_slice(), &[0]].concat()), Ok((for_raw(b""), 36)));
    }

    #[test]
    fn the_lexicon_format_looks_at_characters_only() {
        // CID-5
        for good in [EMPTY_RAW, "mBcDxtdWx0aWhhc2g+", "7134036155352661643226414134664076"] {
            assert_eq!(check_format(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "noop",
            "12345",
            "example.com",
            "bafybe igdyrzt5sfp7",
            "QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR",
        ] {
            assert!(check_format(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn the_quick_text_is_the_text(digest: [u8; 32], codec in prop_oneof![Just(0x55), Just(0x71), Just(0x70)]) {
            let blake3 = multihash::Multihash::wrap(HASH_BLAKE3, &digest).unwrap();
            for cid in [from_digest(codec, digest), Cid::new_v1(codec, blake3)] {
                let mut text = String::from("before ");
                write(&cid, &mut text);
                prop_assert_eq!(text, format!("before {cid}"));
            }
        }

        #[test]
        fn no_bytes_make_it_panic_and_what_is_read_is_written_back(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            if let Ok((cid, used)) = from_bytes_prefix(&bytes) {
                prop_assert_eq!(cid.to_bytes(), &bytes[..used]);
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,80}") {
            if let Ok(cid) = parse(&text) {
                prop_assert_eq!(from_bytes(&cid.to_bytes()), Ok(cid));
            }
        }
    }
}
