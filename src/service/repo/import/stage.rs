//! From checked blocks to the rows of a generation that nobody sees yet.

use atproto::{
    data::{Cid, Value, blob_ref, cbor},
    mst::{Builder, PlacedNode, Walk},
    syntax::{RepoPath, Tid},
};
use tokio::runtime::Handle;

use super::{ImportError, Progress, receive::Blocks};
use crate::{
    service::repo::prepare::link_target,
    store::{
        Store, StoreError, WriteTx,
        backlink::{self, Backlink},
        blob, mst_node,
        record::{self, NewRecord},
        repo,
    },
};

/// Rows written in one go: other accounts' writes wait no longer than these take.
const CHUNK_ROWS: usize = 1_000;
/// Backlinks written in one go; sorted, they cost far less than rows.
const CHUNK_BACKLINKS: usize = 8_000;
/// Bytes held before they are written.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// A generation being filled.
pub(super) struct Stage<'a> {
    store: &'a Store,
    runtime: &'a Handle,
    repo_id: i64,
    rev: Tid,
    chunk: Chunk,
    bytes_left: u64,
    bytes_max: u64,
}

impl<'a> Stage<'a> {
    /// Makes the generation. `rev` is that of its rows; `bytes_max` bounds its records, which need not be bounded by
    /// the size of the CAR: many paths can share one block.
    pub(super) fn open(
        store: &'a Store,
        runtime: &'a Handle,
        account_id: i64,
        rev: Tid,
        bytes_max: u64,
    ) -> Result<Stage<'a>, ImportError> {
        let repo_id = runtime.block_on(store.write(move |tx| repo::insert(tx, account_id, tx.now())))?;
        Ok(Stage { store, runtime, repo_id, rev, chunk: Chunk::default(), bytes_left: bytes_max, bytes_max })
    }

    pub(super) fn repo_id(&self) -> i64 {
        self.repo_id
    }

    /// Walks the tree under `data`, builds it anew and writes the rows; returns the number of records.
    pub(super) fn fill(
        &mut self,
        blocks: &mut Blocks,
        data: Cid,
        mut progress: Progress,
        report: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<i64, ImportError> {
        let mut walk = Walk::new(data);
        let mut builder = Builder::new();
        while let Some((key, cid)) = walk.next(blocks)? {
            let path = parse_path(&key)?;
            let body = blocks.get(&cid)?.ok_or(ImportError::Missing { what: "record", cid })?;
            let value = parse_record(&path, &body)?;
            self.bytes_left = self
                .bytes_left
                .checked_sub(body.len() as u64)
                .ok_or(ImportError::TooLarge(self.bytes_max))?;
            self.chunk.push_record(StagedRecord {
                blobs: blob_ref::collect_lenient(&value),
                link_to: link_target(path.collection(), &value).map(str::to_owned),
                path,
                cid,
                body,
            });
            builder.push(&key, cid, &mut |node| self.chunk.push_node(node))?;
            progress.records += 1;
            if self.chunk.is_full() {
                self.flush()?;
                report(progress);
            }
        }
        let rebuilt = builder.finish(&mut |node| self.chunk.push_node(node));
        if rebuilt != data {
            return Err(ImportError::NotCanonical { data: Box::new(data), rebuilt: Box::new(rebuilt) });
        }
        self.flush()?;
        self.enter_backlinks()?;
        report(progress);
        Ok(i64::try_from(progress.records).unwrap_or(i64::MAX))
    }

    /// Makes the records known by what they point at.
    fn enter_backlinks(&self) -> Result<(), StoreError> {
        let db = self.store.open_snapshot()?;
        let (repo_id, mut chunk) = (self.repo_id, Vec::new());
        let write = |chunk: Vec<Backlink>| {
            self.runtime.block_on(self.store.write(move |tx| backlink::enter(tx, repo_id, &chunk)))
        };
        backlink::scan_staged(&db, repo_id, |backlink| {
            chunk.push(backlink);
            if chunk.len() < CHUNK_BACKLINKS { Ok(()) } else { write(std::mem::take(&mut chunk)) }
        })?;
        write(chunk)
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let chunk = std::mem::take(&mut self.chunk);
        let (repo_id, rev) = (self.repo_id, self.rev);
        self.runtime.block_on(self.store.write(move |tx| chunk.insert(tx, repo_id, rev)))
    }
}

/// Paths are kept as they are, but they must be paths.
fn parse_path(key: &[u8]) -> Result<RepoPath, ImportError> {
    let problem =
        |problem: String| ImportError::Path { key: String::from_utf8_lossy(key).into_owned(), problem };
    let text = std::str::from_utf8(key).map_err(|error| problem(error.to_string()))?;
    RepoPath::parse(text).map_err(|error| problem(error.to_string()))
}

fn parse_record(path: &RepoPath, body: &[u8]) -> Result<Value, ImportError> {
    let problem = |problem: String| ImportError::Record { path: path.clone(), problem };
    match cbor::decode(body) {
        Ok(value @ Value::Map(_)) => Ok(value),
        Ok(_) => Err(problem("a record is an object".into())),
        Err(error) => Err(problem(error.to_string())),
    }
}

struct StagedRecord {
    path: RepoPath,
    cid: Cid,
    body: Vec<u8>,
    blobs: Vec<Cid>,
    link_to: Option<String>,
}

/// Rows that wait to be written.
#[derive(Default)]
struct Chunk {
    records: Vec<StagedRecord>,
    nodes: Vec<PlacedNode>,
    bytes: usize,
}

impl Chunk {
    fn push_record(&mut self, record: StagedRecord) {
        self.bytes += record.body.len();
        self.records.push(record);
    }

    fn push_node(&mut self, node: PlacedNode) {
        self.bytes += node.block.len();
        self.nodes.push(node);
    }

    fn is_full(&self) -> bool {
        self.records.len() + self.nodes.len() >= CHUNK_ROWS || self.bytes >= CHUNK_BYTES
    }

    fn insert(&self, tx: &mut WriteTx<'_>, repo_id: i64, rev: Tid) -> Result<(), StoreError> {
        for StagedRecord { path, cid, body, blobs, link_to } in &self.records {
            let link_to = link_to.as_deref();
            record::put(tx, repo_id, rev, tx.now(), NewRecord { path, cid, link_to, body })?;
            for blob in blobs {
                blob::link(tx, repo_id, path, rev, blob)?;
            }
        }
        self.nodes.iter().try_for_each(|node| mst_node::put(tx, repo_id, rev, node).map(|_| ()))
    }
}
