//! `firehose/`: frames from the network, commits in JSON form, and relay scenarios.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use atproto::{
    crypto::PublicKey,
    data::{Value as DataValue, cbor, json as data_json},
    event::{self, Frame},
    repo::{Action, RepoOp, car, verify_commit_event, verify_sync_event},
    syntax::Tid,
};
use serde_json::Value;

use super::report::{Outcome, ensure, ensure_eq, files, json, lines, name, signing_key, text};

pub fn run(dir: &Path) -> Outcome {
    let mut outcome = Outcome::default();
    let docs_file = dir.join("did_docs.json");
    let docs = if docs_file.is_file() { json(&docs_file) } else { Value::Null };
    let (frames, others): (Vec<PathBuf>, Vec<PathBuf>) =
        files(dir).into_iter().partition(|file| name(file).ends_with(".frame"));

    let mut read = Vec::new();
    for file in &frames {
        let frame = fs::read(file).map_err(|e| e.to_string()).and_then(|b| network_frame(&b, &docs));
        outcome.check(file, "frame", frame.as_ref().map(drop).map_err(String::clone));
        read.extend(frame);
    }
    for file in &others {
        let in_folder = |folder: &str| file.parent().is_some_and(|parent| name(parent) == folder);
        match name(file) {
            "did_docs.json" => {}
            n if n.starts_with("expected") && n.ends_with(".jsonl") => {
                expected_events(&mut outcome, file, &read);
            }
            n if n.ends_with(".json") && in_folder("commit-json") => {
                outcome.check(file, "commit", old_commit(&json(file)));
            }
            n if n.ends_with(".json") && in_folder("relay-scenarios") => {
                scenario(&mut outcome, file);
            }
            n => outcome.skip(format!("unknown file {n}")),
        }
    }
    outcome
}

/// Decodes, encodes again to the same bytes, and checks what a consumer checks (SY-23).
fn network_frame(bytes: &[u8], docs: &Value) -> Result<Frame, String> {
    let frame = Frame::decode(bytes).map_err(|e| e.to_string())?;
    ensure(frame.encode() == bytes, "the frame is encoded differently")?;
    if let Frame::Commit(commit) = &frame {
        let doc = docs.get(commit.repo.as_str()).ok_or("no DID document")?;
        verify_commit_event(commit, Some(&signing_key(doc)?)).map_err(|e| e.to_string())?;
    }
    Ok(frame)
}

/// What another consumer made of the same frames: the record of each op, or the event.
fn expected_events(outcome: &mut Outcome, file: &Path, frames: &[Frame]) {
    let mut ops: BTreeMap<(String, String, String), (&event::Commit, &RepoOp)> = BTreeMap::new();
    for frame in frames {
        if let Frame::Commit(commit) = frame {
            for op in &commit.ops {
                let key = (commit.repo.to_string(), commit.rev.to_string(), op.path.to_string());
                ops.insert(key, (commit, op));
            }
        }
    }
    for line in lines(file) {
        let event: Value = serde_json::from_str(&line).expect("a JSON line");
        let did = event["did"].as_str().unwrap_or_default().to_owned();
        let result = match event["kind"].as_str() {
            Some("commit") => {
                let commit = &event["commit"];
                let field = |name: &str| commit[name].as_str().unwrap_or_default().to_owned();
                let path = format!("{}/{}", field("collection"), field("rkey"));
                match ops.get(&(did.clone(), field("rev"), path)) {
                    Some((event, op)) => expected_op(event, op, commit),
                    None => Err("no frame has this op".to_owned()),
                }
            }
            Some(kind @ ("account" | "identity")) => {
                let seq = event[kind]["seq"].as_i64();
                ensure(frames.iter().any(|frame| seq_of(frame) == seq), "no frame has this seq")
            }
            _ => {
                outcome.skip("event of another kind");
                continue;
            }
        };
        outcome.check(file, did, result);
    }
}

fn seq_of(frame: &Frame) -> Option<i64> {
    match frame {
        Frame::Commit(commit) => Some(commit.seq),
        Frame::Sync(sync) => Some(sync.seq),
        Frame::Identity(identity) => Some(identity.seq),
        Frame::Account(account) => Some(account.seq),
        Frame::Info(_) | Frame::Error(_) | Frame::Unknown { .. } => None,
    }
}

fn expected_op(event: &event::Commit, op: &RepoOp, expected: &Value) -> Result<(), String> {
    let action = match op.action {
        Action::Create => "create",
        Action::Update => "update",
        Action::Delete => "delete",
    };
    ensure_eq("action", action, text(expected, "operation")?)?;
    let cid = op.cid.map(|cid| cid.to_string());
    ensure_eq("cid", cid.as_deref(), expected["cid"].as_str())?;
    let Some(cid) = op.cid else { return Ok(()) };
    let (_, blocks) = car::decode(&event.blocks).map_err(|e| e.to_string())?;
    let block = blocks.get(&cid).ok_or("the record is missing")?;
    let record = cbor::decode(block).map_err(|e| e.to_string())?;
    ensure_eq("record", data_json::to_json(&record), expected["record"].clone())
}

/// A frame written as JSON.
fn frame_from_json(kind: &str, body: &Value) -> Result<Frame, String> {
    let header = serde_json::json!({ "op": 1, "t": kind });
    let mut bytes = Vec::new();
    for part in [&header, body] {
        let value: DataValue = data_json::from_json(part).map_err(|e| e.to_string())?;
        bytes.extend(cbor::encode(&value));
    }
    Frame::decode(&bytes).map_err(|e| e.to_string())
}

/// A commit older than sync v1.1: it is read, and its ops match its blocks.
fn old_commit(body: &Value) -> Result<(), String> {
    match frame_from_json("#commit", body)? {
        Frame::Commit(commit) => {
            ensure_eq("ops", Some(commit.ops.len()), body["ops"].as_array().map(Vec::len))?;
            ensure_eq("prevData", commit.prev_data.is_some(), body.get("prevData").is_some())?;
            verify_commit_event(&commit, None).map_err(|e| e.to_string())
        }
        other => Err(format!("read as {other:?}")),
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Taken,
    /// Good in itself, and not fit to follow what came before.
    Dropped,
    Invalid,
}

/// What a relay keeps between the messages of one account.
struct Relay {
    lenient: bool,
    keys: BTreeMap<String, PublicKey>,
    last_rev: BTreeMap<String, Tid>,
}

fn scenario(outcome: &mut Outcome, file: &Path) {
    let scenario = json(file);
    let mut relay = Relay {
        lenient: scenario["lenient"].as_bool().unwrap_or_default(),
        keys: BTreeMap::new(),
        last_rev: BTreeMap::new(),
    };
    for account in scenario["accounts"].as_array().into_iter().flatten() {
        let identity = &account["identity"];
        let key = identity["keys"]["atproto"]["publicKeyMultibase"].as_str();
        let key = key.and_then(|key| PublicKey::from_multikey(key).ok());
        if let (Some(did), Some(key)) = (identity["did"].as_str(), key) {
            relay.keys.insert(did.to_owned(), key);
        }
    }
    for (idx, message) in scenario["messages"].as_array().into_iter().flatten().enumerate() {
        let flag = |name: &str| message[name].as_bool().unwrap_or_default();
        let (verdict, why) = relay.receive(&message["frame"]);
        let fits = match (flag("invalid"), flag("drop")) {
            (true, _) => verdict == Verdict::Invalid,
            (false, true) => verdict != Verdict::Taken,
            (false, false) => verdict == Verdict::Taken,
        };
        let result = ensure(fits, format!("{verdict:?} ({why}), which is not as expected"));
        outcome.check(file, format!("message {idx}"), result);
    }
}

impl Relay {
    fn receive(&mut self, frame: &Value) -> (Verdict, String) {
        let kind = frame["header"]["t"].as_str().unwrap_or_default();
        let checked = frame_from_json(kind, &frame["body"]).and_then(|frame| {
            match &frame {
                Frame::Commit(commit) => {
                    verify_commit_event(commit, Some(self.key(commit.repo.as_str())?))
                        .map_err(|e| e.to_string())?;
                }
                Frame::Sync(sync) => {
                    verify_sync_event(sync, Some(self.key(sync.did.as_str())?)).map_err(|e| e.to_string())?;
                }
                _ => {}
            }
            Ok(frame)
        });
        match checked {
            Err(why) => (Verdict::Invalid, why),
            Ok(Frame::Commit(commit)) => {
                // SY-24: the first commit seen of an account may lack it.
                let known = self.last_rev.contains_key(commit.repo.as_str());
                if commit.prev_data.is_none() && known && !self.lenient {
                    return (Verdict::Dropped, "no prevData".to_owned());
                }
                self.follow(commit.repo.as_str(), commit.rev)
            }
            Ok(Frame::Sync(sync)) => self.follow(sync.did.as_str(), sync.rev),
            Ok(_) => (Verdict::Taken, String::new()),
        }
    }

    fn key(&self, did: &str) -> Result<&PublicKey, String> {
        self.keys.get(did).ok_or_else(|| format!("no key for {did}"))
    }

    /// RP-10.
    fn follow(&mut self, did: &str, rev: Tid) -> (Verdict, String) {
        if self.last_rev.get(did).is_some_and(|last| *last >= rev) {
            return (Verdict::Dropped, "rev does not ascend".to_owned());
        }
        self.last_rev.insert(did.to_owned(), rev);
        (Verdict::Taken, String::new())
    }
}
