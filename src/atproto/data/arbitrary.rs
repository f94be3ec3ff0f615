//! Values for property tests.

use proptest::{collection::vec, prelude::*};

use super::{Map, SAFE_INTEGER_MAX, Value, cid};

/// Any value whose integers are exact in JSON and whose keys are none of the JSON wrappers.
pub fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        prop_oneof![-300..300i64, -SAFE_INTEGER_MAX..=SAFE_INTEGER_MAX].prop_map(Value::Integer),
        "\\PC{0,30}".prop_map(Value::String),
        vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
        (any::<bool>(), any::<u64>()).prop_map(|(raw, seed)| {
            let block = seed.to_be_bytes();
            Value::Link(if raw { cid::for_raw(&block) } else { cid::for_cbor(&block) })
        }),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        let entry = ("[a-zA-Zé$]{0,4}", inner.clone());
        prop_oneof![
            vec(inner, 0..8).prop_map(Value::Array),
            vec(entry, 0..8).prop_map(|entries| {
                let mut map = Map::new();
                for (key, value) in entries {
                    map.insert(key, value);
                }
                Value::Map(map)
            }),
        ]
    })
}
