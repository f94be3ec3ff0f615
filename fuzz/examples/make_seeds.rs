//! Makes the starting corpus in `fuzz/seeds/`: small, valid, and covering every shape that the decoders know. All of it is
//! made up here; nothing is copied from a real repository.

use std::{collections::BTreeMap, fs, io, path::Path};

use atproto::{
    crypto::{Curve, SigningKey},
    data::{Cid, Map, Value, cbor, cid, json},
    event::{self, Frame},
    mst::Builder,
    repo::{Action, Commit, RepoOp, car},
    syntax::{Datetime, Did, Handle, RepoPath, Tid},
};

type Seeds = Vec<(String, Vec<u8>)>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let values = values()?;
    let repo = Repo::build(&values)?;
    write(
        "cbor",
        values
            .iter()
            .map(|(name, value)| ((*name).to_owned(), cbor::encode(value)))
            .collect(),
    )?;
    write(
        "json",
        values
            .iter()
            .map(|(name, value)| {
                (
                    (*name).to_owned(),
                    json::to_json(value).to_string().into_bytes(),
                )
            })
            .collect(),
    )?;
    write("mst_node", repo.nodes.clone())?;
    write("car", repo.cars())?;
    write("frame", repo.frames()?)?;
    Ok(())
}

fn write(target: &str, seeds: Seeds) -> io::Result<()> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("seeds")
        .join(target);
    fs::create_dir_all(&dir)?;
    for (name, bytes) in seeds {
        fs::write(dir.join(name), bytes)?;
    }
    Ok(())
}

fn map(entries: Vec<(&str, Value)>) -> Result<Value, String> {
    Map::from_entries(
        entries
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    )
    .map(Value::Map)
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

/// One value of each kind, and records that put them together.
fn values() -> Result<Vec<(&'static str, Value)>, String> {
    let blob = cid::for_raw(b"a picture");
    Ok(vec![
        ("null", Value::Null),
        ("true", Value::Bool(true)),
        ("zero", Value::Integer(0)),
        (
            "integers",
            Value::Array(
                [23, 24, 255, 256, 65_536, -1, -25, i64::MAX, i64::MIN]
                    .map(Value::Integer)
                    .to_vec(),
            ),
        ),
        ("text", text("héllo 👋")),
        ("bytes", Value::Bytes(vec![0, 1, 2, 255])),
        ("link", Value::Link(cid::for_cbor(b"\xa0"))),
        ("empty-map", Value::Map(Map::new())),
        (
            "nested",
            Value::Array(vec![Value::Array(vec![map(vec![
                ("a", Value::Null),
                ("bb", Value::Array(Vec::new())),
            ])?])]),
        ),
        (
            "record",
            map(vec![
                ("$type", text("com.example.note")),
                ("text", text("A note")),
                ("createdAt", text("2026-01-02T03:04:05.678Z")),
                ("langs", Value::Array(vec![text("en")])),
                (
                    "image",
                    map(vec![
                        ("$type", text("blob")),
                        ("ref", Value::Link(blob)),
                        ("mimeType", text("image/png")),
                        ("size", Value::Integer(9)),
                    ])?,
                ),
            ])?,
        ),
    ])
}

/// A small signed repository with a tree of more than one level.
struct Repo {
    did: Did,
    rev: Tid,
    commit: (Cid, Vec<u8>),
    data: Cid,
    record: (Cid, Vec<u8>),
    nodes: Seeds,
    blocks: BTreeMap<Cid, Vec<u8>>,
}

impl Repo {
    fn build(values: &[(&str, Value)]) -> Result<Repo, Box<dyn std::error::Error>> {
        let record = values
            .last()
            .map(|(_, value)| cbor::encode(value))
            .ok_or("no values")?;
        let record = (cid::for_cbor(&record), record);
        let (mut nodes, mut blocks) = (Vec::new(), BTreeMap::from([record.clone()]));
        let mut builder = Builder::new();
        let mut emit = |node: atproto::mst::PlacedNode| {
            nodes.push((
                format!("node-{}-{}", node.place.depth, nodes.len()),
                node.block.clone(),
            ));
            blocks.insert(node.cid, node.block);
        };
        for n in 0..40 {
            builder.push(
                format!("com.example.note/{n:03}").as_bytes(),
                record.0,
                &mut emit,
            )?;
        }
        let data = builder.finish(&mut emit);
        nodes.push(("empty".to_owned(), {
            let mut empty = Vec::new();
            Builder::new().finish(&mut |node| empty = node.block);
            empty
        }));
        let did = Did::parse("did:web:example.com")?;
        let rev = Tid::from_parts(1_767_323_045_678_000, 1);
        let key = SigningKey::from_bytes(Curve::K256, &[1; 32])?;
        let commit = Commit::sign(did.clone(), data, rev, &key).encode();
        let commit = (cid::for_cbor(&commit), commit);
        blocks.insert(commit.0, commit.1.clone());
        Ok(Repo {
            did,
            rev,
            commit,
            data,
            record,
            nodes,
            blocks,
        })
    }

    fn car(&self) -> Vec<u8> {
        car::encode(
            &[self.commit.0],
            self.blocks
                .iter()
                .map(|(cid, block)| (cid, block.as_slice())),
        )
    }

    /// The first byte of the input of target `car` says how the rest is cut into pieces.
    fn cars(&self) -> Seeds {
        let whole = self.car();
        let cut = whole[..whole.len() / 2].to_vec();
        let empty = car::encode(&[], []);
        [("whole", whole), ("truncated", cut), ("no-roots", empty)]
            .into_iter()
            .map(|(name, mut car)| {
                car.push(7);
                (name.to_owned(), car)
            })
            .collect()
    }

    fn frames(&self) -> Result<Seeds, Box<dyn std::error::Error>> {
        let (seq, time) = (1, Datetime::from_micros(1_767_323_045_678_000));
        let (did, rev) = (self.did.clone(), self.rev);
        let commit = event::Commit {
            seq,
            time: time.clone(),
            repo: did.clone(),
            commit: self.commit.0,
            rev,
            since: Some(rev),
            prev_data: Some(self.data),
            blocks: self.car(),
            ops: vec![RepoOp {
                action: Action::Update,
                path: RepoPath::parse("com.example.note/001")?,
                cid: Some(self.record.0),
                prev: Some(self.record.0),
            }],
        };
        let blocks = car::encode(
            &[self.commit.0],
            [(&self.commit.0, self.commit.1.as_slice())],
        );
        let handle = Some(Handle::parse("alice.example.com")?);
        let message = Some("a message".to_owned());
        let frames = [
            ("commit", Frame::Commit(commit)),
            (
                "sync",
                Frame::Sync(event::Sync {
                    seq,
                    time: time.clone(),
                    did: did.clone(),
                    rev,
                    blocks,
                }),
            ),
            (
                "identity",
                Frame::Identity(event::Identity {
                    seq,
                    time: time.clone(),
                    did: did.clone(),
                    handle,
                }),
            ),
            (
                "account",
                Frame::Account(event::Account {
                    seq,
                    time,
                    did,
                    active: false,
                    status: Some("deactivated".into()),
                }),
            ),
            (
                "info",
                Frame::Info(event::Info {
                    name: "OutdatedCursor".into(),
                    message: message.clone(),
                }),
            ),
            (
                "error",
                Frame::Error(event::ErrorFrame {
                    error: "FutureCursor".into(),
                    message,
                }),
            ),
        ];
        Ok(frames
            .into_iter()
            .map(|(name, frame)| (name.to_owned(), frame.encode()))
            .collect())
    }
}
