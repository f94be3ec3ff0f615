//! Frames to bytes. Keys are written in canonical order: by length, then bytewise (CB-4).

use super::{Account, Commit, ErrorFrame, Frame, Identity, Info, Sync};
use crate::{
    data::cbor::Writer,
    repo::{Action, RepoOp},
};

/// Space for all of a frame but its blocks and ops, in bytes.
const FIELDS_BYTES: usize = 512;
/// Space for one op, in bytes.
const OP_BYTES: usize = 256;

impl Frame {
    /// The WebSocket message (EV-1). The caller keeps to SY-10 and SY-11.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Frame::Commit(commit) => commit.encode(),
            Frame::Sync(sync) => sync.encode(),
            Frame::Identity(identity) => identity.encode(),
            Frame::Account(account) => account.encode(),
            Frame::Info(info) => info.encode(),
            Frame::Error(error) => error.encode(),
            Frame::Unknown { op, t } => {
                let mut writer = header(*op, t.as_deref(), 0);
                writer.map(0);
                writer.finish()
            }
        }
    }
}

/// A writer that stands after the header (EV-2).
fn header(op: i64, t: Option<&str>, payload_bytes: usize) -> Writer {
    let mut writer = Writer::with_capacity(FIELDS_BYTES + payload_bytes);
    writer.map(1 + u64::from(t.is_some()));
    if let Some(t) = t {
        writer.text("t").text(t);
    }
    writer.text("op").integer(op);
    writer
}

fn message(t: &str, payload_bytes: usize) -> Writer {
    header(1, Some(t), payload_bytes)
}

impl Commit {
    fn encode(&self) -> Vec<u8> {
        let mut writer = message("#commit", self.blocks.len() + self.ops.len() * OP_BYTES);
        writer.map(11 + u64::from(self.prev_data.is_some()));
        writer.text("ops").array(self.ops.len() as u64);
        for op in &self.ops {
            encode_op(op, &mut writer);
        }
        writer.text("rev").text(&self.rev.to_string());
        writer.text("seq").integer(self.seq);
        writer.text("repo").text(self.repo.as_str());
        writer.text("time").text(self.time.as_str());
        writer.text("blobs").array(0);
        match self.since {
            Some(since) => writer.text("since").text(&since.to_string()),
            None => writer.text("since").null(),
        };
        writer.text("blocks").bytes(&self.blocks);
        writer.text("commit").link(&self.commit);
        writer.text("rebase").bool(false);
        writer.text("tooBig").bool(false);
        if let Some(prev_data) = &self.prev_data {
            writer.text("prevData").link(prev_data);
        }
        writer.finish()
    }
}

/// SY-6: `cid` is there even when null, `prev` only when there was a record.
fn encode_op(op: &RepoOp, writer: &mut Writer) {
    writer.map(3 + u64::from(op.prev.is_some()));
    writer.text("cid").nullable_link(op.cid.as_ref());
    writer.text("path").text(op.path.as_str());
    if let Some(prev) = &op.prev {
        writer.text("prev").link(prev);
    }
    writer.text("action").text(match op.action {
        Action::Create => "create",
        Action::Update => "update",
        Action::Delete => "delete",
    });
}

impl Sync {
    fn encode(&self) -> Vec<u8> {
        let mut writer = message("#sync", self.blocks.len());
        writer.map(5);
        writer.text("did").text(self.did.as_str());
        writer.text("rev").text(&self.rev.to_string());
        writer.text("seq").integer(self.seq);
        writer.text("time").text(self.time.as_str());
        writer.text("blocks").bytes(&self.blocks);
        writer.finish()
    }
}

impl Identity {
    fn encode(&self) -> Vec<u8> {
        let mut writer = message("#identity", 0);
        writer.map(3 + u64::from(self.handle.is_some()));
        writer.text("did").text(self.did.as_str());
        writer.text("seq").integer(self.seq);
        writer.text("time").text(self.time.as_str());
        if let Some(handle) = &self.handle {
            writer.text("handle").text(handle.as_str());
        }
        writer.finish()
    }
}

impl Account {
    fn encode(&self) -> Vec<u8> {
        let mut writer = message("#account", 0);
        writer.map(4 + u64::from(self.status.is_some()));
        writer.text("did").text(self.did.as_str());
        writer.text("seq").integer(self.seq);
        writer.text("time").text(self.time.as_str());
        writer.text("active").bool(self.active);
        if let Some(status) = &self.status {
            writer.text("status").text(status);
        }
        writer.finish()
    }
}

impl Info {
    fn encode(&self) -> Vec<u8> {
        let mut writer = message("#info", 0);
        encode_said("name", &self.name, self.message.as_deref(), &mut writer);
        writer.finish()
    }
}

impl ErrorFrame {
    fn encode(&self) -> Vec<u8> {
        let mut writer = header(-1, None, 0);
        encode_said("error", &self.error, self.message.as_deref(), &mut writer);
        writer.finish()
    }
}

/// A name and what may be said about it.
fn encode_said(field: &str, name: &str, message: Option<&str>, writer: &mut Writer) {
    writer.map(1 + u64::from(message.is_some())).text(field).text(name);
    if let Some(message) = message {
        writer.text("message").text(message);
    }
}
