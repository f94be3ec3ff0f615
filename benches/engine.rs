//! What the write and export paths cost in the engine alone: `cargo bench --bench engine`.
//!
//! `tree_insert/stored` is the commit path: open a stored tree at its root, load what one insert
//! needs, and collect the changes. `tree_insert/loaded` is the same insert into a tree that is in
//! memory as a whole. Not for: anything that touches a disk; see `benches/repo.rs`.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::HashMap, convert::Infallible, hint::black_box, iter, time::Duration};

use atproto::{
    crypto::{Curve, SigningKey},
    data::{Cid, Map, Value, cbor, cid},
    mst::{Builder, NoNodes, NodeSource, Place, PlacedNode, Tree},
    repo::{Commit, RecordWrite, apply_writes, car},
    syntax::{Did, RepoPath, Tid},
};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const SIZES: [u64; 3] = [1_000, 100_000, 1_000_000];

/// The path of the `n`th record: posts of one account, a second apart.
fn path(n: u64) -> RepoPath {
    let rkey = Tid::from_parts(1_700_000_000_000_000 + n * 1_000_000, 7);
    format!("app.bsky.feed.post/{rkey}").parse().unwrap()
}

fn record_cid(n: u64) -> Cid {
    cid::for_cbor(&n.to_be_bytes())
}

/// Nodes by CID.
struct Nodes(HashMap<Cid, Vec<u8>>);

impl NodeSource for Nodes {
    type Error = Infallible;

    fn node(&mut self, _place: &Place, cid: &Cid) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.0.get(cid).cloned())
    }
}

fn build(records: &[(RepoPath, Cid)]) -> (Cid, Nodes) {
    let mut nodes = HashMap::new();
    let root = build_into(records, &mut |node| drop(nodes.insert(node.cid, node.block)));
    (root, Nodes(nodes))
}

fn build_into(records: &[(RepoPath, Cid)], emit: &mut impl FnMut(PlacedNode)) -> Cid {
    let mut builder = Builder::new();
    for (path, cid) in records {
        builder.push(path.as_str().as_bytes(), *cid, emit).unwrap();
    }
    builder.finish(emit)
}

fn records(size: u64) -> Vec<(RepoPath, Cid)> {
    (0..size).map(|n| (path(2 * n), record_cid(n))).collect()
}

fn tree(c: &mut Criterion) {
    for size in SIZES {
        let records = records(size);
        let (root, mut nodes) = build(&records);

        let mut group = c.benchmark_group("tree_insert");
        // Odd numbers are between the records; steps of a large prime spread them.
        let mut paths = (0u64..).map(|i| path(2 * (i * 15_485_863 % size) + 1));
        group.bench_function(BenchmarkId::new("stored", size), |b| {
            b.iter_batched(
                || vec![RecordWrite::Create { path: paths.next().unwrap(), cid: record_cid(1) }],
                |writes| {
                    let mut tree = Tree::open(root, &nodes.0[&root]).unwrap();
                    apply_writes(&mut tree, &writes, &mut nodes).unwrap()
                },
                BatchSize::SmallInput,
            );
        });

        let mut tree = Tree::empty();
        for (path, cid) in &records {
            tree.insert(path.as_str().as_bytes(), *cid, &mut NoNodes).unwrap();
        }
        assert_eq!(tree.root(), root);
        group.bench_function(BenchmarkId::new("loaded", size), |b| {
            b.iter_custom(|n| {
                // An insert and its undoing, to keep the size: half of it is one change.
                let work: Vec<_> = paths.by_ref().take(n as usize).collect();
                let start = std::time::Instant::now();
                for path in &work {
                    let key = path.as_str().as_bytes();
                    tree.insert(key, record_cid(1), &mut NoNodes).unwrap();
                    black_box(tree.root());
                    tree.remove(key, &mut NoNodes).unwrap();
                    black_box(tree.root());
                }
                start.elapsed() / 2
            });
        });
        group.finish();

        let mut group = c.benchmark_group("tree_build");
        group.throughput(Throughput::Elements(size));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| build_into(&records, &mut |node| drop(black_box(node))));
        });
        group.finish();
    }
}

fn commit(c: &mut Criterion) {
    let did = Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap();
    let (data, rev) = (record_cid(1), Tid::from_parts(1_700_000_000_000_000, 7));
    for (name, curve) in [("k256", Curve::K256), ("p256", Curve::P256)] {
        let key = SigningKey::from_bytes(curve, &[7; 32]).unwrap();
        c.bench_function(&format!("commit_sign/{name}"), |b| {
            b.iter(|| Commit::sign(did.clone(), data, rev, &key).encode());
        });
        let (commit, public) = (Commit::sign(did.clone(), data, rev, &key), key.public_key());
        c.bench_function(&format!("commit_verify/{name}"), |b| {
            b.iter(|| commit.verify(&public).unwrap());
        });
    }
}

/// A post as clients write it.
fn post(n: i64) -> Value {
    let text = |text: &str| Value::String(text.to_owned());
    let map = |entries: Vec<(&str, Value)>| {
        let entries = entries.into_iter().map(|(key, value)| (key.to_owned(), value));
        Value::Map(Map::from_entries(entries.collect()).unwrap())
    };
    let parent = map(vec![
        ("uri", text("at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/app.bsky.feed.post/3jzfcijpj2z2a")),
        ("cid", text("bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm")),
    ]);
    let link = map(vec![
        ("$type", text("app.bsky.richtext.facet#link")),
        ("uri", text("https://example.com/a/page")),
    ]);
    let index = map(vec![("byteStart", Value::Integer(n)), ("byteEnd", Value::Integer(n + 20))]);
    let facet = map(vec![("index", index), ("features", Value::Array(vec![link]))]);
    map(vec![
        ("$type", text("app.bsky.feed.post")),
        ("text", text("A post of ordinary length, with a link to https://example.com/a/page in it.")),
        ("langs", Value::Array(vec![text("en")])),
        ("facets", Value::Array(vec![facet])),
        ("reply", map(vec![("root", parent.clone()), ("parent", parent)])),
        ("createdAt", text("2026-01-02T03:04:05.678Z")),
    ])
}

fn codecs(c: &mut Criterion) {
    let value = post(1);
    let block = cbor::encode(&value);
    let mut group = c.benchmark_group("cbor_post");
    group.throughput(Throughput::Bytes(block.len() as u64));
    group.bench_function("encode", |b| b.iter(|| cbor::encode(black_box(&value))));
    group.bench_function("decode", |b| b.iter(|| cbor::decode(black_box(&block)).unwrap()));
    group.finish();

    let blocks: Vec<_> =
        (0..10_000).map(|n| cbor::encode(&post(n))).map(|block| (cid::for_cbor(&block), block)).collect();
    let root = blocks[0].0;
    let encode = || car::encode(&[root], blocks.iter().map(|(cid, block)| (cid, &**block)));
    let bytes = encode();
    let mut group = c.benchmark_group("car_10k_blocks");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("encode", |b| b.iter(encode));
    group.bench_function("decode", |b| {
        b.iter(|| {
            let mut decoder = car::Decoder::new(1 << 20);
            for piece in bytes.chunks(64 * 1024) {
                decoder.push(piece);
                iter::from_fn(|| decoder.next_item().unwrap()).for_each(|item| drop(black_box(item)));
            }
            decoder.finish().unwrap();
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = tree, commit, codecs
}
criterion_main!(benches);
