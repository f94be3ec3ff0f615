//! The repository (sections 4 and 6): signed commits over a tree of records, their CAR form, what
//! a write does to them, and what a consumer of the firehose checks.
//!
//! Not for: keeping any of it, or deciding who may write.

pub mod car;
mod commit;
mod invert;
mod write;

pub use self::{
    commit::{Commit, CommitError, CommitHeader},
    invert::{InvertError, invert_ops, verify_commit_event, verify_sync_event},
    write::{Action, Applied, RecordWrite, RepoOp, WriteError, apply_writes},
};
