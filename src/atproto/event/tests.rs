//! Frames as they are on the wire.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;

use super::*;
use crate::{
    data::{Value, cbor::Writer, cid},
    repo::Action,
};

fn time() -> Datetime {
    Datetime::parse("2026-01-02T03:04:05.678Z").unwrap()
}

fn did() -> Did {
    Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap()
}

fn rev() -> Tid {
    Tid::parse("3jzfcijpj2z2a").unwrap()
}

fn link(n: u8) -> Cid {
    cid::for_cbor(&[n])
}

fn op(action: Action, rkey: &str, cid: Option<Cid>, prev: Option<Cid>) -> RepoOp {
    let path = format!("com.example.note/{rkey}").parse().unwrap();
    RepoOp { action, path, cid, prev }
}

fn commit() -> Commit {
    Commit {
        seq: 7,
        time: time(),
        repo: did(),
        commit: link(1),
        rev: rev(),
        since: Some(rev()),
        prev_data: Some(link(2)),
        blocks: vec![1, 2, 3],
        ops: vec![
            op(Action::Create, "a", Some(link(3)), None),
            op(Action::Update, "b", Some(link(4)), Some(link(5))),
            op(Action::Delete, "c", None, Some(link(6))),
        ],
    }
}

/// One of each kind, with and without what is optional.
fn frames() -> Vec<Frame> {
    let first = Commit { since: None, prev_data: None, ops: Vec::new(), ..commit() };
    let identity = Identity { seq: 8, time: time(), did: did(), handle: None };
    let handle = Some("alice.test".parse().unwrap());
    let account = Account { seq: 9, time: time(), did: did(), active: true, status: None };
    let status = Some("takendown".to_owned());
    vec![
        Frame::Commit(commit()),
        Frame::Commit(first),
        Frame::Sync(Sync { seq: 8, time: time(), did: did(), rev: rev(), blocks: vec![1] }),
        Frame::Identity(Identity { handle, ..identity.clone() }),
        Frame::Identity(identity),
        Frame::Account(Account { active: false, status, ..account.clone() }),
        Frame::Account(account),
        Frame::Info(Info { name: "OutdatedCursor".into(), message: Some("late".into()) }),
        Frame::Error(ErrorFrame { error: "FutureCursor".into(), message: None }),
        Frame::Unknown { op: 1, t: Some("#new".into()) },
        Frame::Unknown { op: 2, t: None },
    ]
}

/// Header and payload as values, which also shows that both are canonical (EV-1).
fn parts(frame: &Frame) -> (Value, Value) {
    let bytes = frame.encode();
    let (header, len) = cbor::decode_prefix(&bytes).unwrap();
    (header, cbor::decode(&bytes[len..]).unwrap())
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_map().unwrap().iter().map(|(key, _)| key).collect()
}

#[test]
fn every_frame_is_read_back() {
    for frame in frames() {
        assert_eq!(Frame::decode(&frame.encode()).unwrap(), frame);
    }
}

#[test]
fn headers_name_the_kind_and_errors_have_none() {
    // EV-2.
    for frame in frames() {
        let (header, _) = parts(&frame);
        let kind = header.get("t").and_then(Value::as_str);
        let op = header.get("op").and_then(Value::as_integer).unwrap();
        let expected = match frame {
            Frame::Commit(_) => (1, Some("#commit")),
            Frame::Sync(_) => (1, Some("#sync")),
            Frame::Identity(_) => (1, Some("#identity")),
            Frame::Account(_) => (1, Some("#account")),
            Frame::Info(_) => (1, Some("#info")),
            Frame::Error(_) => (-1, None),
            Frame::Unknown { .. } => continue,
        };
        assert_eq!((op, kind), expected);
    }
}

#[test]
fn a_commit_has_exactly_the_fields_of_the_rules() {
    // SY-3, SY-5, SY-6, EV-3 (no `$type`), C-14.
    let (_, payload) = parts(&Frame::Commit(commit()));
    assert_eq!(
        keys(&payload),
        [
            "ops", "rev", "seq", "repo", "time", "blobs", "since", "blocks", "commit", "rebase", "tooBig",
            "prevData"
        ]
    );
    assert_eq!(payload.get("rebase"), Some(&Value::Bool(false)));
    assert_eq!(payload.get("tooBig"), Some(&Value::Bool(false)));
    assert_eq!(payload.get("blobs"), Some(&Value::Array(Vec::new())));
    let ops = payload.get("ops").unwrap().as_array().unwrap();
    assert_eq!(keys(&ops[0]), ["cid", "path", "action"]);
    assert_eq!(keys(&ops[1]), ["cid", "path", "prev", "action"]);
    assert_eq!(keys(&ops[2]), ["cid", "path", "prev", "action"]);
    assert_eq!(ops[2].get("cid"), Some(&Value::Null));
}

#[test]
fn the_first_commit_has_a_null_since_and_no_prev_data() {
    // SY-5.
    let first = Commit { since: None, prev_data: None, ..commit() };
    let (_, payload) = parts(&Frame::Commit(first));
    assert_eq!(payload.get("since"), Some(&Value::Null));
    assert_eq!(payload.get("prevData"), None);
}

#[test]
fn what_is_optional_is_left_out() {
    // SY-16, SY-17, EV-4.
    let expected: [(usize, &[&str]); 4] = [
        (4, &["did", "seq", "time"]),
        (6, &["did", "seq", "time", "active"]),
        (5, &["did", "seq", "time", "active", "status"]),
        (8, &["error"]),
    ];
    for (i, fields) in expected {
        let (_, payload) = parts(&frames()[i]);
        assert_eq!(keys(&payload), fields);
    }
}

/// The bytes of a `#commit` with one field of the payload changed.
fn with(field: &str, value: Value) -> Vec<u8> {
    let (header, mut payload) = parts(&Frame::Commit(commit()));
    let Value::Map(map) = &mut payload else {
        panic!("a payload is a map");
    };
    map.insert(field, value);
    [cbor::encode(&header), cbor::encode(&payload)].concat()
}

#[test]
fn fields_of_the_past_and_of_the_future_pass() {
    for (field, value) in [("blobs", Value::Null), ("prev", Value::Null), ("new", Value::Null)] {
        assert_eq!(Frame::decode(&with(field, value)).unwrap(), Frame::Commit(commit()));
    }
    let Frame::Commit(old) = Frame::decode(&with("prevData", Value::Null)).unwrap() else {
        panic!("a commit");
    };
    assert_eq!(old.prev_data, None);
}

#[test]
fn fields_that_cannot_be_right_are_refused_by_name() {
    // EV-7, SY-24.
    let cases = [
        ("seq", Value::Integer(0)),
        ("seq", Value::Integer(1 << 53)),
        ("tooBig", Value::Bool(true)),
        ("rebase", Value::Bool(true)),
        ("repo", Value::String("alice".into())),
        ("time", Value::String("yesterday".into())),
        ("rev", Value::Null),
        ("since", Value::Integer(1)),
        ("blocks", Value::String(String::new())),
        ("commit", Value::Null),
        ("ops", Value::Null),
    ];
    for (name, value) in cases {
        match Frame::decode(&with(name, value)) {
            Err(Error::Field { field, .. }) => assert_eq!(field, name),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn broken_frames_are_refused() {
    // EV-1, EV-6, SY-11.
    let whole = frames()[0].encode();
    for len in 0..whole.len() {
        assert!(Frame::decode(&whole[..len]).is_err(), "{len}");
    }
    assert!(Frame::decode(&[&*whole, &[0xa0]].concat()).is_err());
    assert!(Frame::decode(&[0x80, 0xa0]).is_err());
    let mut scalar = Writer::new();
    scalar.map(1).text("op").integer(5).integer(1);
    assert!(Frame::decode(&scalar.finish()).is_err());
    let refused = Frame::decode(&vec![0; FRAME_BYTES_MAX + 1]);
    assert!(matches!(refused, Err(Error::TooLarge(_))));
}

proptest! {
    #[test]
    fn no_input_crashes_the_decoder(bytes: Vec<u8>, at: prop::sample::Index, byte: u8) {
        let _ = Frame::decode(&bytes);
        let mut bytes = frames()[0].encode();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = Frame::decode(&bytes);
    }
}
