//! Firehose frames (sections 8 and 9): header and payload, two canonical CBOR maps back to back.
//!
//! Not for: whether an event is true; see [`crate::repo::verify_commit_event`].

mod decode;
mod encode;

#[cfg(test)]
mod tests;

use crate::{
    data::{Cid, cbor},
    repo::RepoOp,
    syntax::{Datetime, Did, Handle, Tid},
};

/// Largest whole frame, in bytes (SY-11).
pub const FRAME_BYTES_MAX: usize = 5_000_000;
/// Largest `blocks` of a `#commit`, in bytes (SY-10).
pub const COMMIT_BLOCKS_BYTES_MAX: usize = 2_000_000;
/// Largest number of ops of a `#commit` (SY-10).
pub const COMMIT_OPS_MAX: usize = 200;
/// Largest `blocks` of a `#sync`, in bytes (SY-15).
pub const SYNC_BLOCKS_BYTES_MAX: usize = 10_000;

/// Sequence numbers stay below this (EV-7).
const SEQ_END: i64 = 1 << 53;

/// Why bytes are not a frame.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Over [`FRAME_BYTES_MAX`].
    #[error("frame is {0} bytes; at most {FRAME_BYTES_MAX} are accepted")]
    TooLarge(usize),
    /// Broken CBOR, which ends a connection (EV-6).
    #[error("frame is not two canonical CBOR items: {0}")]
    Cbor(#[from] cbor::Error),
    /// A field that is missing or has the wrong form.
    #[error("frame field {field}: {problem}")]
    Field {
        /// Which field, by its name on the wire.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

/// `#commit`: a repo changed (SY-3).
///
/// `rebase`, `tooBig` and `blobs` are not here: they are always false and empty (C-2, C-14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Sequence number (EV-7).
    pub seq: i64,
    /// When the event was made.
    pub time: Datetime,
    /// Whose repo.
    pub repo: Did,
    /// The commit block, first root of `blocks`.
    pub commit: Cid,
    /// Revision of the commit.
    pub rev: Tid,
    /// Revision of the commit before; `None` for the first (SY-5).
    pub since: Option<Tid>,
    /// Root of the tree before; `None` for the first, and in events older than sync v1.1.
    pub prev_data: Option<Cid>,
    /// A CAR slice (SY-8).
    pub blocks: Vec<u8>,
    /// What changed, one op for each path (SY-7).
    pub ops: Vec<RepoOp>,
}

/// `#sync`: the state of a repo, whatever was sent before (SY-15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sync {
    /// Sequence number (EV-7).
    pub seq: i64,
    /// When the event was made.
    pub time: Datetime,
    /// Whose repo.
    pub did: Did,
    /// Revision of the commit.
    pub rev: Tid,
    /// A CAR with only the commit.
    pub blocks: Vec<u8>,
}

/// `#identity`: resolve the DID and handle again (SY-16).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Sequence number (EV-7).
    pub seq: i64,
    /// When the event was made.
    pub time: Datetime,
    /// Whose identity.
    pub did: Did,
    /// The handle, as far as the sender knows.
    pub handle: Option<Handle>,
}

/// `#account`: the hosting status at the sender (SY-17).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Sequence number (EV-7).
    pub seq: i64,
    /// When the event was made.
    pub time: Datetime,
    /// Whose account.
    pub did: Did,
    /// Whether the account is to be shown.
    pub active: bool,
    /// Why not, mostly; unknown ones pass (SY-18).
    pub status: Option<String>,
}

/// `#info`: about the stream itself, without a sequence number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Such as `OutdatedCursor` (EV-8).
    pub name: String,
    /// For people.
    pub message: Option<String>,
}

/// The last frame before the server closes (EV-4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorFrame {
    /// Such as `FutureCursor`, without `#`.
    pub error: String,
    /// For people.
    pub message: Option<String>,
}

/// One WebSocket message.
#[allow(clippy::large_enum_variant, reason = "nearly all frames are the large one")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// `#commit`
    Commit(Commit),
    /// `#sync`
    Sync(Sync),
    /// `#identity`
    Identity(Identity),
    /// `#account`
    Account(Account),
    /// `#info`
    Info(Info),
    /// An error (`op` -1).
    Error(ErrorFrame),
    /// A kind this code does not know, to be ignored (EV-6).
    Unknown {
        /// `op` of the header.
        op: i64,
        /// `t` of the header.
        t: Option<String>,
    },
}
