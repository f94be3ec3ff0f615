//! A repository made from nothing but its size: likes, posts and follows as clients write them, each different.
//!
//! Records are made again whenever they are needed. Memory: the nodes of the tree, some 150 MB per million records.

use std::{cmp::Reverse, io::Write};

use anyhow::{Context as _, Result};
use atproto::{
    crypto::SigningKey,
    data::{BlobRef, Cid, Map, Value, cbor, cid},
    mst::{Builder, PlacedNode},
    repo::{Commit, car},
    syntax::{Did, Tid},
};
use multibase::Base;

/// The first record is of November 2023; they are a second apart.
const FIRST_MICROS: u64 = 1_700_000_000_000_000;
const STEP_MICROS: u64 = 1_000_000;
/// Every so many posts have an image.
const POSTS_PER_IMAGE: u64 = 10;

/// A signed repository whose blocks can be written out.
pub struct Repo {
    did: Did,
    n_records: u64,
    commit: Vec<u8>,
    /// In depth-first order.
    nodes: Vec<PlacedNode>,
}

/// The order of the blocks in a CAR.
#[derive(Clone, Copy, Debug)]
pub enum BlockOrder {
    /// Depth first, as servers write it.
    PreOrder,
    /// By CID: as good as random.
    Cid,
}

/// Where a block comes from.
#[derive(Clone, Copy)]
enum Block {
    Commit,
    Node(usize),
    Record(u64),
}

impl Repo {
    /// Makes the tree of `n_records` records and signs its commit.
    pub fn generate(did: Did, n_records: u64, key: &SigningKey) -> Result<Repo> {
        let mut nodes = Vec::new();
        let mut emit = |node| nodes.push(node);
        let mut builder = Builder::new();
        for n in 0..n_records {
            let body = record(&did, n, n_records)?;
            builder.push(path(n, n_records).as_bytes(), cid::for_cbor(&body), &mut emit)?;
        }
        let data = builder.finish(&mut emit);
        nodes.sort_unstable_by(|a, b| {
            (&a.place.low, Reverse(a.place.depth)).cmp(&(&b.place.low, Reverse(b.place.depth)))
        });
        let rev = Tid::from_parts(FIRST_MICROS + n_records * STEP_MICROS, 1);
        let commit = Commit::sign(did.clone(), data, rev, key).encode();
        Ok(Repo { did, n_records, commit, nodes })
    }

    /// Writes the CAR; returns the number of its blocks.
    pub fn write(&self, order: BlockOrder, out: &mut impl Write) -> Result<usize> {
        let mut blocks = self.blocks();
        if let BlockOrder::Cid = order {
            let mut keyed = Vec::with_capacity(blocks.len());
            for block in blocks {
                keyed.push((digest_prefix(&self.load(block)?.0), block));
            }
            keyed.sort_unstable_by_key(|(digest, _)| *digest);
            blocks = keyed.into_iter().map(|(_, block)| block).collect();
        }
        out.write_all(&car::encode_header(&[cid::for_cbor(&self.commit)]))?;
        let mut buffer = Vec::new();
        for block in &blocks {
            let (cid, bytes) = self.load(*block)?;
            car::encode_block(&cid, &bytes, &mut buffer);
            out.write_all(&buffer)?;
            buffer.clear();
        }
        Ok(blocks.len())
    }

    /// All blocks, depth first: a node stands after the record that its `low` names and before the next one.
    fn blocks(&self) -> Vec<Block> {
        let mut blocks = vec![Block::Commit];
        let mut nodes = self.nodes.iter().enumerate().peekable();
        let mut last = String::new();
        for n in 0..=self.n_records {
            while let Some((idx, _)) = nodes.next_if(|(_, node)| *node.place.low <= *last.as_bytes()) {
                blocks.push(Block::Node(idx));
            }
            if n < self.n_records {
                blocks.push(Block::Record(n));
                last = path(n, self.n_records);
            }
        }
        blocks
    }

    fn load(&self, block: Block) -> Result<(Cid, Vec<u8>)> {
        let bytes = match block {
            Block::Commit => self.commit.clone(),
            Block::Node(idx) => self.nodes.get(idx).context("no such node")?.block.clone(),
            Block::Record(n) => record(&self.did, n, self.n_records)?,
        };
        Ok((cid::for_cbor(&bytes), bytes))
    }
}

/// A did:plc that belongs to nobody, made from any bytes.
pub fn did_from(seed: &[u8]) -> Result<Did> {
    let hash = Base::Base32Lower.encode(cid::for_raw(seed).hash().digest());
    let name = hash.get(..24).context("a hash is longer")?;
    Ok(Did::parse(&format!("did:plc:{name}"))?)
}

fn digest_prefix(cid: &Cid) -> u64 {
    cid.hash().digest().iter().take(8).fold(0, |prefix, byte| prefix << 8 | u64::from(*byte))
}

/// What the `n`th record of `n_records` is; collections in the order of their names.
#[derive(Clone, Copy)]
enum Kind {
    Like,
    Post,
    Follow,
}

fn kind(n: u64, n_records: u64) -> Kind {
    match n * 10 / n_records.max(1) {
        0..6 => Kind::Like,
        6..9 => Kind::Post,
        _ => Kind::Follow,
    }
}

/// The path of the `n`th record; ascends with `n`.
fn path(n: u64, n_records: u64) -> String {
    format!("{}/{}", collection(kind(n, n_records)), tid(n))
}

fn collection(kind: Kind) -> &'static str {
    match kind {
        Kind::Like => "app.bsky.feed.like",
        Kind::Post => "app.bsky.feed.post",
        Kind::Follow => "app.bsky.graph.follow",
    }
}

fn tid(n: u64) -> Tid {
    Tid::from_parts(FIRST_MICROS + n * STEP_MICROS, 7)
}

/// The block of the `n`th record.
fn record(did: &Did, n: u64, n_records: u64) -> Result<Vec<u8>> {
    let kind = kind(n, n_records);
    let mut fields = vec![
        ("$type", text(collection(kind))),
        ("createdAt", text(format!("2026-01-02T03:04:05.{:06}Z", n % 1_000_000))),
    ];
    match kind {
        Kind::Like => fields.push(("subject", subject(n)?)),
        Kind::Follow => fields.push(("subject", text(did_from(&n.to_be_bytes())?.as_str()))),
        Kind::Post => {
            fields.push(("text", text(format!("Post {n} of {did}, as long as most of them are."))));
            fields.push(("langs", Value::Array(vec![text("en")])));
            if n.is_multiple_of(POSTS_PER_IMAGE) {
                fields.push(("embed", image(n)?));
            }
        }
    }
    Ok(cbor::encode(&map(fields)?))
}

fn subject(n: u64) -> Result<Value> {
    let author = did_from(&n.to_be_bytes())?;
    map(vec![
        ("uri", text(format!("at://{author}/app.bsky.feed.post/{}", tid(n)))),
        ("cid", text(cid::for_cbor(&n.to_be_bytes()).to_string())),
    ])
}

fn image(n: u64) -> Result<Value> {
    let blob = BlobRef { cid: cid::for_raw(&n.to_be_bytes()), mime_type: "image/png".into(), size: 8 };
    let image = map(vec![("alt", text("An image that was never uploaded")), ("image", blob.to_value())])?;
    map(vec![("$type", text("app.bsky.embed.images")), ("images", Value::Array(vec![image]))])
}

fn text(text: impl Into<String>) -> Value {
    Value::String(text.into())
}

fn map(fields: Vec<(&str, Value)>) -> Result<Value> {
    let fields = fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    Ok(Value::Map(Map::from_entries(fields).map_err(anyhow::Error::msg)?))
}
