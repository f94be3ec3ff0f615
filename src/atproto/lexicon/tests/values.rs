//! Which values are valid: LX-3 to LX-15.

use super::*;

const CID: &str = "bafkreibjfgx2gprinfvicegelk5kosd6y2frmqpqzwqkg7usac74l3t2v4";
const FAMILY: &str = "👩‍👩‍👦‍👦";

/// Checks each value of property `a`, which has this type, and expects it to be valid or not.
fn expect(property: Json, valid: &[Json], invalid: &[Json]) {
    let catalog = record_of(json!({ "a": property })).unwrap();
    for json in valid {
        let result = check(&catalog, json!({ "a": json }));
        assert_eq!(result, Ok(Verdict::Valid), "{property} {json}");
    }
    for json in invalid {
        let error = check(&catalog, json!({ "a": json })).expect_err(&format!("{property} {json}"));
        assert!(error.path.starts_with("Record/a"), "{error}");
    }
}

/// LX-4
#[test]
fn string_length_is_in_bytes_and_graphemes_are_clusters() {
    let text = |n: usize| json!("é".repeat(n));
    let limits = json!({ "type": "string", "minLength": 4, "maxLength": 6 });
    expect(limits, &[text(2), text(3)], &[text(1), text(4), json!(4)]);
    let family = |n: usize| json!(FAMILY.repeat(n));
    let limits = json!({ "type": "string", "minGraphemes": 2, "maxGraphemes": 3 });
    expect(limits, &[family(2), family(3), json!("ab")], &[family(1), family(4), json!("a"), json!("abcd")]);
}

/// LX-4
#[test]
fn enum_and_const_are_closed_and_known_values_open() {
    expect(json!({ "type": "string", "enum": ["a", "b"] }), &[json!("a")], &[json!("c"), json!("")]);
    expect(json!({ "type": "string", "const": "a" }), &[json!("a")], &[json!("b")]);
    expect(json!({ "type": "string", "knownValues": ["a"] }), &[json!("a"), json!("b")], &[json!(1)]);
    expect(json!({ "type": "string", "default": "a" }), &[json!("b")], &[json!(null)]);
}

/// LX-5
#[test]
fn plain_types_take_their_own_kind_within_limits() {
    expect(
        json!({ "type": "integer", "minimum": -1, "maximum": 2 }),
        &[json!(-1), json!(2)],
        &[json!(-2), json!(3), json!("1"), json!(true)],
    );
    expect(json!({ "type": "integer", "enum": [4, 9] }), &[json!(9)], &[json!(5)]);
    expect(json!({ "type": "integer", "const": 42 }), &[json!(42)], &[json!(41)]);
    expect(json!({ "type": "boolean" }), &[json!(true), json!(false)], &[json!(0), json!("true")]);
    expect(json!({ "type": "boolean", "const": true }), &[json!(true)], &[json!(false)]);
    expect(json!({ "type": "null" }), &[json!(null)], &[json!(0), json!({})]);
    expect(
        json!({ "type": "bytes", "minLength": 1, "maxLength": 2 }),
        &[json!({ "$bytes": "AA" }), json!({ "$bytes": "AAA" })],
        &[json!({ "$bytes": "" }), json!({ "$bytes": "AAAA" }), json!("AA")],
    );
    expect(json!({ "type": "cid-link" }), &[json!({ "$link": CID })], &[json!(CID), json!({})]);
    expect(
        json!({ "type": "array", "items": { "type": "integer" }, "minLength": 1, "maxLength": 2 }),
        &[json!([1]), json!([1, 2])],
        &[json!([]), json!([1, 2, 3]), json!(["a"]), json!({ "0": 1 })],
    );
}

/// LX-6
#[test]
fn a_required_field_is_there_and_null_is_no_absence() {
    let catalog = record_with(json!({
        "type": "object",
        "required": ["a", "b"],
        "nullable": ["b"],
        "properties": {
            "a": { "type": "integer" },
            "b": { "type": "integer" },
            "c": { "type": "integer" },
        },
    }))
    .unwrap();
    assert!(check(&catalog, json!({ "a": 1, "b": 1 })).is_ok());
    assert!(check(&catalog, json!({ "a": 1, "b": null, "unknown": "kept" })).is_ok());
    assert!(check(&catalog, json!({ "a": null, "b": 1 })).is_err());
    assert!(check(&catalog, json!({ "a": 1, "b": 1, "c": null })).is_err());
    let error = check(&catalog, json!({ "a": 1 })).unwrap_err();
    assert_eq!(error.to_string(), "Record must have the property \"b\"");
}

/// LX-7
#[test]
fn a_reference_is_as_good_as_what_it_names() {
    expect(json!({ "type": "ref", "ref": "#small" }), &[json!(9)], &[json!(10)]);
    expect(
        json!({ "type": "ref", "ref": "com.example.record#thing" }),
        &[json!({ "n": 1 }), json!({})],
        &[json!({ "n": "1" }), json!(1)],
    );
    expect(json!({ "type": "ref", "ref": "com.example.far#away" }), &[], &[json!({}), json!(1)]);
}

/// LX-3, LX-8
#[test]
fn a_union_is_told_by_its_type() {
    let thing = json!({ "$type": "com.example.record#thing", "n": 1 });
    let broken_thing = json!({ "$type": "com.example.record#thing", "n": "1" });
    let stranger = json!({ "$type": "com.example.other" });
    let wrong = [
        broken_thing,
        json!({ "n": 1 }),
        json!({ "$type": "blob", "ref": { "$link": CID }, "mimeType": "a/b", "size": 1 }),
        json!({ "$type": "com.example.far#main" }),
        json!(1),
    ];
    let union = |closed: bool| json!({ "type": "union", "refs": ["#thing"], "closed": closed });
    expect(union(false), &[thing.clone(), stranger.clone()], &wrong);
    expect(union(true), &[thing], &[stranger]);
    expect(union(true), &[], &wrong);
    expect(json!({ "type": "union", "refs": [] }), &[json!({ "$type": "com.example.any" })], &[json!({})]);
}

/// LX-9
#[test]
fn unknown_is_a_map_that_is_no_wrapper() {
    let blob = json!({ "$type": "blob", "ref": { "$link": CID }, "mimeType": "a/b", "size": 1 });
    expect(
        json!({ "type": "unknown" }),
        &[json!({}), json!({ "a": [null, { "b": 1 }] })],
        &[json!(false), json!("a"), json!([]), json!({ "$link": CID }), json!({ "$bytes": "AA" }), blob],
    );
}

/// LX-10, DM-17
#[test]
fn a_blob_is_a_modern_reference_of_an_accepted_type_and_size() {
    let blob = |mime_type: &str, size: i64| json!({ "$type": "blob", "ref": { "$link": CID }, "mimeType": mime_type, "size": size });
    let without = |field: &str| {
        let mut blob = blob("image/png", 9);
        blob.as_object_mut().unwrap().remove(field);
        blob
    };
    expect(
        json!({ "type": "blob", "accept": ["image/*", "text/plain"], "maxSize": 9 }),
        &[blob("image/png", 9), blob("text/plain", 1)],
        &[
            blob("image/png", 10),
            blob("text/html", 1),
            json!({ "cid": CID, "mimeType": "image/png" }),
            json!({ "$link": CID }),
            json!(CID),
        ],
    );
    let catalog = record_of(json!({ "a": { "type": "blob" } })).unwrap();
    for field in ["$type", "ref", "mimeType", "size"] {
        // Without a schema the data model refuses some of these already (DM-16).
        if let Ok(blob) = json::from_json(&without(field)) {
            let mut record = value(json!({ "$type": "com.example.record" }));
            let Value::Map(map) = &mut record else { panic!() };
            map.insert("a", blob);
            assert!(catalog.validate_value("com.example.record", &record).is_err(), "{field}");
        }
    }
}

/// LX-12, LX-13
#[test]
fn formats_are_those_of_the_identifiers() {
    for (format, valid, invalid) in [
        ("at-identifier", "did:web:a.example", "a"),
        ("at-uri", "at://a.example/com.example.record/self", "https://a.example"),
        ("cid", CID, "cid"),
        ("datetime", "1985-04-12T23:20:50.123Z", "1985-04-12 23:20:50Z"),
        ("did", "did:plc:ewvi7nxzyoun6zhxrhs64oiz", "plc:ewvi7nxzyoun6zhxrhs64oiz"),
        ("handle", "a.example", "did:web:a.example"),
        ("language", "pt-BR", "_"),
        ("nsid", "com.example.record", "com.example"),
        ("record-key", "self", "a/b"),
        ("tid", "3kznmn7xqxl22", "0000000000000"),
        ("uri", "https://a.example/x", "a.example"),
    ] {
        expect(json!({ "type": "string", "format": format }), &[json!(valid)], &[json!(invalid)]);
    }
}

/// LX-11
#[test]
fn a_record_names_its_own_type() {
    let catalog = record_of(json!({})).unwrap();
    let validate = |json: Json| catalog.validate_value("com.example.record", &value(json));
    assert_eq!(validate(json!({ "$type": "com.example.record" })), Ok(Verdict::Valid));
    assert!(validate(json!({})).is_err());
    assert!(validate(json!({ "$type": "com.example.other" })).is_err());
    assert!(validate(json!({ "$type": "com.example.record#main" })).is_err());
    assert!(validate(json!([])).is_err());
    let unknown = catalog.validate_value("com.example.other", &value(json!({})));
    assert_eq!(unknown, Ok(Verdict::Unknown));
}

/// LX-11, ID-2
#[test]
fn a_record_key_follows_its_key_type() {
    for (key, valid, invalid) in [
        ("tid", "3kznmn7xqxl22", "self"),
        ("nsid", "com.example.record", "self"),
        ("literal:self", "self", "3kznmn7xqxl22"),
    ] {
        let main = json!({ "type": "record", "key": key, "record": { "type": "object" } });
        let catalog = document(json!({ "main": main })).unwrap();
        let record = value(json!({ "$type": "com.example.record" }));
        let validate = |rkey: &str| {
            catalog.validate_record("com.example.record", &RecordKey::parse(rkey).unwrap(), &record)
        };
        assert_eq!(validate(valid), Ok(Verdict::Valid));
        assert_eq!(validate(invalid).unwrap_err().path, "Record key");
    }
}

#[test]
fn bodies_of_a_method_are_checked_and_unknown_methods_are_said_to_be() {
    let schema = json!({ "type": "object", "required": ["a"], "properties": { "a": { "type": "integer" } } });
    let body = json!({ "encoding": "application/json", "schema": schema });
    let catalog = document(json!({ "main": {
        "type": "procedure",
        "parameters": { "type": "params", "required": ["a"], "properties": { "a": { "type": "integer" } } },
        "input": body,
        "output": body,
    }}))
    .unwrap();
    let nsid = "com.example.record";
    for part in [Part::Params, Part::Input, Part::Output] {
        let validate = |json: Json| catalog.validate_part(nsid, part, &value(json));
        assert_eq!(validate(json!({ "a": 1 })), Ok(Verdict::Valid), "{part:?}");
        assert!(validate(json!({})).unwrap_err().path.starts_with(&format!("{part:?}")));
    }
    assert!(catalog.validate_output(nsid, &value(json!({}))).is_err());
    assert_eq!(catalog.validate_part(nsid, Part::Message, &value(json!({}))), Ok(Verdict::Valid));
    assert_eq!(catalog.validate_output("com.example.other", &value(json!({}))), Ok(Verdict::Unknown));
    assert_eq!(catalog.methods().collect::<Vec<_>>(), [(nsid, "procedure")]);
}

#[test]
fn a_schema_that_refers_to_itself_is_followed_only_as_deep_as_allowed() {
    let catalog = document(json!({
        "main": {
            "type": "record",
            "key": "any",
            "record": { "type": "object", "properties": { "a": { "type": "ref", "ref": "#node" } } },
        },
        "node": {
            "type": "object",
            "properties": { "next": { "type": "union", "refs": ["#node"] } },
        },
    }))
    .unwrap();
    let nested = |levels: u32| {
        let mut inner = Map::new();
        for _ in 0..levels {
            let mut outer = Map::new();
            outer.insert("$type", Value::String("com.example.record#node".to_owned()));
            outer.insert("next", Value::Map(inner));
            inner = outer;
        }
        let mut record = Map::new();
        record.insert("$type", Value::String("com.example.record".to_owned()));
        record.insert("a", Value::Map(inner));
        Value::Map(record)
    };
    // The innermost map has no `$type`, so what fails below is the limit and nothing else.
    let error =
        |levels| catalog.validate_value("com.example.record", &nested(levels)).unwrap_err().to_string();
    assert!(error(10).ends_with("includes the \"$type\" property"));
    assert!(error(VALUE_DEPTH_MAX + 10).contains("nested deeper than 64"));
}

#[test]
fn a_path_leads_to_the_fault() {
    let thing = json!({ "type": "ref", "ref": "#thing" });
    let catalog = record_of(json!({ "list": { "type": "array", "items": thing } })).unwrap();
    let error = check(&catalog, json!({ "list": [{}, { "n": "x" }] })).unwrap_err();
    assert_eq!(error.to_string(), "Record/list/1/n must be an integer");
}
