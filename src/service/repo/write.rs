//! The one write path: prepared writes become a commit, its rows and its firehose event in one transaction.
//!
//! ```text
//! apply_writes -> prepare (no transaction) -> queue -> commit: head, no-ops and swaps, tree, sign, rows, blobs, event
//! ```
//!
//! What may not be written is found before the first row changes, so no savepoint is needed; should a later step fail all
//! the same, the whole group of changes is undone (see [`crate::store::writer`]).
//!
//! Not for: replacing a whole repository ([`super::import`]).

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use atproto::{
    crypto::SigningKey,
    data::{Cid, Value, cid},
    event::{self, COMMIT_BLOCKS_BYTES_MAX, COMMIT_OPS_MAX, Frame},
    mst::{self, Builder, Tree},
    repo::{self as engine, Action, Commit, RecordWrite, RepoOp, car},
    syntax::{Did, Nsid, RecordKey, RepoPath, Tid},
};

use super::{
    Repos,
    open_trees::{OpenTree, OpenTrees},
    prepare::{Change, Encoded, Prepared, prepare},
    unsigned,
};
use crate::{
    service::{
        keys::{AccountKey, KeyError},
        word_filter::WordFilter,
    },
    store::{
        StoreError, WriteTx,
        account::{self, Status},
        backlink,
        blob::{self, ClaimError},
        mst_node::{self, StoredNodes},
        record::{self, NewRecord},
        repo::{self, Head},
    },
};

/// Most writes in one request (XR-17).
pub const WRITES_MAX: usize = COMMIT_OPS_MAX;

/// `validate` of the write methods (XR-19).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validation {
    /// `true`: the schema must be known and the record must match it.
    Required,
    /// Absent: match the schema if it is known.
    IfKnown,
    /// `false`: the data model only.
    Skip,
}

impl Validation {
    /// From the `validate` field of a request.
    pub fn from_flag(validate: Option<bool>) -> Validation {
        match validate {
            Some(true) => Validation::Required,
            None => Validation::IfKnown,
            Some(false) => Validation::Skip,
        }
    }
}

/// `validationStatus` of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValidationStatus {
    /// The record matches its schema.
    Valid,
    /// The schema is not known here.
    Unknown,
}

/// One write as asked for.
#[derive(Clone, Debug)]
pub enum Write {
    /// A new record; one that exists already is an error.
    Create {
        /// Its collection.
        collection: Nsid,
        /// Its key; absent: the next TID.
        rkey: Option<RecordKey>,
        /// Its content.
        record: Value,
        /// createRecord's rule: a like, repost, follow or block replaces those about the same thing.
        replace_duplicates: bool,
    },
    /// New content for a record that must exist.
    Update {
        /// Its collection.
        collection: Nsid,
        /// Its key.
        rkey: RecordKey,
        /// Its content.
        record: Value,
    },
    /// putRecord: create or update; identical content changes nothing (XR-16).
    Put {
        /// Its collection.
        collection: Nsid,
        /// Its key.
        rkey: RecordKey,
        /// Its content.
        record: Value,
        /// What must stand there now.
        swap_record: Swap,
    },
    /// Removes a record.
    Delete {
        /// Its collection.
        collection: Nsid,
        /// Its key.
        rkey: RecordKey,
        /// applyWrites: deleting nothing is an error. deleteRecord: it is fine and changes nothing (XR-16).
        must_exist: bool,
        /// What must stand there now.
        swap_record: Swap,
    },
}

/// The three states of `swapRecord`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swap {
    /// Absent from the request: no condition.
    Any,
    /// `null`: there must be no record.
    Absent,
    /// The record must be this version.
    Is(Cid),
}

/// Writes to one repository, all or none (RP-17).
#[derive(Clone, Debug)]
pub struct WriteRequest {
    /// In order; at most [`WRITES_MAX`]. None at all makes a commit without operations (SY-14).
    pub writes: Vec<Write>,
    /// For all of them.
    pub validation: Validation,
    /// What the head must be (RP-16).
    pub swap_commit: Option<Cid>,
}

/// What became of one write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Where.
    pub path: RepoPath,
    /// The record there now; `None` after a delete.
    pub cid: Option<Cid>,
    /// `None` for deletes and when no validation was asked for.
    pub validation_status: Option<ValidationStatus>,
}

/// A commit in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitMeta {
    /// CID of the commit block.
    pub cid: Cid,
    /// Its rev.
    pub rev: Tid,
}

/// What became of a request.
#[derive(Clone, Debug)]
pub struct Applied {
    /// `None` when nothing changed (putRecord of identical content, deleteRecord of nothing).
    pub commit: Option<CommitMeta>,
    /// One per write, in order.
    pub results: Vec<Written>,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The head is not what `swapCommit` says.
    #[error("Commit was at {current}")]
    SwapCommit {
        /// The head.
        current: Box<Cid>,
    },
    /// The record is not what `swapRecord` says.
    #[error("Record was at {}", .current.as_ref().map_or("null".into(), |cid| cid.to_string()))]
    SwapRecord {
        /// Where.
        path: RepoPath,
        /// What stands there.
        current: Option<Box<Cid>>,
    },
    /// Everything the client can mend: bad record, key, `$type`, size, too many writes, exists, missing.
    #[error("{0}")]
    Invalid(String),
    /// The record refers to a blob that was not uploaded or was taken down.
    #[error("Could not find blob: {0}")]
    BlobNotFound(Cid),
    /// The record gives a blob another MIME type than it has.
    #[error("{0}")]
    BlobMimeType(String),
    /// The record gives a blob another size than it has.
    #[error("{0}")]
    BlobSize(String),
    /// The account was deactivated or taken down since the caller looked (SY-19).
    #[error("the account is not active")]
    Inactive(Status),
    /// The account is gone.
    #[error("there is no such account")]
    NoAccount,
    /// The account was made for a migration and nothing has been imported yet.
    #[error("the account has no repository yet: import one, or activate the account")]
    NoRepo,
    /// The account was given another signing key while this waited.
    #[error("the signing key of the account is being changed; try again")]
    KeyChanged,
    /// The signing key cannot be had.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ClaimError> for WriteError {
    fn from(error: ClaimError) -> WriteError {
        match error {
            ClaimError::NotFound(cid) => WriteError::BlobNotFound(cid),
            ClaimError::MimeType(problem) => WriteError::BlobMimeType(problem),
            ClaimError::Size(problem) => WriteError::BlobSize(problem),
            ClaimError::Store(error) => WriteError::Store(error),
        }
    }
}

/// Keys that people chose are screened; a TID says nothing, and must not be refused for what it happens to spell.
fn refuse_words(words: &WordFilter, writes: &[Write]) -> Result<(), WriteError> {
    for write in writes {
        let (Write::Create { collection, rkey: Some(rkey), .. }
        | Write::Update { collection, rkey, .. }
        | Write::Put { collection, rkey, .. }) = write
        else {
            continue;
        };
        if Tid::parse(rkey.as_str()).is_err() && words.matches(rkey.as_str()) {
            let problem = format!("rkey of {collection}/{rkey}: inappropriate language in record key");
            return Err(WriteError::Invalid(problem));
        }
    }
    Ok(())
}

impl Repos {
    /// Applies a request to the repository of the account `did`, if it is active, and announces it. When this returns, the commit and its event
    /// are on disk.
    pub async fn apply_writes(&self, did: &Did, request: WriteRequest) -> Result<Applied, WriteError> {
        let WriteRequest { writes, validation, swap_commit } = request;
        if writes.len() > WRITES_MAX {
            return Err(WriteError::Invalid(format!("Too many writes. Max: {WRITES_MAX}")));
        }
        refuse_words(&self.inner.words, &writes)?;
        // Deleting makes room, if not at once.
        if writes.iter().any(|write| !matches!(write, Write::Delete { .. })) {
            self.inner.store.require_room(0)?;
        }
        let writes = writes
            .into_iter()
            .map(|write| prepare(write, validation, || self.next_rkey()))
            .collect::<Result<Arc<[_]>, _>>()?;
        let mut tries = 1;
        loop {
            let key = self.inner.keys.signing_key(did).await?;
            let plan = Plan {
                did: did.clone(),
                writes: writes.clone(),
                swap_commit,
                key,
                clock_id: self.inner.clock_id,
                trees: self.inner.trees.clone(),
            };
            match self.inner.store.write_checked(move |tx| plan.commit(tx)).await {
                Err(WriteError::KeyChanged) if tries < KEY_TRIES_MAX => tries += 1,
                outcome => return outcome,
            }
            self.inner.keys.forget(did);
        }
    }
}

/// How often a request is signed before it gives way to changes of the account's key.
const KEY_TRIES_MAX: u32 = 3;

/// A request that waits for the writer.
struct Plan {
    did: Did,
    writes: Arc<[Prepared]>,
    swap_commit: Option<Cid>,
    key: Arc<AccountKey>,
    clock_id: u16,
    trees: Arc<OpenTrees>,
}

/// The writes that remain once those that change nothing are left out.
struct Effective<'a> {
    writes: Vec<RecordWrite>,
    /// The last record written to each path.
    records: HashMap<&'a RepoPath, &'a Encoded>,
}

impl Plan {
    fn commit(&self, tx: &mut WriteTx<'_>) -> Result<Applied, WriteError> {
        let target = repo::get_target(tx, &self.did)?.ok_or(WriteError::NoAccount)?;
        if target.status != Status::Active {
            return Err(WriteError::Inactive(target.status));
        }
        let account_id = target.account_id;
        // The key was opened before its turn came: it may have been changed since.
        if target.did_key.is_none_or(|current| current != self.key.did_key()) {
            return Err(WriteError::KeyChanged);
        }
        let head = target.head.ok_or(WriteError::NoRepo)?;
        let repo_id = head.repo_id;
        let moved = || WriteError::SwapCommit { current: Box::new(head.commit) };
        let has_moved = self.swap_commit.is_some_and(|expected| expected != head.commit);
        let effective = match self.effective(tx, repo_id) {
            // Of two conditions that do not hold, the one on the whole repository is told.
            Err(WriteError::SwapRecord { .. }) if has_moved => return Err(moved()),
            effective => effective?,
        };
        let results = self.writes.iter().map(written).collect();
        // A change that changes nothing succeeds whatever the swap conditions say.
        if effective.writes.is_empty() && !self.writes.is_empty() {
            return Ok(Applied { commit: None, results });
        }
        if has_moved {
            return Err(moved());
        }

        let (mut tree, mut nodes) = self.open_tree(tx, &head)?;
        let applied = engine::apply_writes(&mut tree, &effective.writes, &mut nodes).map_err(tree_error)?;
        check_blobs(tx, account_id, &applied.ops, &effective.records)?;
        let rev = Tid::next(Some(head.rev), unsigned(tx.now()), self.clock_id);
        let commit = Signed::new(&self.did, applied.data, rev, &self.key);
        let blocks = self.slice(&commit, &applied, &effective)?;

        // From here on there is nothing to refuse.
        nodes.apply(rev, &applied.changes)?;
        let n_added = store_records(tx, account_id, repo_id, rev, &applied.ops, &effective.records)?;
        repo::set_head(tx, &commit.head(repo_id, head.n_records + n_added))?;
        let rows = nodes.into_rows();
        if let Some(last) = applied.ops.last() {
            self.trees.put(repo_id, OpenTree { tree, rows }, last.path.as_str().as_bytes());
        }
        append_commit(tx, &commit, Some(&head), blocks, applied.ops)?;
        Ok(Applied { commit: Some(commit.meta()), results })
    }

    /// The tree under `head`, and where its nodes come from.
    fn open_tree<'tx>(
        &self,
        tx: &'tx WriteTx<'_>,
        head: &Head,
    ) -> Result<(Tree, StoredNodes<'tx>), StoreError> {
        if let Some(OpenTree { tree, rows }) = self.trees.take(head.repo_id, &head.data) {
            return Ok((tree, StoredNodes::with_rows(tx, head.repo_id, rows)));
        }
        let corrupt = StoreError::Corrupt { table: "mst_node", column: "block" };
        let mut nodes = StoredNodes::new(tx, head.repo_id);
        match nodes.root()? {
            Some((cid, block)) if cid == head.data => {
                Ok((Tree::open(cid, &block).map_err(|_| corrupt)?, nodes))
            }
            _ => Err(corrupt),
        }
    }

    /// Compares the writes with the records that stand, seeing for each what the ones before it did.
    fn effective(&self, tx: &WriteTx<'_>, repo_id: i64) -> Result<Effective<'_>, WriteError> {
        let mut effective = Effective { writes: Vec::new(), records: HashMap::new() };
        // What earlier writes of the request leave at a path.
        let mut pending: HashMap<RepoPath, Option<Cid>> = HashMap::new();
        for Prepared { path, change } in self.writes.iter() {
            let current = |pending: &HashMap<RepoPath, Option<Cid>>| match pending.get(path) {
                Some(cid) => Ok(*cid),
                None => record::get_cid(tx, repo_id, path),
            };
            let write = match change {
                Change::Create { record, replace_duplicates } => {
                    if let Some(link_to) = record.link_to.as_ref().filter(|_| *replace_duplicates) {
                        for path in duplicates(tx, repo_id, path, link_to)? {
                            if pending.insert(path.clone(), None).is_none() {
                                effective.writes.push(RecordWrite::Delete { path });
                            }
                        }
                    }
                    RecordWrite::Create { path: path.clone(), cid: record.cid }
                }
                Change::Update { record } => RecordWrite::Update { path: path.clone(), cid: record.cid },
                Change::Put { record, swap_record } => {
                    let current = current(&pending)?;
                    if current == Some(record.cid) {
                        continue;
                    }
                    check_swap(path, *swap_record, current)?;
                    match current {
                        None => RecordWrite::Create { path: path.clone(), cid: record.cid },
                        Some(_) => RecordWrite::Update { path: path.clone(), cid: record.cid },
                    }
                }
                Change::Delete { must_exist, swap_record } => {
                    let current = current(&pending)?;
                    if current.is_none() && !must_exist {
                        continue;
                    }
                    check_swap(path, *swap_record, current)?;
                    RecordWrite::Delete { path: path.clone() }
                }
            };
            let record = change.record();
            pending.insert(path.clone(), record.map(|record| record.cid));
            effective.writes.push(write);
            if let Some(record) = record {
                effective.records.insert(path, record);
            }
        }
        Ok(effective)
    }

    /// The `blocks` of the event: commit, nodes and new records (SY-8), within its limits (SY-10, SY-13).
    ///
    /// A whole frame cannot pass SY-11 then: it adds at most 200 operations of under 1,000 bytes each.
    fn slice(
        &self,
        commit: &Signed,
        applied: &engine::Applied,
        effective: &Effective<'_>,
    ) -> Result<Vec<u8>, WriteError> {
        if applied.ops.len() > COMMIT_OPS_MAX {
            return Err(WriteError::Invalid(format!("Too many writes. Max: {COMMIT_OPS_MAX}")));
        }
        let records: BTreeMap<Cid, &[u8]> = applied
            .ops
            .iter()
            .filter(|op| op.cid.is_some())
            .filter_map(|op| effective.records.get(&op.path))
            .map(|record| (record.cid, &record.block[..]))
            .collect();
        let nodes = applied.proof.iter().map(|(cid, block)| (cid, &block[..]));
        let records = records.iter().map(|(cid, block)| (cid, *block));
        let root = std::iter::once((&commit.cid, &commit.block[..]));
        let blocks = car::encode(&[commit.cid], root.chain(nodes).chain(records));
        if blocks.len() > COMMIT_BLOCKS_BYTES_MAX {
            return Err(WriteError::Invalid("Too many writes. Max event size: 2MB".into()));
        }
        Ok(blocks)
    }
}

/// A commit made and signed here.
pub(super) struct Signed {
    pub cid: Cid,
    pub block: Vec<u8>,
    pub did: Did,
    pub data: Cid,
    pub rev: Tid,
}

impl Signed {
    pub fn new(did: &Did, data: Cid, rev: Tid, key: &SigningKey) -> Signed {
        let block = Commit::sign(did.clone(), data, rev, key).encode();
        Signed { cid: cid::for_cbor(&block), block, did: did.clone(), data, rev }
    }

    pub fn meta(&self) -> CommitMeta {
        CommitMeta { cid: self.cid, rev: self.rev }
    }

    pub fn head(&self, repo_id: i64, n_records: i64) -> Head {
        Head {
            repo_id,
            commit: self.cid,
            commit_block: self.block.clone(),
            rev: self.rev,
            data: self.data,
            n_records,
        }
    }

    /// Announces the state as a whole (SY-15).
    pub fn append_sync(&self, tx: &mut WriteTx<'_>) -> Result<(), StoreError> {
        append_sync(tx, &self.did, self.cid, self.rev, &self.block)
    }
}

/// Announces the state of the repo of `did` as a whole: its newest commit (SY-15).
pub fn announce_head(tx: &mut WriteTx<'_>, did: &Did, head: &Head) -> Result<(), StoreError> {
    append_sync(tx, did, head.commit, head.rev, &head.commit_block)
}

fn append_sync(
    tx: &mut WriteTx<'_>,
    did: &Did,
    commit: Cid,
    rev: Tid,
    block: &[u8],
) -> Result<(), StoreError> {
    let blocks = car::encode(&[commit], [(&commit, block)]);
    tx.append_event(did, |seq, time| Frame::Sync(event::Sync { seq, time, did: did.clone(), rev, blocks }))?;
    Ok(())
}

/// Signs the tree as it stands with another key: a commit without changes becomes the head (`None` before the first
/// one). Announces nothing.
pub fn sign_anew(
    tx: &WriteTx<'_>,
    repo_id: i64,
    did: &Did,
    key: &SigningKey,
    clock_id: u16,
) -> Result<Option<Head>, StoreError> {
    let Some(head) = repo::get_head(tx, repo_id)? else { return Ok(None) };
    let rev = Tid::next(Some(head.rev), unsigned(tx.now()), clock_id);
    let head = Signed::new(did, head.data, rev, key).head(repo_id, head.n_records);
    repo::set_head(tx, &head)?;
    Ok(Some(head))
}

fn check_swap(path: &RepoPath, swap: Swap, current: Option<Cid>) -> Result<(), WriteError> {
    let holds = match swap {
        Swap::Any => true,
        Swap::Absent => current.is_none(),
        Swap::Is(expected) => current == Some(expected),
    };
    if holds {
        Ok(())
    } else {
        Err(WriteError::SwapRecord { path: path.clone(), current: current.map(Box::new) })
    }
}

/// The records that a create at `path` replaces because they are about the same thing.
fn duplicates(
    tx: &WriteTx<'_>,
    repo_id: i64,
    path: &RepoPath,
    link_to: &str,
) -> Result<Vec<RepoPath>, WriteError> {
    let collection =
        Nsid::parse(path.collection()).map_err(|error| WriteError::Invalid(error.to_string()))?;
    // With more than a commit can delete, the oldest ones go now and the rest with the next create.
    Ok(backlink::list(tx, repo_id, &collection, link_to, DUPLICATES_MAX)?)
}

/// Leaves room for the create itself within [`COMMIT_OPS_MAX`].
const DUPLICATES_MAX: u32 = COMMIT_OPS_MAX as u32 - 1;

fn written(write: &Prepared) -> Written {
    let record = write.change.record();
    Written {
        path: write.path.clone(),
        cid: record.map(|record| record.cid),
        validation_status: record.and_then(|record| record.validation_status),
    }
}

fn tree_error(error: engine::WriteError<StoreError>) -> WriteError {
    match error {
        engine::WriteError::RecordExists(_) | engine::WriteError::RecordMissing(_) => {
            WriteError::Invalid(error.to_string())
        }
        engine::WriteError::Tree(mst::Error::Source(error)) => error.into(),
        engine::WriteError::Tree(error @ (mst::Error::NodeFull | mst::Error::KeyLength(_))) => {
            WriteError::Invalid(error.to_string())
        }
        // The store holds every node of the tree, as this program encoded it.
        engine::WriteError::Tree(_) => StoreError::Corrupt { table: "mst_node", column: "block" }.into(),
    }
}

/// Whether the records that `ops` leave behind may refer to their blobs.
fn check_blobs(
    tx: &WriteTx<'_>,
    account_id: i64,
    ops: &[RepoOp],
    records: &HashMap<&RepoPath, &Encoded>,
) -> Result<(), WriteError> {
    let written = ops.iter().filter(|op| op.action != Action::Delete).filter_map(|op| records.get(&op.path));
    for blob in written.flat_map(|record| &record.blobs) {
        blob::check_claim(tx, account_id, blob)?;
    }
    Ok(())
}

/// Brings records, backlinks and blob references in line with `ops`; returns by how much the records have grown.
fn store_records(
    tx: &WriteTx<'_>,
    account_id: i64,
    repo_id: i64,
    rev: Tid,
    ops: &[RepoOp],
    records: &HashMap<&RepoPath, &Encoded>,
) -> Result<i64, StoreError> {
    let mut n_added = 0;
    for op in ops {
        match op.action {
            Action::Create => n_added += 1,
            Action::Update => {}
            Action::Delete => {
                n_added -= 1;
                record::delete(tx, repo_id, &op.path)?;
                continue;
            }
        }
        let Some(record) = records.get(&op.path) else {
            continue;
        };
        let link_to = record.link_to.as_deref();
        let row = NewRecord { path: &op.path, cid: &record.cid, link_to, body: &record.block };
        record::put(tx, repo_id, rev, tx.now(), row)?;
        for blob in &record.blobs {
            blob::claim(tx, account_id, repo_id, &op.path, rev, &blob.cid)?;
        }
    }
    // Only now: a blob may have moved from one record to another.
    for op in ops.iter().filter(|op| op.action != Action::Create) {
        blob::release(tx, account_id, repo_id, &op.path, rev)?;
    }
    Ok(n_added)
}

/// Announces a commit; `before` is the head that it follows.
fn append_commit(
    tx: &mut WriteTx<'_>,
    commit: &Signed,
    before: Option<&Head>,
    blocks: Vec<u8>,
    ops: Vec<RepoOp>,
) -> Result<(), StoreError> {
    tx.append_event(&commit.did, |seq, time| {
        Frame::Commit(event::Commit {
            seq,
            time,
            repo: commit.did.clone(),
            commit: commit.cid,
            rev: commit.rev,
            since: before.map(|head| head.rev),
            prev_data: before.map(|head| head.data),
            blocks,
            ops,
        })
    })?;
    Ok(())
}

/// The first commit of an account, over no records (RP-14).
pub struct Genesis {
    /// CID and rev.
    pub commit: CommitMeta,
    signed: Signed,
    node: mst::PlacedNode,
}

/// Makes the first, empty commit of an account inside the transaction that creates the account, and points the
/// account at it. Emits no event: the caller appends `#identity` and `#account`, then [`Genesis::append_events`].
pub fn create_repo(
    tx: &mut WriteTx<'_>,
    account_id: i64,
    did: &Did,
    rev: Tid,
    key: &SigningKey,
) -> Result<Genesis, StoreError> {
    let mut nodes = Vec::new();
    Builder::new().finish(&mut |node| nodes.push(node));
    let Some(node) = nodes.pop() else {
        return Err(StoreError::Corrupt { table: "mst_node", column: "block" });
    };
    let signed = Signed::new(did, node.cid, rev, key);
    let repo_id = repo::insert(tx, account_id, tx.now())?;
    repo::set_head(tx, &signed.head(repo_id, 0))?;
    mst_node::put(tx, repo_id, rev, &node)?;
    account::set_repo(tx, account_id, repo_id)?;
    Ok(Genesis { commit: signed.meta(), signed, node })
}

impl Genesis {
    /// Announces it: `#commit` without predecessor, then `#sync`.
    pub fn append_events(&self, tx: &mut WriteTx<'_>) -> Result<(), StoreError> {
        let Signed { cid, block, .. } = &self.signed;
        let blocks = car::encode(&[*cid], [(cid, &block[..]), (&self.node.cid, &self.node.block[..])]);
        append_commit(tx, &self.signed, None, blocks, Vec::new())?;
        self.signed.append_sync(tx)
    }
}
