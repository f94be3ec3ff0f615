//! JSON to the data model and back: a value survives the trip through JSON, and through CBOR.
#![no_main]

use atproto::data::{cbor, json};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(value) = json::from_slice(bytes) {
        let again = json::from_json(&json::to_json(&value)).expect("our own JSON can be read");
        assert_eq!(again, value);
        assert_eq!(
            cbor::decode(&cbor::encode(&value)).expect("our own CBOR can be read"),
            value
        );
    }
});
