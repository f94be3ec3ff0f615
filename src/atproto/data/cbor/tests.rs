//! Canonical CBOR against the rules one by one, and against an independent strict codec.

#![allow(clippy::unwrap_used, clippy::panic)]

use ipld_core::ipld::Ipld;
use proptest::{collection::vec, prelude::*};

use super::*;
use crate::data::{CONTAINER_ELEMENTS_MAX, MAP_KEY_BYTES_MAX, Map, arbitrary, cid};

fn problem(bytes: &[u8]) -> Problem {
    decode(bytes).unwrap_err().problem
}

#[test]
fn the_scalars_have_their_known_bytes() {
    // CB-3, CB-6
    for (value, bytes) in [
        (Value::Null, &[0xf6][..]),
        (Value::Bool(false), &[0xf4]),
        (Value::Bool(true), &[0xf5]),
        (Value::Integer(0), &[0x00]),
        (Value::Integer(23), &[0x17]),
        (Value::Integer(24), &[0x18, 24]),
        (Value::Integer(-1), &[0x20]),
        (Value::Integer(-256), &[0x38, 0xff]),
        (Value::Integer(65_536), &[0x1a, 0, 1, 0, 0]),
        (Value::Integer(i64::MAX), &[0x1b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        (Value::Integer(i64::MIN), &[0x3b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        (Value::String("é".to_owned()), &[0x62, 0xc3, 0xa9]),
        (Value::Bytes(vec![1, 2]), &[0x42, 1, 2]),
        (Value::Array(vec![]), &[0x80]),
        (Value::Map(Map::new()), &[0xa0]),
    ] {
        assert_eq!(encode(&value), bytes, "{value:?}");
        assert_eq!(decode(bytes), Ok(value));
    }
}

#[test]
fn a_link_is_tag_42_around_a_zero_byte_and_the_cid() {
    // DM-14, CB-5
    let cid = cid::for_cbor(b"");
    let bytes = encode(&Value::Link(cid));
    assert_eq!(bytes[..5], [0xd8, 0x2a, 0x58, 0x25, 0x00]);
    assert_eq!(bytes[5..], cid.to_bytes());
    assert_eq!(decode(&bytes), Ok(Value::Link(cid)));
}

#[test]
fn longer_heads_than_needed_are_refused() {
    // CB-3
    for bytes in [
        &[0x18, 23][..],
        &[0x19, 0, 0xff],
        &[0x1a, 0, 0, 0xff, 0xff],
        &[0x1b, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
        &[0x38, 0],
        &[0x58, 1, 0],
        &[0x78, 1, b'a'],
        &[0x98, 0],
        &[0xb8, 0],
        &[0xd9, 0, 42, 0x40],
        &[0xa1, 0x78, 1, b'a', 0],
    ] {
        assert_eq!(problem(bytes), Problem::NotShortest, "{bytes:02x?}");
    }
}

#[test]
fn what_is_not_in_the_data_model_is_refused() {
    // CB-2, CB-5..CB-8, DM-2, DM-3
    for (bytes, expected) in [
        (&[0x5f, 0xff][..], Problem::Indefinite),
        (&[0x7f, 0xff], Problem::Indefinite),
        (&[0x9f, 0xff], Problem::Indefinite),
        (&[0xbf, 0xff], Problem::Indefinite),
        (&[0xff], Problem::Indefinite),
        (&[0xf9, 0, 0], Problem::Float),
        (&[0xfa, 0, 0, 0, 0], Problem::Float),
        (&[0xfb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0], Problem::Float),
        (&[0xf7], Problem::Simple(23)),
        (&[0xe0], Problem::Simple(0)),
        (&[0xf8, 32], Problem::Simple(32)),
        (&[0xfc], Problem::Reserved(0xfc)),
        (&[0x1c], Problem::Reserved(0x1c)),
        (&[0x1f], Problem::Reserved(0x1f)),
        (&[0xdf], Problem::Reserved(0xdf)),
        (&[0xc2, 0x40], Problem::Tag(2)),
        (&[0xd8, 43, 0x40], Problem::Tag(43)),
        (&[0x1b, 0x80, 0, 0, 0, 0, 0, 0, 0], Problem::IntegerRange),
        (&[0x3b, 0x80, 0, 0, 0, 0, 0, 0, 0], Problem::IntegerRange),
        (&[0x61, 0xff], Problem::Utf8),
        (&[0x63, 0xed, 0xa0, 0x80], Problem::Utf8),
    ] {
        assert_eq!(problem(bytes), expected, "{bytes:02x?}");
    }
}

#[test]
fn map_keys_are_text_unique_and_in_order() {
    // CB-4
    assert!(decode(&[0xa2, 0x61, b'b', 0, 0x62, b'a', b'a', 0]).is_ok());
    for bytes in [
        &[0xa2, 0x62, b'a', b'a', 0, 0x61, b'b', 0][..],
        &[0xa2, 0x61, b'b', 0, 0x61, b'a', 0],
        &[0xa2, 0x61, b'a', 0, 0x61, b'a', 0],
    ] {
        assert_eq!(problem(bytes), Problem::KeyOrder, "{bytes:02x?}");
    }
    assert_eq!(problem(&[0xa1, 0x00, 0x00]), Problem::KeyType);
    assert_eq!(problem(&[0xa1, 0x41, b'a', 0x00]), Problem::KeyType);
}

#[test]
fn one_item_is_all_there_is() {
    // CB-1
    assert_eq!(decode(&[0, 0]), Err(Error { at: 1, problem: Problem::TrailingBytes(1) }));
    assert_eq!(decode_prefix(&[0x17, 0]), Ok((Value::Integer(23), 1)));
    assert_eq!(problem(&[]), Problem::UnexpectedEnd);
}

#[test]
fn announced_sizes_are_checked_before_room_is_made() {
    // CB-11
    let huge = |major: u8| [major << 5 | 27, 0, 0, 1, 0, 0, 0, 0, 0];
    assert_eq!(problem(&huge(MAJOR_BYTES)), Problem::UnexpectedEnd);
    assert_eq!(problem(&huge(MAJOR_TEXT)), Problem::UnexpectedEnd);
    assert!(matches!(problem(&huge(MAJOR_ARRAY)), Problem::TooLong { .. }));
    assert!(matches!(problem(&huge(MAJOR_MAP)), Problem::TooLong { .. }));
    assert_eq!(problem(&[0x99, 0xff, 0xff, 0]), Problem::UnexpectedEnd);
    assert_eq!(problem(&[0xa2, 0x61, b'a', 0]), Problem::UnexpectedEnd);
}

#[test]
fn nesting_ends_at_32_levels() {
    // DM-18
    let nested = |levels: usize| [vec![0x81; levels], vec![0]].concat();
    assert!(decode(&nested(DEPTH_MAX)).is_ok());
    assert_eq!(decode(&nested(DEPTH_MAX + 1)), Err(Error { at: 32, problem: Problem::TooDeep }));
    assert_eq!(problem(&nested(100_000)), Problem::TooDeep);
    assert_eq!(problem(&b"\xa1\x61a".repeat(100_000)), Problem::TooDeep);
}

#[test]
fn containers_and_keys_have_a_largest_size() {
    // DM-18
    let array = |items: usize| Value::Array(vec![Value::Null; items]);
    assert!(decode(&encode(&array(CONTAINER_ELEMENTS_MAX))).is_ok());
    let too_long = encode(&array(CONTAINER_ELEMENTS_MAX + 1));
    assert!(matches!(problem(&too_long), Problem::TooLong { what: "container", .. }));

    let map =
        |key_bytes: usize| Value::Map(Map::from_entries(vec![("a".repeat(key_bytes), Value::Null)]).unwrap());
    assert!(decode(&encode(&map(MAP_KEY_BYTES_MAX))).is_ok());
    let too_long = encode(&map(MAP_KEY_BYTES_MAX + 1));
    assert!(matches!(problem(&too_long), Problem::TooLong { what: "map key", .. }));
}

#[test]
fn links_that_the_protocol_does_not_have_are_refused() {
    // CID-1, CID-3
    let link = |cid: &[u8]| {
        let mut writer = Writer::new();
        writer.head(MAJOR_TAG, TAG_LINK).bytes(cid);
        writer.finish()
    };
    let good = cid::for_raw(b"").to_bytes();
    assert!(decode(&link(&[&[0], good.as_slice()].concat())).is_ok());
    let with = |idx: usize, byte: u8| {
        let mut bytes = [&[0], good.as_slice()].concat();
        bytes[idx] = byte;
        bytes
    };
    let v0 = [&[0, 0x12, 0x20], &good[4..]].concat();
    let two_byte_version = [&[0, 0x81, 0x00], &good[1..]].concat();
    let trailing = [&[0], good.as_slice(), &[0]].concat();
    for cid in [
        &[][..],
        &[0],
        &good,
        &with(0, 1),
        &with(1, 2),
        &with(2, 0x70),
        &with(3, 0x13),
        &with(4, 0x1f),
        &v0,
        &two_byte_version,
        &trailing,
        &trailing[..36],
    ] {
        assert!(matches!(problem(&link(cid)), Problem::Link(_)), "{cid:02x?}");
    }
    assert!(matches!(problem(&link(&[0; 102])), Problem::TooLong { what: "CID", .. }));
    let text_inside = [0xd8, 0x2a, 0x61, b'a'];
    assert!(matches!(problem(&text_inside), Problem::Kind { .. }));
}

#[test]
fn the_reader_takes_a_fixed_shape_apart() {
    let cid = cid::for_cbor(b"");
    let mut writer = Writer::with_capacity(64);
    writer.map(3).text("l").nullable_link(None).text("n").integer(-5).text("ok").bool(true);
    writer.array(2).link(&cid).bytes(b"x");
    let bytes = writer.finish();

    let mut reader = Reader::new(&bytes);
    assert_eq!(reader.map(), Ok(3));
    assert_eq!(reader.key(None), Ok("l"));
    assert_eq!(reader.nullable_link(), Ok(None));
    assert_eq!(reader.key(Some("l")), Ok("n"));
    assert_eq!(reader.integer(), Ok(-5));
    assert_eq!(reader.text(), Ok("ok"));
    assert_eq!(reader.bool(), Ok(true));
    assert_eq!(reader.array(), Ok(2));
    assert_eq!(reader.nullable_link(), Ok(Some(cid)));
    assert_eq!(
        reader.clone().text().unwrap_err().to_string(),
        format!("CBOR byte {}: expected text, found a byte string", reader.position())
    );
    assert_eq!(reader.bytes(), Ok(&b"x"[..]));
    assert_eq!(reader.finish(), Ok(()));
}

/// The same value in the words of the independent codec.
fn to_ipld(value: &Value) -> Ipld {
    match value {
        Value::Null => Ipld::Null,
        Value::Bool(b) => Ipld::Bool(*b),
        Value::Integer(n) => Ipld::Integer(i128::from(*n)),
        Value::String(text) => Ipld::String(text.clone()),
        Value::Bytes(bytes) => Ipld::Bytes(bytes.clone()),
        Value::Link(cid) => Ipld::Link(*cid),
        Value::Array(items) => Ipld::List(items.iter().map(to_ipld).collect()),
        Value::Map(map) => {
            Ipld::Map(map.iter().map(|(key, value)| (key.to_owned(), to_ipld(value))).collect())
        }
    }
}

/// What we accept, the independent codec accepts too, and it means the same (CB-10).
fn agree(bytes: &[u8]) {
    let Ok(value) = decode(bytes) else { return };
    assert_eq!(encode(&value), bytes);
    let oracle: Ipld = serde_ipld_dagcbor::from_slice(bytes).unwrap_or_else(|e| panic!("{bytes:02x?}: {e}"));
    assert_eq!(oracle, to_ipld(&value));
}

proptest! {
    #[test]
    fn values_survive_and_the_oracle_writes_the_same_bytes(value in arbitrary::value()) {
        let bytes = encode(&value);
        prop_assert_eq!(decode(&bytes), Ok(value.clone()));
        prop_assert_eq!(&bytes, &serde_ipld_dagcbor::to_vec(&to_ipld(&value)).unwrap());
        agree(&bytes);
    }

    #[test]
    fn no_bytes_make_it_panic_or_disagree(bytes in vec(any::<u8>(), 0..64)) {
        agree(&bytes);
    }

    #[test]
    fn no_mutation_makes_it_panic_or_disagree(
        value in arbitrary::value(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<Option<prop::sample::Index>>(),
    ) {
        let mut bytes = encode(&value);
        for (idx, byte) in changes {
            let idx = idx.index(bytes.len());
            bytes[idx] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        agree(&bytes);
    }
}
