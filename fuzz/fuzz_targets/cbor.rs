//! DAG-CBOR is canonical: what decodes encodes to the very same bytes (CB-1 to CB-12), and what does not is
//! not written as JSON either.
#![no_main]

use atproto::data::{cbor, json};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(value) = cbor::decode(bytes) {
        assert_eq!(cbor::encode(&value), bytes);
    }
    let mut text = String::new();
    assert_eq!(json::write_cbor(bytes, &mut text), cbor::decode(bytes).map(|_| ()));
    if let Ok((value, length)) = cbor::decode_prefix(bytes) {
        assert_eq!(cbor::encode(&value), &bytes[..length]);
    }
});
