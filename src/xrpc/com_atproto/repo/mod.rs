//! com.atproto.repo.*: writing and reading records, uploading blobs, importing a repository.
//!
//! A write method asks, in this order: is `repo` an active account here, is it the caller's own, are the writes good.

mod apply_writes;
mod create_record;
mod delete_record;
mod describe_repo;
mod get_record;
mod import_repo;
mod list_missing_blobs;
mod list_records;
mod put_record;
mod upload_blob;

use atproto::syntax::{AtIdentifier, AtUri, Did, RepoPath, Tid};
use axum::Router;
use serde::Serialize;

use crate::{
    app::App,
    service::repo::write::{Applied, CommitMeta, ValidationStatus, WriteError, WriteRequest},
    store::{
        StoreError,
        account::{self, Account, Status},
    },
    xrpc::{Session, XrpcError, params::CidText, procedure, query},
};

/// The methods of this group.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/xrpc/com.atproto.repo.applyWrites", procedure(apply_writes::apply_writes))
        .route("/xrpc/com.atproto.repo.createRecord", procedure(create_record::create_record))
        .route("/xrpc/com.atproto.repo.deleteRecord", procedure(delete_record::delete_record))
        .route("/xrpc/com.atproto.repo.describeRepo", query(describe_repo::describe_repo))
        .route("/xrpc/com.atproto.repo.getRecord", query(get_record::get_record))
        .route("/xrpc/com.atproto.repo.importRepo", procedure(import_repo::import_repo))
        .route("/xrpc/com.atproto.repo.listMissingBlobs", query(list_missing_blobs::list_missing_blobs))
        .route("/xrpc/com.atproto.repo.listRecords", query(list_records::list_records))
        .route("/xrpc/com.atproto.repo.putRecord", procedure(put_record::put_record))
        .route("/xrpc/com.atproto.repo.uploadBlob", procedure(upload_blob::upload_blob))
}

impl From<WriteError> for XrpcError {
    fn from(error: WriteError) -> XrpcError {
        match error {
            WriteError::SwapCommit { .. } | WriteError::SwapRecord { .. } => {
                XrpcError::bad_request("InvalidSwap", error)
            }
            WriteError::Invalid(_) | WriteError::NoRepo => XrpcError::invalid_request(error),
            WriteError::BlobNotFound(_) => XrpcError::bad_request("BlobNotFound", error),
            WriteError::BlobMimeType(_) => XrpcError::bad_request("InvalidMimeType", error),
            WriteError::BlobSize(_) => XrpcError::bad_request("InvalidSize", error),
            WriteError::Inactive(Status::Takendown) => account_takendown(),
            WriteError::Inactive(_) => {
                XrpcError::unauthorized("AccountDeactivated", "Account is deactivated")
            }
            WriteError::NoAccount => account_not_found(),
            WriteError::KeyChanged => XrpcError::busy(error),
            WriteError::Store(error) => error.into(),
            WriteError::Key(error) => XrpcError::internal(error),
        }
    }
}

fn account_takendown() -> XrpcError {
    XrpcError::unauthorized("AccountTakedown", "Account has been taken down")
}

fn account_not_found() -> XrpcError {
    XrpcError::forbidden("AccountNotFound", "Account not found")
}

/// Applies `request` to `repo`, which has to be an active account here (403 `AccountNotFound`, 401 `AccountTakedown`, 401
/// `AccountDeactivated`) and the caller's own (401 `AuthenticationRequired`).
///
/// The commit finds out by itself whether it may be made. So the account is looked at only when there is something to
/// refuse: what is wrong with it comes before what is wrong with the writes.
async fn write(
    app: &App,
    session: &Session,
    repo: &AtIdentifier,
    request: WriteRequest,
) -> Result<Applied, XrpcError> {
    let caller = || session.clone().caller(app);
    if !matches!(repo, AtIdentifier::Did(did) if *did == session.did) {
        caller().await?.require_own_repo(app, repo).await?;
    }
    match app.repos.apply_writes(&session.did, request).await {
        Ok(applied) => Ok(applied),
        Err(error) => {
            caller().await?.require_active()?;
            Err(error.into())
        }
    }
}

/// The account that a public read names, whatever its status.
async fn find(app: &App, repo: &AtIdentifier) -> Result<Option<Account>, XrpcError> {
    app.store.look(|db| account::get_by_identifier(db, repo)).await.map_err(|error: StoreError| error.into())
}

/// `at://did/collection/rkey`: always with the DID (XR-18).
fn record_uri(did: &Did, path: &RepoPath) -> String {
    AtUri::from_parts(did, path).to_string()
}

/// `com.atproto.repo.defs#commitMeta`
#[derive(Serialize)]
struct CommitMetaOutput {
    cid: String,
    rev: Tid,
}

impl From<CommitMeta> for CommitMetaOutput {
    fn from(commit: CommitMeta) -> CommitMetaOutput {
        CommitMetaOutput { cid: commit.cid.to_string(), rev: commit.rev }
    }
}

/// The protocol's word.
fn validation_word(status: ValidationStatus) -> &'static str {
    match status {
        ValidationStatus::Valid => "valid",
        ValidationStatus::Unknown => "unknown",
    }
}
