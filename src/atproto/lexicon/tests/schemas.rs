//! Which schemas load: LX-1 to LX-14.

use super::*;

fn refused(defs: Json) -> String {
    match document(defs) {
        Err(SchemaError { id, problem }) => {
            assert_eq!(id, "com.example.record");
            problem
        }
        Ok(_) => panic!("it loaded"),
    }
}

/// LX-1
#[test]
fn a_document_has_version_id_and_a_definition() {
    let whole = json!({ "lexicon": 1, "id": "com.example.record", "defs": { "a": { "type": "integer" } } });
    assert!(Catalog::from_documents([whole.clone()]).is_ok());
    for (field, wrong) in [
        ("lexicon", json!(2)),
        ("lexicon", json!("1")),
        ("id", json!("record")),
        ("id", json!(2)),
        ("defs", json!({})),
        ("defs", json!([])),
    ] {
        let mut document = whole.clone();
        document[field] = wrong;
        assert!(Catalog::from_documents([document.clone()]).is_err(), "{document}");
        document.as_object_mut().unwrap().remove(field);
        assert!(Catalog::from_documents([document.clone()]).is_err(), "{document}");
    }
    assert!(Catalog::from_documents([json!([])]).is_err());
    assert!(Catalog::from_documents([whole.clone(), whole]).is_err(), "one id, two documents");
}

/// LX-1
#[test]
fn a_primary_type_is_named_main() {
    let query = json!({ "type": "query" });
    assert!(document(json!({ "main": query })).is_ok());
    assert!(refused(json!({ "other": query })).contains("main"));
    let record = json!({ "type": "record", "key": "any", "record": { "type": "object" } });
    assert!(refused(json!({ "other": record })).contains("main"));
}

/// LX-2
#[test]
fn some_types_cannot_be_definitions() {
    for kind in ["unknown", "ref", "union", "params", "permission", "float"] {
        let problem = refused(json!({ "a": { "type": kind, "ref": "#a", "refs": [] } }));
        assert!(problem.starts_with("defs/a must not be"), "{problem}");
    }
}

/// LX-4, LX-5
#[test]
fn limits_and_constants_of_a_type_agree_with_each_other() {
    for (kind, constraint) in [
        ("string", json!({ "minLength": 3, "maxLength": 2 })),
        ("string", json!({ "minGraphemes": 3, "maxGraphemes": 2 })),
        ("string", json!({ "maxLength": -1 })),
        ("string", json!({ "maxLength": "9" })),
        ("string", json!({ "format": "email" })),
        ("string", json!({ "enum": [1] })),
        ("string", json!({ "knownValues": "a" })),
        ("string", json!({ "default": "a", "const": "a" })),
        ("string", json!({ "default": 1 })),
        ("integer", json!({ "minimum": 3, "maximum": 2 })),
        ("integer", json!({ "minimum": 0.5 })),
        ("integer", json!({ "default": 1, "const": 1 })),
        ("integer", json!({ "enum": ["a"] })),
        ("boolean", json!({ "const": "true" })),
        ("boolean", json!({ "default": true, "const": true })),
        ("bytes", json!({ "minLength": 3, "maxLength": 2 })),
        ("array", json!({})),
        ("array", json!({ "items": { "type": "record" } })),
        ("array", json!({ "items": { "type": "integer" }, "minLength": 3, "maxLength": 2 })),
        ("blob", json!({ "accept": ["*"] })),
        ("blob", json!({ "accept": ["image/p*"] })),
        ("blob", json!({ "maxSize": -1 })),
    ] {
        let mut property = constraint;
        property["type"] = json!(kind);
        assert!(record_of(json!({ "a": property })).is_err(), "{property}");
    }
}

/// LX-6
#[test]
fn required_and_nullable_name_properties() {
    let object = |field: &str, name: &str| {
        let mut object = json!({ "type": "object", "properties": { "a": { "type": "null" } } });
        object[field] = json!([name]);
        record_with(object)
    };
    for field in ["required", "nullable"] {
        assert!(object(field, "a").is_ok());
        assert!(object(field, "b").is_err());
    }
}

/// LX-7
#[test]
fn a_reference_names_a_definition_that_describes_a_value() {
    let to = |reference: &str| record_of(json!({ "a": { "type": "ref", "ref": reference } }));
    for reference in
        ["#thing", "#small", "com.example.record#thing", "com.example.record", "com.example.far#away"]
    {
        assert!(to(reference).is_ok(), "{reference}");
    }
    for reference in ["#word", "#nothing", "thing", "", "#", "com.example.record#nothing"] {
        assert!(to(reference).is_err(), "{reference}");
    }
}

/// LX-8
#[test]
fn a_union_holds_objects_and_is_empty_only_when_open() {
    let union = |refs: Json, closed: bool| {
        record_of(json!({ "a": { "type": "union", "refs": refs, "closed": closed } }))
    };
    assert!(union(json!(["#thing", "#other"]), true).is_ok());
    assert!(union(json!([]), false).is_ok());
    assert!(union(json!([]), true).is_err());
    assert!(union(json!(["#small"]), false).is_err());
    assert!(union(json!(["#word"]), false).is_err());
    assert!(record_of(json!({ "a": { "type": "union" } })).is_err());
}

/// LX-11, ID-2
#[test]
fn a_record_has_a_key_type_and_an_object() {
    let record = |key: &str, kind: &str| {
        document(json!({ "main": { "type": "record", "key": key, "record": { "type": kind } } }))
    };
    for key in ["tid", "nsid", "any", "literal:self"] {
        assert!(record(key, "object").is_ok(), "{key}");
    }
    for key in ["", "uuid", "literal:", "literal:a/b", "literal:.."] {
        assert!(record(key, "object").is_err(), "{key}");
    }
    assert!(record("any", "unknown").is_err());
    assert!(document(json!({ "main": { "type": "record", "key": "any" } })).is_err());
}

/// LX-14
#[test]
fn parameters_are_plain_values_and_never_null() {
    let params = |properties: Json| {
        document(json!({ "main": {
            "type": "query",
            "parameters": { "type": "params", "properties": properties },
        }}))
    };
    let plain = json!({
        "a": { "type": "boolean" },
        "b": { "type": "integer" },
        "c": { "type": "array", "items": { "type": "string" } },
    });
    assert!(params(plain).is_ok());
    for kind in ["bytes", "unknown", "object", "cid-link", "blob", "null"] {
        assert!(params(json!({ "a": { "type": kind } })).is_err(), "{kind}");
        assert!(params(json!({ "a": { "type": "array", "items": { "type": kind } } })).is_err(), "{kind}");
    }
    let nullable = json!({ "type": "params", "properties": {}, "nullable": [] });
    assert!(document(json!({ "main": { "type": "query", "parameters": nullable } })).is_err());
}

#[test]
fn bodies_of_methods_have_an_encoding_and_an_object() {
    let procedure = |input: Json| document(json!({ "main": { "type": "procedure", "input": input } }));
    assert!(procedure(json!({ "encoding": "*/*" })).is_ok());
    assert!(procedure(json!({ "encoding": "application/json", "schema": { "type": "object" } })).is_ok());
    assert!(procedure(json!({ "schema": { "type": "object" } })).is_err());
    assert!(procedure(json!({ "encoding": "application/json", "schema": { "type": "string" } })).is_err());
    let subscription = json!({ "type": "subscription", "message": { "schema": { "type": "object" } } });
    assert!(document(json!({ "main": subscription })).is_err());
    let nameless = json!({ "type": "query", "errors": [{}] });
    assert!(document(json!({ "main": nameless })).is_err());
}

#[test]
fn a_permission_set_lists_permissions() {
    let set = |permissions: Json| {
        document(json!({ "main": { "type": "permission-set", "permissions": permissions } }))
    };
    assert!(set(json!([{ "type": "permission", "resource": "repo" }])).is_ok());
    assert!(set(json!([{ "type": "permission" }])).is_err());
    assert!(set(json!([{ "type": "integer", "resource": "repo" }])).is_err());
    assert!(set(json!({})).is_err());
}

#[test]
fn types_nested_past_the_limit_are_refused_without_recursing_into_them() {
    let nested = |levels: usize| {
        (0..levels).fold(json!({ "type": "integer" }), |inner, _| json!({ "type": "array", "items": inner }))
    };
    assert!(document(json!({ "a": nested(30) })).is_ok());
    assert!(refused(json!({ "a": nested(60) })).contains("nested deeper"));
}

#[test]
fn a_fault_names_its_place() {
    let problem = refused(json!({ "a": {
        "type": "object",
        "properties": { "b": { "type": "array", "items": { "type": "string", "format": "x" } } },
    }}));
    assert_eq!(problem, "defs/a/properties/b/items/format \"x\" is no string format");
}
