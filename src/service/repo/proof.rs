//! A record, there or not, with the nodes that prove it: `com.atproto.sync.getRecord` (MST-16).
//!
//! Not for: whole repos and blocks by CID ([`super::export`]).

use atproto::{
    data::Cid,
    mst::{self, Tree},
    repo::car,
    syntax::RepoPath,
};

use super::Repos;
use crate::store::{
    StoreError,
    mst_node::StoredNodes,
    record,
    repo::{self, Head},
};

/// Why a record cannot be proved.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// There is no commit yet.
    #[error("the repo has no commit yet")]
    NoRepo,
    /// The stored tree is damaged.
    #[error("the stored tree cannot be read")]
    Tree(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<mst::Error<StoreError>> for ProofError {
    fn from(error: mst::Error<StoreError>) -> Self {
        match error {
            mst::Error::Source(error) => ProofError::Store(error),
            error => ProofError::Tree(error.into()),
        }
    }
}

impl Repos {
    /// The head of `repo_id`; `None` before the first commit.
    pub async fn head(&self, repo_id: i64) -> Result<Option<Head>, StoreError> {
        self.inner.store.look(|db| repo::get_head(db, repo_id)).await
    }

    /// A CAR with the commit as root and first block, the nodes from the root of the tree to where `path` is or would
    /// be, and the record if there is one.
    ///
    /// One state of the repo. Bounded by the depth of the tree and the size of one record.
    pub async fn prove_record(&self, repo_id: i64, path: RepoPath) -> Result<Vec<u8>, ProofError> {
        self.inner
            .store
            .read(move |db| {
                let head = repo::get_head(db, repo_id)?.ok_or(ProofError::NoRepo)?;
                let mut nodes = StoredNodes::new(db, repo_id);
                let (_, root_block) = nodes
                    .root()?
                    .filter(|(root, _)| *root == head.data)
                    .ok_or(mst::Error::MissingNode(head.data))?;
                let nodes = Tree::open(head.data, &root_block)
                    .map_err(|error| ProofError::Tree(error.into()))?
                    .path_proof(path.as_str().as_bytes(), &mut nodes)?;
                let record = record::get(db, repo_id, &path)?;
                let commit = std::iter::once((&head.commit, head.commit_block.as_slice()));
                let nodes = nodes.iter().map(|(cid, block)| (cid, block.as_slice()));
                let record = record.iter().map(|record| (&record.cid, record.body.as_slice()));
                let blocks: Vec<(&Cid, &[u8])> = commit.chain(nodes).chain(record).collect();
                Ok(car::encode(&[head.commit], blocks))
            })
            .await
    }
}
