//! DAG-CBOR is canonical: what decodes encodes to the very same bytes (CB-1 to CB-12).
#![no_main]

use atproto::data::cbor;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(value) = cbor::decode(bytes) {
        assert_eq!(cbor::encode(&value), bytes);
    }
    if let Ok((value, length)) = cbor::decode_prefix(bytes) {
        assert_eq!(cbor::encode(&value), &bytes[..length]);
    }
});
