//! The validator against another one: mutated records are judged by this engine and by the npm
//! package `@atproto/lexicon`, and the verdicts must agree but for the differences listed here.
//!
//! Needs Node and a folder whose `node_modules` holds the package, named by `ROOKERY_PEERS`: `./test.sh peers`
//! installs it and runs this with `--ignored`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use atproto::{data::json, lexicon::Catalog};
use serde_json::{Value, json};

const CASES: usize = 20_000;

/// Parts of our messages where the peer accepts, with the reason to refuse.
const STRICTER_HERE: &[(&str, &str)] = &[
    ("is not accepted here", "it does not look at the type of a blob (LX-10)"),
    ("bytes; at most", "it does not look at the size of a blob (LX-10)"),
    ("mimeType must be a string that is not empty", "it takes any text (DM-15)"),
    ("size must be an integer above zero", "it takes any number (DM-15)"),
    ("must be a blob", "it takes legacy blobs (DM-17)"),
    ("must leave out \"#main\"", "it takes #main for the name without it (LX-3)"),
    ("includes the \"$type\" property", "it takes an empty $type (DM-9)"),
    ("must be an object that is no blob", "it takes wrappers for maps (LX-9)"),
    ("$link", "it keeps a broken link as a map (DM-11)"),
];

/// Parts of the peer's messages where we accept, with the reason.
const LOOSER_HERE: &[(&str, &str)] =
    &[("must be a cid string", "it reads base32 and base58 only; the published vectors have more (CID-5)")];

#[test]
#[ignore = "needs an npm package; ./test.sh peers installs it and runs this"]
fn verdicts_agree_with_the_npm_package() {
    let peers = PathBuf::from(std::env::var_os("ROOKERY_PEERS").expect("ROOKERY_PEERS is set"));
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (seeds, replacements) = (seeds(), replacements());
    let cases: Vec<Value> = (0..CASES).map(|_| mutated(&mut random, &seeds, &replacements)).collect();
    let theirs = judged_by_peer(&peers, &cases);
    assert_eq!(theirs.len(), cases.len());

    let (mut n_valid, mut n_excused) = (0, 0);
    let mut differences = Vec::new();
    for (case, theirs) in cases.iter().zip(&theirs) {
        let ours = judged_here(case);
        match (ours.as_str(), theirs.as_str()) {
            ("valid", "valid") => n_valid += 1,
            (problem, "valid") if lists(STRICTER_HERE, problem) => n_excused += 1,
            ("valid", problem) if lists(LOOSER_HERE, problem) => n_excused += 1,
            ("valid", _) | (_, "valid") => {
                differences.push(format!("here: {ours}\n  peer: {theirs}\n  {case}"))
            }
            _ => {}
        }
    }
    println!("{CASES} cases, {n_valid} valid, {n_excused} differ for a listed reason");
    assert!(n_valid > CASES / 20, "the cases are hardly ever valid");
    assert!(
        differences.is_empty(),
        "{} differences, the first:\n{}",
        differences.len(),
        differences.iter().take(20).cloned().collect::<Vec<_>>().join("\n")
    );
}

fn lists(reasons: &[(&str, &str)], problem: &str) -> bool {
    reasons.iter().any(|(part, _)| problem.contains(part))
}

fn judged_here(case: &Value) -> String {
    let record = match json::from_json(&case["record"]) {
        Ok(record) => record,
        Err(problem) => return problem.to_string(),
    };
    match Catalog::embedded().validate_value(case["nsid"].as_str().unwrap(), &record) {
        Ok(_) => "valid".to_owned(),
        Err(problem) => problem.to_string(),
    }
}

fn judged_by_peer(peers: &Path, cases: &[Value]) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut node = Command::new("node")
        .arg(root.join("tests/peers/lexicon.mjs"))
        .arg(root.join("src/atproto/lexicon/schemas"))
        .arg(peers)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node runs");
    let mut stdin = node.stdin.take().unwrap();
    let input: String = cases.iter().map(|case| format!("{case}\n")).collect();
    // The script reads everything before it writes, so neither side waits for the other.
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success(), "the peer failed");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// xorshift64*: the same cases in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }
}

/// A valid record with zero to two places changed.
fn mutated(random: &mut Random, seeds: &[(&str, Value)], replacements: &[Value]) -> Value {
    let (nsid, mut record) = seeds[random.below(seeds.len())].clone();
    for _ in 0..random.below(3) {
        let places = places(&record, String::new());
        let place = &places[random.below(places.len())];
        let (parent, field) = place.rsplit_once('/').unwrap();
        // One in eight changes removes the field instead.
        match record.pointer_mut(parent) {
            Some(Value::Object(map)) if random.below(8) == 0 => drop(map.remove(field)),
            _ => {
                let replacement = replacements[random.below(replacements.len())].clone();
                *record.pointer_mut(place).unwrap() = replacement;
            }
        }
    }
    json!({ "nsid": nsid, "record": record })
}

/// Pointers to everything inside a record but its own `$type`.
fn places(value: &Value, at: String) -> Vec<String> {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(name, child)| (name.clone(), child)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(n, child)| (n.to_string(), child)).collect(),
        _ => Vec::new(),
    };
    let below = children.into_iter().flat_map(|(step, child)| places(child, format!("{at}/{step}")));
    let own = (!at.is_empty() && at != "/$type").then(|| at.clone());
    own.into_iter().chain(below).collect()
}

const CID: &str = "bafkreibjfgx2gprinfvicegelk5kosd6y2frmqpqzwqkg7usac74l3t2v4";
const DID: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";
const URI: &str = "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/app.bsky.feed.post/3kznmn7xqxl22";

fn seeds() -> Vec<(&'static str, Value)> {
    let now = "2024-01-02T03:04:05.678Z";
    let subject = json!({ "uri": URI, "cid": CID });
    let blob = json!({ "$type": "blob", "ref": { "$link": CID }, "mimeType": "image/png", "size": 9 });
    let labels = json!({ "$type": "com.atproto.label.defs#selfLabels", "values": [{ "val": "x" }] });
    vec![
        (
            "app.bsky.feed.post",
            json!({
                "$type": "app.bsky.feed.post", "text": "hello", "createdAt": now, "langs": ["en"],
                "tags": ["one"], "labels": labels, "reply": { "root": subject, "parent": subject },
                "facets": [{
                    "index": { "byteStart": 0, "byteEnd": 5 },
                    "features": [{ "$type": "app.bsky.richtext.facet#mention", "did": DID }],
                }],
                "embed": { "$type": "app.bsky.embed.images", "images": [{
                    "alt": "", "image": blob, "aspectRatio": { "width": 4, "height": 3 },
                }]},
            }),
        ),
        (
            "app.bsky.feed.like",
            json!({
                "$type": "app.bsky.feed.like", "subject": subject, "createdAt": now,
            }),
        ),
        (
            "app.bsky.graph.follow",
            json!({
                "$type": "app.bsky.graph.follow", "subject": DID, "createdAt": now,
            }),
        ),
        (
            "app.bsky.actor.profile",
            json!({
                "$type": "app.bsky.actor.profile", "displayName": "Alice", "description": "x",
                "avatar": blob, "labels": labels, "pinnedPost": subject, "createdAt": now,
            }),
        ),
        (
            "app.bsky.feed.threadgate",
            json!({
                "$type": "app.bsky.feed.threadgate", "post": URI, "createdAt": now,
                "allow": [{ "$type": "app.bsky.feed.threadgate#listRule", "list": URI }],
                "hiddenReplies": [URI],
            }),
        ),
        (
            "app.bsky.feed.generator",
            json!({
                "$type": "app.bsky.feed.generator", "did": "did:web:a.example", "displayName": "x",
                "createdAt": now, "acceptsInteractions": true, "avatar": blob,
            }),
        ),
        (
            "com.germnetwork.declaration",
            json!({
                "$type": "com.germnetwork.declaration", "version": "1.0.0",
                "currentKey": { "$bytes": "AAAA" }, "keyPackage": { "$bytes": "AAAA" },
                "messageMe": { "messageMeUrl": "https://a.example", "showButtonTo": "none" },
            }),
        ),
    ]
}

/// Values that some rule takes and another refuses.
fn replacements() -> Vec<Value> {
    vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1),
        json!(1_000_000_000),
        json!(""),
        json!("x"),
        json!("a.example"),
        json!(DID),
        json!(URI),
        json!(CID),
        json!([]),
        json!({}),
        json!([1]),
        json!("en"),
        json!("en-GB"),
        json!("_"),
        json!("https://a.example/x"),
        json!("http:"),
        json!("2024-02-30T00:00:00Z"),
        json!("2024-01-01T00:00:00+01:00"),
        json!("2024-01-01T00:00:00-00:00"),
        json!("2024-01-01 00:00:00Z"),
        json!("2024-01-01T00:00Z"),
        json!("x".repeat(65)),
        json!("é".repeat(300)),
        json!("é".repeat(301)),
        json!("👩‍👩‍👦‍👦".repeat(64)),
        json!("👩‍👩‍👦‍👦".repeat(65)),
        json!("x".repeat(3_001)),
        json!({ "$link": CID }),
        json!({ "$bytes": "AAAA" }),
        json!({ "$type": "com.example.other" }),
        json!({ "$type": "app.bsky.embed.images#main" }),
        json!({ "$type": "" }),
        json!({ "$type": "app.bsky.feed.threadgate#mentionRule" }),
        json!({ "uri": URI, "cid": CID }),
        json!({ "$type": "blob", "ref": { "$link": CID }, "mimeType": "text/plain", "size": 9 }),
        json!({ "$type": "blob", "ref": { "$link": CID }, "mimeType": "image/png", "size": 9_000_000 }),
        json!({ "cid": CID, "mimeType": "image/png" }),
        json!([{ "val": "x" }, { "val": "y" }]),
    ]
}
