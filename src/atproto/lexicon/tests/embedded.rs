//! The schemas that come with the program.

use proptest::prelude::*;

use super::*;
use crate::lexicon::embedded::DOCUMENTS;

const POST: &str = "app.bsky.feed.post";

/// A record that uses most of what a post can have.
fn post() -> Json {
    let link = |cid: &str| json!({ "$link": cid });
    let strong_ref = json!({
        "uri": "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/app.bsky.feed.post/3kznmn7xqxl22",
        "cid": "bafyreiclp443lavogvhj3d2ob2cxbfuscni2k5jk7bebjzg7khl3esabwq",
    });
    json!({
        "$type": POST,
        "text": "hello 👩‍👩‍👦‍👦 @a.example",
        "createdAt": "2024-01-02T03:04:05.678Z",
        "langs": ["en", "pt-BR"],
        "tags": ["one"],
        "reply": { "root": strong_ref, "parent": strong_ref },
        "facets": [{
            "index": { "byteStart": 0, "byteEnd": 5 },
            "features": [
                { "$type": "app.bsky.richtext.facet#mention", "did": "did:web:a.example" },
                { "$type": "com.example.feature", "anything": [1] },
            ],
        }],
        "labels": { "$type": "com.atproto.label.defs#selfLabels", "values": [{ "val": "x" }] },
        "embed": {
            "$type": "app.bsky.embed.images",
            "images": [{
                "alt": "",
                "aspectRatio": { "width": 4, "height": 3 },
                "image": {
                    "$type": "blob",
                    "ref": link("bafkreibjfgx2gprinfvicegelk5kosd6y2frmqpqzwqkg7usac74l3t2v4"),
                    "mimeType": "image/png",
                    "size": 9,
                },
            }],
        },
    })
}

fn check_post(post: &Value) -> Result<Verdict, ValidationError> {
    Catalog::embedded().validate_value(POST, post)
}

#[test]
fn the_embedded_schemas_are_complete_and_small() {
    let catalog = Catalog::embedded();
    for node in &catalog.nodes {
        assert!(!matches!(node, Node::Missing(_)), "{node:?} is referred to and not embedded");
    }
    assert!(size_of::<Node>() <= 24, "a node is {} bytes", size_of::<Node>());
    assert!(catalog.nodes.len() < 2_000, "{} nodes", catalog.nodes.len());
}

#[test]
fn every_record_type_of_the_reference_is_known() {
    let mut known: Vec<_> = Catalog::embedded().records.keys().map(AsRef::as_ref).collect();
    known.sort_unstable();
    assert_eq!(
        known,
        [
            "app.bsky.actor.profile",
            "app.bsky.actor.status",
            "app.bsky.feed.generator",
            "app.bsky.feed.like",
            "app.bsky.feed.post",
            "app.bsky.feed.postgate",
            "app.bsky.feed.repost",
            "app.bsky.feed.threadgate",
            "app.bsky.graph.block",
            "app.bsky.graph.follow",
            "app.bsky.graph.list",
            "app.bsky.graph.listblock",
            "app.bsky.graph.listitem",
            "app.bsky.graph.starterpack",
            "app.bsky.graph.verification",
            "app.bsky.labeler.service",
            "app.bsky.notification.declaration",
            "chat.bsky.actor.declaration",
            "com.atproto.lexicon.schema",
            "com.germnetwork.declaration",
        ]
    );
}

#[test]
fn methods_are_listed_with_their_kind() {
    let methods: BTreeMap<_, _> = Catalog::embedded().methods().collect();
    assert_eq!(methods["com.atproto.sync.subscribeRepos"], "subscription");
    assert_eq!(methods["com.atproto.repo.createRecord"], "procedure");
    assert_eq!(methods["com.atproto.identity.resolveHandle"], "query");
}

#[test]
fn a_post_is_valid_and_each_broken_field_is_named() {
    assert_eq!(check_post(&value(post())), Ok(Verdict::Valid));
    for (pointer, wrong, path) in [
        ("/text", json!("a".repeat(3_001)), "Record/text"),
        ("/text", json!("é".repeat(301)), "Record/text"),
        ("/createdAt", json!("yesterday"), "Record/createdAt"),
        ("/langs", json!(["en", "en", "en", "en"]), "Record/langs"),
        ("/reply/root/cid", json!("x"), "Record/reply/root/cid"),
        ("/facets/0/index/byteStart", json!(-1), "Record/facets/0/index/byteStart"),
        ("/facets/0/features/0/did", json!("x"), "Record/facets/0/features/0/did"),
        ("/embed/images/0/image/mimeType", json!("text/plain"), "Record/embed/images/0/image"),
        ("/embed/images/0/image/size", json!(1_000_000_000), "Record/embed/images/0/image"),
    ] {
        let mut broken = post();
        *broken.pointer_mut(pointer).unwrap() = wrong;
        assert_eq!(check_post(&value(broken)).unwrap_err().path, path);
    }
    let key = RecordKey::parse("self").unwrap();
    let error = Catalog::embedded().validate_record(POST, &key, &value(post())).unwrap_err();
    assert_eq!(error.to_string(), "Record key \"self\" must be a TID");
}

/// Any value of the data model, a few levels deep.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Integer),
        ".{0,12}".prop_map(Value::String),
        prop_oneof![Just("blob"), Just(POST), Just("app.bsky.embed.images")]
            .prop_map(|text| Value::String(text.to_owned())),
        proptest::collection::vec(any::<u8>(), 0..8).prop_map(Value::Bytes),
        any::<[u8; 4]>().prop_map(|bytes| Value::Link(crate::data::cid::for_raw(&bytes))),
    ];
    let name = prop_oneof!["[a-z$]{0,6}", Just("$type".to_owned()), Just("size".to_owned())];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            proptest::collection::btree_map(name.clone(), inner, 0..6).prop_map(|entries| {
                Value::Map(Map::from_entries(entries.into_iter().collect()).unwrap())
            }),
        ]
    })
}

/// Every place of a value, as the steps that lead there.
fn places(value: &Value) -> Vec<Vec<String>> {
    let children: Vec<(String, &Value)> = match value {
        Value::Map(map) => map.iter().map(|(name, child)| (name.to_owned(), child)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(n, child)| (n.to_string(), child)).collect(),
        _ => Vec::new(),
    };
    let mut found = vec![Vec::new()];
    for (step, child) in children {
        for mut place in places(child) {
            place.insert(0, step.clone());
            found.push(place);
        }
    }
    found
}

fn at<'a>(value: &'a mut Value, place: &[String]) -> &'a mut Value {
    place.iter().fold(value, |value, step| match value {
        Value::Map(map) => map.get_mut(step).unwrap(),
        Value::Array(items) => &mut items[step.parse::<usize>().unwrap()],
        _ => panic!("no place"),
    })
}

proptest! {
    #[test]
    fn a_mutated_post_never_panics_and_a_fault_is_at_or_around_the_mutation(
        pick in any::<prop::sample::Index>(),
        replacement in any_value(),
    ) {
        let mut mutated = value(post());
        let places = places(&mutated);
        let place = &places[pick.index(places.len())];
        *at(&mut mutated, place) = replacement;
        if let Err(error) = check_post(&mutated) {
            let path = format!("Record/{}", place.join("/"));
            let path = path.trim_end_matches('/');
            prop_assert!(
                error.path.starts_with(path) || path.starts_with(&error.path),
                "{error} after a change at {path}"
            );
        }
    }

    /// LX-6
    #[test]
    fn a_post_stays_valid_under_unknown_extra_fields(
        pick in any::<prop::sample::Index>(),
        name in "zz[a-z]{1,8}",
        extra in any_value(),
    ) {
        let mut extended = value(post());
        let maps: Vec<_> = places(&extended)
            .into_iter()
            .filter(|place| matches!(at(&mut extended, place), Value::Map(_)))
            .collect();
        let place = &maps[pick.index(maps.len())];
        if let Value::Map(map) = at(&mut extended, place) {
            map.insert(name, extra);
        }
        prop_assert_eq!(check_post(&extended), Ok(Verdict::Valid));
    }

    #[test]
    fn arbitrary_values_never_panic(any in any_value()) {
        for nsid in Catalog::embedded().records.keys() {
            let _ = Catalog::embedded().validate_value(nsid, &any);
        }
        for nsid in Catalog::embedded().methods.keys() {
            let _ = Catalog::embedded().validate_output(nsid, &any);
        }
    }
}

/// Each file of the folder has its line in the table, and each line its file.
#[test]
fn the_table_and_the_folder_of_schemas_agree() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("lexicon/schemas");
    let mut files = Vec::new();
    let mut dirs = vec![root.clone()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => dirs.push(path),
                false => files.push(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned()),
            }
        }
    }
    files.sort_unstable();
    let table: Vec<_> = DOCUMENTS.iter().map(|(file, _)| *file).collect();
    assert_eq!(table, files);
    for (file, text) in DOCUMENTS {
        let document: Json = serde_json::from_str(text).unwrap();
        let id = document["id"].as_str().unwrap();
        assert_eq!(format!("{}.json", id.replace('.', "/")), *file);
    }
}
