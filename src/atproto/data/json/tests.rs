//! The JSON form against the rules one by one, and against CBOR as its inverse.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::data::{arbitrary, cbor};

fn read(json: &str) -> Result<Value, String> {
    from_slice(json.as_bytes()).map_err(|error| error.to_string())
}

/// The refusal of `json`, without line and column.
fn refusal(json: &str) -> String {
    let refusal = read(json).unwrap_err();
    refusal.split(" at line").next().unwrap_or_default().to_owned()
}

#[test]
fn absent_null_and_empty_stay_apart() {
    // DM-5
    let text = r#"{"a":null,"b":false,"c":0,"d":"","e":[],"f":{}}"#;
    let value = read(text).unwrap();
    assert_eq!(serde_json::to_string(&value).unwrap(), text);
    assert_eq!(value.get("g"), None);
    assert_eq!(value.get("a"), Some(&Value::Null));
}

#[test]
fn a_link_is_an_object_of_one_key() {
    // DM-11
    let cid = cid::for_cbor(b"");
    let text = format!(r#"{{"$link":"{cid}"}}"#);
    assert_eq!(read(&text), Ok(Value::Link(cid)));
    assert_eq!(to_json(&Value::Link(cid)).to_string(), text);
    assert_eq!(refusal(r#"{"$link":1}"#), "$link: invalid type: integer `1`, expected a string");
    for bad in [
        format!(r#"{{"$link":"{cid}","a":1}}"#),
        format!(r#"{{"a":1,"$link":"{cid}"}}"#),
        format!(r#"{{"$link":"{cid}","$link":"{cid}"}}"#),
        r#"{"$link":1}"#.to_owned(),
        r#"{"$link":null}"#.to_owned(),
        r#"{"$link":"."}"#.to_owned(),
        format!(r#"{{"$link":"{}"}}"#, cid.to_string().to_uppercase()),
        format!(r#"{{"$link":"/ipfs/{cid}"}}"#),
        r#"{"$link":"QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR"}"#.to_owned(),
    ] {
        assert!(read(&bad).is_err(), "{bad}");
    }
}

#[test]
fn bytes_are_base64_with_or_without_padding() {
    // DM-12, DM-13
    let bytes = Value::Bytes(vec![0xfb, 0xff, 0xfe, 1]);
    assert_eq!(read(r#"{"$bytes":"+//+AQ"}"#), Ok(bytes.clone()));
    assert_eq!(read(r#"{"$bytes":"+//+AQ=="}"#), Ok(bytes.clone()));
    assert_eq!(to_json(&bytes).to_string(), r#"{"$bytes":"+//+AQ"}"#);
    assert_eq!(read(r#"{"$bytes":""}"#), Ok(Value::Bytes(vec![])));
    // As in the published lexicon vectors: the last two bits belong to no byte.
    let two = Value::Bytes(vec![0xd7, 0x6d]);
    assert_eq!(read(r#"{"$bytes":"123"}"#), Ok(two.clone()));
    assert_eq!(read(r#"{"$bytes":"123="}"#), Ok(two));
    for bad in [
        r#"{"$bytes":"-__-AQ"}"#,
        r#"{"$bytes":"+//+AQ="}"#,
        r#"{"$bytes":"+//+A"}"#,
        r#"{"$bytes":"+//+AQ\n"}"#,
        r#"{"$bytes":[1]}"#,
        r#"{"$bytes":"AA","x":1}"#,
        r#"{"x":1,"$bytes":"AA"}"#,
    ] {
        assert!(read(bad).is_err(), "{bad}");
    }
}

#[test]
fn numbers_are_integers_that_every_reader_keeps() {
    // DM-2, DM-3, DM-4
    for (text, n) in [
        ("0", 0),
        ("-0", 0),
        ("1.0", 1),
        ("1e3", 1_000),
        ("-12.50e1", -125),
        ("9007199254740991", SAFE_INTEGER_MAX),
        ("-9007199254740991", -SAFE_INTEGER_MAX),
    ] {
        assert_eq!(read(text), Ok(Value::Integer(n)), "{text}");
    }
    assert_eq!(refusal("1.5"), "number 1.5 is not an integer; floats are not allowed");
    for text in ["9007199254740992", "-9007199254740992", "18446744073709551615", "1e16", "-1e300"] {
        assert!(refusal(text).ends_with("is not within ±9007199254740991"), "{text}");
    }
    for text in ["1e400", "NaN", "Infinity", "01", "+1", ".5"] {
        assert!(read(text).is_err(), "{text}");
    }
}

#[test]
fn a_key_occurs_once() {
    // DM-21
    assert_eq!(refusal(r#"{"a":1,"b":2,"a":1}"#), r#"key "a" occurs twice"#);
    assert_eq!(refusal(r#"{"a":1,"\u0061":1}"#), r#"key "a" occurs twice"#);
}

#[test]
fn the_prototype_of_javascript_is_no_key() {
    assert_eq!(refusal(r#"{"a":{"__proto__":{}}}"#), r#"key "__proto__" is not allowed"#);
    assert!(read(r#"{"__proto":1,"proto__":"__proto__"}"#).is_ok());
}

#[test]
fn text_is_unicode() {
    // DM-8, CB-9
    assert_eq!(read(r#""\ud83d\ude00""#), Ok(Value::String("😀".to_owned())));
    assert!(read(r#""\ud83d""#).is_err());
    assert!(from_slice(b"\"\xff\"").is_err());
}

#[test]
fn nesting_ends_at_32_levels() {
    // DM-18
    let nested = |levels: usize, inner: &str| format!("{}{inner}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(read(&nested(DEPTH_MAX, "1")).is_ok());
    assert!(read(&nested(DEPTH_MAX, r#"{"$bytes":"AA"}"#)).is_ok());
    for too_deep in [nested(DEPTH_MAX, "[]"), nested(DEPTH_MAX, "{}"), nested(DEPTH_MAX, r#"{"a":1}"#)] {
        assert_eq!(refusal(&too_deep), "more than 32 levels of nesting");
    }
    assert!(read(&"[".repeat(100_000)).is_err());
    assert!(read(&r#"{"a":"#.repeat(100_000)).is_err());
}

#[test]
fn containers_and_keys_have_a_largest_size() {
    // DM-18
    let array = |items: usize| format!("[{}0]", "0,".repeat(items - 1));
    assert!(read(&array(CONTAINER_ELEMENTS_MAX)).is_ok());
    assert!(read(&array(CONTAINER_ELEMENTS_MAX + 1)).is_err());
    let object = |key_bytes: usize| format!(r#"{{"{}":0}}"#, "a".repeat(key_bytes));
    assert!(read(&object(MAP_KEY_BYTES_MAX)).is_ok());
    assert!(read(&object(MAP_KEY_BYTES_MAX + 1)).is_err());
}

proptest! {
    #[test]
    fn json_and_cbor_hold_the_same(value in arbitrary::value()) {
        let text = serde_json::to_vec(&value).unwrap();
        prop_assert_eq!(from_slice(&text).unwrap(), value.clone());
        prop_assert_eq!(from_json(&to_json(&value)).unwrap(), value.clone());
        prop_assert_eq!(cbor::decode(&cbor::encode(&value)).unwrap(), value);
    }

    #[test]
    fn no_text_makes_it_panic(text in "[\\[\\]{}\",:$a-z0-9.e\\\\-]{0,40}") {
        if let Ok(value) = from_slice(text.as_bytes()) {
            prop_assert_eq!(cbor::decode(&cbor::encode(&value)), Ok(value));
        }
    }
}
