//! `car/`: whole repos with what is known about them, and exact bytes.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    fs,
    path::Path,
};

use atproto::{
    crypto::{self, PublicKey},
    data::{Cid, cid, json as data_json},
    mst::{self, Builder, NodeSource, Place, Walk},
    repo::{Commit, CommitError, CommitHeader, car},
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::report::{Outcome, cases, ensure, ensure_eq, files, from_base64, json, name, signing_key, text};

pub fn run(dir: &Path) -> Outcome {
    let mut outcome = Outcome::default();
    for file in files(dir) {
        match name(&file) {
            n if n.ends_with(".car") => {
                let expected = file.with_file_name(format!("{n}.expected.json"));
                match expected.is_file() {
                    true => outcome.check(&file, "repo", whole_repo(&file, &json(&expected))),
                    false => outcome.skip("CAR without expected facts"),
                }
                match known_signature(&file) {
                    Some(result) => outcome.check(&file, "signature", result),
                    None => outcome.skip("CAR without a known key"),
                }
            }
            n if n.ends_with(".records.tsv") => outcome.check(&file, "listing", records(&file)),
            n if n.ends_with("_record.json") => outcome.check(&file, "record", record(&file)),
            n if n.ends_with("fixtures.json") => {
                for (idx, case) in cases(&file).iter().enumerate() {
                    outcome.check(&file, idx, exact_bytes(case));
                }
            }
            n if n.ends_with(".expected.json") => {}
            n => outcome.skip(format!("unknown file {n}")),
        }
    }
    outcome
}

/// A CAR file, taken apart.
struct Repo {
    roots: Vec<Cid>,
    blocks: BTreeMap<Cid, Vec<u8>>,
    n_sections: usize,
    header: CommitHeader,
}

impl Repo {
    /// Reads in small pieces, as a stream would come (CAR-11).
    fn read(file: &Path) -> Result<Repo, String> {
        let bytes = fs::read(file).map_err(|e| e.to_string())?;
        let mut decoder = car::Decoder::new(1 << 20);
        let (mut roots, mut blocks, mut n_sections) = (Vec::new(), BTreeMap::new(), 0);
        for piece in bytes.chunks(1000) {
            decoder.push(piece);
            while let Some(item) = decoder.next_item().map_err(|e| e.to_string())? {
                match item {
                    car::Item::Header { roots: found } => roots = found,
                    car::Item::Block { cid, data } => {
                        n_sections += 1;
                        blocks.insert(cid, data.to_vec());
                    }
                }
            }
        }
        decoder.finish().map_err(|e| e.to_string())?;
        let commit = roots.first().and_then(|root| blocks.get(root)).ok_or("no commit")?;
        let header = CommitHeader::decode(commit).map_err(|e| e.to_string())?;
        Ok(Repo { roots, blocks, n_sections, header })
    }

    fn commit_block(&self) -> &[u8] {
        &self.blocks[&self.roots[0]]
    }

    /// Records in key order and the nodes seen, as far as there are any.
    fn walk(&self) -> (Listing, BTreeSet<Cid>, Result<(), mst::Error>) {
        let mut source = Seen { blocks: &self.blocks, seen: BTreeSet::new() };
        let mut walk = Walk::new(self.header.data);
        let mut listing = Vec::new();
        let end = loop {
            match walk.next(&mut source) {
                Ok(Some((key, value))) => listing.push((String::from_utf8_lossy(&key).into_owned(), value)),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        (listing, source.seen, end)
    }
}

/// Path and CID of each record.
type Listing = Vec<(String, Cid)>;

/// A source that is told by the walk which nodes there are.
struct Seen<'b> {
    blocks: &'b BTreeMap<Cid, Vec<u8>>,
    seen: BTreeSet<Cid>,
}

impl NodeSource for Seen<'_> {
    type Error = Infallible;

    fn node(&mut self, _place: &Place, cid: &Cid) -> Result<Option<Vec<u8>>, Infallible> {
        let block = self.blocks.get(cid).cloned();
        if block.is_some() {
            self.seen.insert(*cid);
        }
        Ok(block)
    }
}

fn whole_repo(file: &Path, expected: &Value) -> Result<(), String> {
    let repo = Repo::read(file)?;
    let roots: Vec<_> = repo.roots.iter().map(Cid::to_string).collect();
    ensure_eq("roots", serde_json::json!(roots), expected["roots"].clone())?;
    let duplicates = repo.n_sections - repo.blocks.len();
    ensure_eq("duplicates", Some(duplicates as u64), expected["duplicate_blocks"].as_u64())?;
    commit(&repo, &expected["commit"])?;

    let (listing, nodes, end) = repo.walk();
    let mst = &expected["mst"];
    if mst["missing_nodes"].as_u64() != Some(0) {
        return match end {
            Err(mst::Error::MissingNode(cid)) => {
                ensure(!repo.blocks.contains_key(&cid), "a node is there and was not found")
            }
            other => Err(format!("a node is missing, and the walk said {other:?}")),
        };
    }
    end.map_err(|e| e.to_string())?;
    ensure_eq("keys", Some(listing.len() as u64), mst["keys"].as_u64())?;
    ensure_eq("nodes", Some(nodes.len() as u64), mst["nodes"].as_u64())?;
    let present = listing.iter().filter(|(_, cid)| repo.blocks.contains_key(cid)).count();
    ensure_eq("records", Some(present as u64), mst["records_present"].as_u64())?;
    let lines: String = listing.iter().map(|(path, cid)| format!("{path}\t{cid}\n")).collect();
    let digest: String = Sha256::digest(lines).iter().map(|b| format!("{b:02x}")).collect();
    ensure_eq("listing", digest.as_str(), text(expected, "key_listing_sha256")?)?;

    let mut builder = Builder::new();
    let mut rebuilt = BTreeSet::new();
    let mut emit = |node: mst::PlacedNode| {
        rebuilt.insert(node.cid);
    };
    for (path, cid) in &listing {
        builder.push(path.as_bytes(), *cid, &mut emit).map_err(|e| e.to_string())?;
    }
    ensure_eq("root of the tree built anew", builder.finish(&mut emit), repo.header.data)?;
    ensure(rebuilt == nodes, "the tree built anew has other nodes")
}

/// RP-5, RP-6, RP-15: every header is read, version 3 strictly too, others are refused by name.
fn commit(repo: &Repo, expected: &Value) -> Result<(), String> {
    let header = &repo.header;
    ensure_eq("did", header.did.as_str(), text(expected, "did")?)?;
    ensure_eq("data", header.data.to_string().as_str(), text(expected, "data")?)?;
    ensure_eq("version", Some(header.version), expected["version"].as_i64())?;
    let prev = header.prev.map(|cid| cid.to_string());
    ensure_eq("prev", prev.as_deref(), expected["prev"].as_str())?;
    let rev = header.rev.map(|rev| rev.to_string());
    ensure_eq("rev", rev.as_deref(), expected["rev"].as_str())?;
    match (header.version, Commit::decode(repo.commit_block())) {
        (3, Ok(commit)) => {
            ensure(commit.encode() == repo.commit_block(), "the commit is encoded differently")
        }
        (3, Err(error)) => Err(error.to_string()),
        (version, Err(CommitError::Version(found))) => ensure_eq("version", found, version),
        (version, other) => Err(format!("version {version} gave {other:?}")),
    }
}

/// Keys and results that the notes on the vectors give. `None`: nothing is known of this one.
fn known_signature(file: &Path) -> Option<Result<(), String>> {
    let dir = file.parent()?.parent()?;
    let doc = |name: &str| json_at(&dir.join("identity").join(name));
    let plc_log = dir.join("plc/valid/log_bnewbold_robocracy.json");
    let (key, want) = match name(file) {
        // CR-3: valid, but high-S.
        "indigo-fakermaker-v2.car" => {
            (signing_key(&doc("fakermaker.didDoc.json")?), Err(crypto::Error::HighS))
        }
        "indigo-paul_staging-v2.car" => (signing_key(&doc("paul_staging.didDoc.json")?), Ok(())),
        "indigo-greenground-v3.car" => (signing_key(&doc("greenground.didDoc.json")?), Ok(())),
        n if n.starts_with("bnewbold.robocracy.org") => {
            let log = json_at(&plc_log)?;
            let key = log.as_array()?.last()?["operation"]["verificationMethods"]["atproto"]
                .as_str()
                .map(PublicKey::from_did_key)?;
            (key.map_err(|e| e.to_string()), Ok(()))
        }
        _ => return None,
    };
    Some(key.and_then(|key| {
        let got = Repo::read(file)?.header.verify(&key);
        ensure_eq("signature", got, want)
    }))
}

fn json_at(path: &Path) -> Option<Value> {
    path.is_file().then(|| json(path))
}

/// `path TAB cid` of every record of the CAR of the same name.
fn records(file: &Path) -> Result<(), String> {
    let car = file.with_file_name(name(file).replace(".records.tsv", ".car"));
    let listing = fs::read_to_string(file).map_err(|e| e.to_string())?;
    let (records, _, end) = Repo::read(&car)?.walk();
    end.map_err(|e| e.to_string())?;
    let got: BTreeSet<_> = records.iter().map(|(path, cid)| format!("{path}\t{cid}")).collect();
    ensure_eq("listing", got, listing.lines().map(str::to_owned).collect())
}

/// A record in JSON form, contained in a CAR whose name has the same beginning.
fn record(file: &Path) -> Result<(), String> {
    let case = json(file);
    let subject = name(file).trim_end_matches("_record.json");
    let dir = file.parent().expect("a file is in a folder");
    let is_car = |path: &&std::path::PathBuf| name(path).ends_with(".car") && name(path).contains(subject);
    let cars = files(dir);
    let car = cars.iter().find(is_car).ok_or("its CAR is not here")?;
    let value = data_json::from_json(&case["value"]).map_err(|e| e.to_string())?;
    let block = atproto::data::cbor::encode(&value);
    ensure_eq("CID", cid::for_cbor(&block).to_string().as_str(), text(&case, "cid")?)?;
    ensure(Repo::read(car)?.blocks.values().any(|found| *found == block), "the CAR does not hold the record")
}

/// CAR-1, both ways.
fn exact_bytes(case: &Value) -> Result<(), String> {
    let bytes = from_base64(text(case, "car")?)?;
    let root = cid::parse(text(case, "root")?).map_err(|e| e.to_string())?;
    let mut blocks = Vec::new();
    for block in case["blocks"].as_array().ok_or("no blocks")? {
        let cid = cid::parse(text(block, "cid")?).map_err(|e| e.to_string())?;
        blocks.push((cid, from_base64(text(block, "bytes")?)?));
    }
    let encoded = car::encode(&[root], blocks.iter().map(|(cid, data)| (cid, &**data)));
    ensure(encoded == bytes, "the CAR is encoded differently")?;
    let (roots, decoded) = car::decode(&bytes).map_err(|e| e.to_string())?;
    ensure_eq("roots", roots, vec![root])?;
    ensure(decoded == blocks.into_iter().collect(), "the CAR is decoded differently")
}
