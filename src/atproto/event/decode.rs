//! Bytes to frames. Lenient where other servers differ or the protocol was once different: unknown
//! fields pass, `blobs` may be anything, `prev` and `prevData` may be missing.

use super::{Account, Commit, Error, ErrorFrame, FRAME_BYTES_MAX, Frame, Identity, Info, SEQ_END, Sync};
use crate::{
    data::{Cid, Map, Value, cbor},
    repo::{Action, RepoOp},
    syntax::{ParseError, RepoPath},
};

impl Frame {
    /// Reads one WebSocket message.
    ///
    /// A kind that is not known is no error (EV-6), as long as its header and payload are maps.
    ///
    /// # Errors
    ///
    /// [`Error`]: too large, broken CBOR, or a field that cannot be right.
    pub fn decode(bytes: &[u8]) -> Result<Frame, Error> {
        if bytes.len() > FRAME_BYTES_MAX {
            return Err(Error::TooLarge(bytes.len()));
        }
        let (header, header_len) = cbor::decode_prefix(bytes)?;
        let payload = cbor::decode(bytes.get(header_len..).unwrap_or_default())?;
        let mut header = Fields::new("header", header)?;
        let mut payload = Fields::new("payload", payload)?;
        let op = header.integer("op")?;
        let t = header.optional_text("t")?;
        match (op, t.as_deref()) {
            (-1, _) => payload.error(),
            (1, Some("#commit")) => payload.commit(),
            (1, Some("#sync")) => payload.sync(),
            (1, Some("#identity")) => payload.identity(),
            (1, Some("#account")) => payload.account(),
            (1, Some("#info")) => payload.info(),
            _ => Ok(Frame::Unknown { op, t }),
        }
    }
}

/// A map whose fields are taken out one by one.
struct Fields {
    map: Map,
}

impl Fields {
    fn new(field: &'static str, value: Value) -> Result<Fields, Error> {
        match value {
            Value::Map(map) => Ok(Fields { map }),
            _ => Err(problem(field, "is not a map")),
        }
    }

    fn commit(&mut self) -> Result<Frame, Error> {
        for flag in ["rebase", "tooBig"] {
            if self.map.get(flag) == Some(&Value::Bool(true)) {
                return Err(problem(flag, "is true, which is no longer allowed"));
            }
        }
        Ok(Frame::Commit(Commit {
            seq: self.seq()?,
            time: self.parse("time")?,
            repo: self.parse("repo")?,
            commit: self.link("commit")?.ok_or_else(|| problem("commit", "is missing"))?,
            rev: self.parse("rev")?,
            since: self.optional_parse("since")?,
            prev_data: self.link("prevData")?,
            blocks: self.bytes("blocks")?,
            ops: self.ops()?,
        }))
    }

    fn sync(&mut self) -> Result<Frame, Error> {
        Ok(Frame::Sync(Sync {
            seq: self.seq()?,
            time: self.parse("time")?,
            did: self.parse("did")?,
            rev: self.parse("rev")?,
            blocks: self.bytes("blocks")?,
        }))
    }

    fn identity(&mut self) -> Result<Frame, Error> {
        Ok(Frame::Identity(Identity {
            seq: self.seq()?,
            time: self.parse("time")?,
            did: self.parse("did")?,
            handle: self.optional_parse("handle")?,
        }))
    }

    fn account(&mut self) -> Result<Frame, Error> {
        Ok(Frame::Account(Account {
            seq: self.seq()?,
            time: self.parse("time")?,
            did: self.parse("did")?,
            active: match self.map.remove("active") {
                Some(Value::Bool(active)) => active,
                _ => return Err(problem("active", "is not a boolean")),
            },
            status: self.optional_text("status")?,
        }))
    }

    fn info(&mut self) -> Result<Frame, Error> {
        let message = self.optional_text("message")?;
        Ok(Frame::Info(Info { name: self.text("name")?, message }))
    }

    fn error(&mut self) -> Result<Frame, Error> {
        let message = self.optional_text("message")?;
        Ok(Frame::Error(ErrorFrame { error: self.text("error")?, message }))
    }

    fn ops(&mut self) -> Result<Vec<RepoOp>, Error> {
        match self.map.remove("ops") {
            Some(Value::Array(ops)) => ops.into_iter().map(|op| Fields::new("ops", op)?.op()).collect(),
            _ => Err(problem("ops", "is not an array")),
        }
    }

    fn op(&mut self) -> Result<RepoOp, Error> {
        let action = match self.text("action")?.as_str() {
            "create" => Action::Create,
            "update" => Action::Update,
            "delete" => Action::Delete,
            other => return Err(problem("action", format!("{other:?} is not known"))),
        };
        let path: RepoPath = self.parse("path")?;
        Ok(RepoOp { action, path, cid: self.link("cid")?, prev: self.link("prev")? })
    }

    fn seq(&mut self) -> Result<i64, Error> {
        match self.integer("seq")? {
            seq if (1..SEQ_END).contains(&seq) => Ok(seq),
            seq => Err(problem("seq", format!("{seq} is not a positive integer below 2^53"))),
        }
    }

    fn integer(&mut self, field: &'static str) -> Result<i64, Error> {
        match self.map.remove(field) {
            Some(Value::Integer(n)) => Ok(n),
            _ => Err(problem(field, "is not an integer")),
        }
    }

    fn bytes(&mut self, field: &'static str) -> Result<Vec<u8>, Error> {
        match self.map.remove(field) {
            Some(Value::Bytes(bytes)) => Ok(bytes),
            _ => Err(problem(field, "is not bytes")),
        }
    }

    /// Absent and null are one.
    fn link(&mut self, field: &'static str) -> Result<Option<Cid>, Error> {
        match self.map.remove(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Link(cid)) => Ok(Some(cid)),
            Some(_) => Err(problem(field, "is not a link")),
        }
    }

    /// Absent and null are one.
    fn optional_text(&mut self, field: &'static str) -> Result<Option<String>, Error> {
        match self.map.remove(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(problem(field, "is not a string")),
        }
    }

    fn text(&mut self, field: &'static str) -> Result<String, Error> {
        self.optional_text(field)?.ok_or_else(|| problem(field, "is missing"))
    }

    fn optional_parse<T>(&mut self, field: &'static str) -> Result<Option<T>, Error>
    where
        T: std::str::FromStr<Err = ParseError>,
    {
        let parse = |text: String| text.parse().map_err(|e: ParseError| problem(field, e.to_string()));
        self.optional_text(field)?.map(parse).transpose()
    }

    fn parse<T>(&mut self, field: &'static str) -> Result<T, Error>
    where
        T: std::str::FromStr<Err = ParseError>,
    {
        self.optional_parse(field)?.ok_or_else(|| problem(field, "is missing"))
    }
}

fn problem(field: &'static str, problem: impl Into<String>) -> Error {
    Error::Field { field, problem: problem.into() }
}
