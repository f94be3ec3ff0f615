//! com.atproto.sync.*: what the rest of the network reads from here (section 8 of the rules).
//!
//! Everything is public while the account is active. An inactive one is seen by itself and by the operator only
//! (AC-2, AC-3); [`readable`] is the one place that decides this.

mod get_blob;
mod get_blocks;
mod get_checkout;
mod get_head;
mod get_latest_commit;
mod get_record;
mod get_repo;
mod get_repo_status;
mod list_blobs;
mod list_repos;
mod subscribe_repos;

use atproto::syntax::Did;
use axum::{
    Router,
    body::Body,
    http::header,
    response::{IntoResponse, Response},
};

use crate::{
    app::App,
    service::repo::{
        export::{CarStream, ExportError},
        proof::ProofError,
    },
    store::{
        StoreError,
        account::{self, Account, Status},
        repo::Head,
    },
    xrpc::{OptionalCaller, XrpcError, caller::Accepts, params::CidText, query},
};

/// The methods of this group.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/xrpc/com.atproto.sync.getBlob", query(get_blob::get_blob))
        .route("/xrpc/com.atproto.sync.getBlocks", query(get_blocks::get_blocks))
        .route("/xrpc/com.atproto.sync.getCheckout", query(get_checkout::get_checkout))
        .route("/xrpc/com.atproto.sync.getHead", query(get_head::get_head))
        .route("/xrpc/com.atproto.sync.getLatestCommit", query(get_latest_commit::get_latest_commit))
        .route("/xrpc/com.atproto.sync.getRecord", query(get_record::get_record))
        .route("/xrpc/com.atproto.sync.getRepo", query(get_repo::get_repo))
        .route("/xrpc/com.atproto.sync.getRepoStatus", query(get_repo_status::get_repo_status))
        .route("/xrpc/com.atproto.sync.listBlobs", query(list_blobs::list_blobs))
        .route("/xrpc/com.atproto.sync.listRepos", query(list_repos::list_repos))
        .route("/xrpc/com.atproto.sync.subscribeRepos", subscribe_repos::route())
}

/// Finds an account, whatever its status: 400 `RepoNotFound` when it is not here.
async fn find(app: &App, did: &Did) -> Result<Account, XrpcError> {
    app.store
        .look(|db| account::get_by_did(db, did))
        .await
        .map_err(|error: StoreError| XrpcError::from(error))?
        .ok_or_else(|| repo_not_found(did))
}

/// Finds an account that `caller` may read: 400 `RepoNotFound`, `RepoTakendown` or `RepoDeactivated` (AC-3).
async fn readable<A: Accepts>(
    app: &App,
    caller: &OptionalCaller<A>,
    did: &Did,
) -> Result<Account, XrpcError> {
    let account = find(app, did).await?;
    match account.status() {
        _ if caller.may_read_inactive(did) => Ok(account),
        Status::Active => Ok(account),
        Status::Takendown => {
            Err(XrpcError::bad_request("RepoTakendown", format_args!("Repo has been takendown: {did}")))
        }
        Status::Deactivated => {
            Err(XrpcError::bad_request("RepoDeactivated", format_args!("Repo has been deactivated: {did}")))
        }
    }
}

/// As [`readable`]; returns the id of the repo, 400 `RepoNotFound` when there is no commit yet.
async fn readable_repo<A: Accepts>(
    app: &App,
    caller: &OptionalCaller<A>,
    did: &Did,
) -> Result<i64, XrpcError> {
    readable(app, caller, did).await?.repo_id.ok_or_else(|| repo_not_found(did))
}

/// As [`readable`]; returns the head of the repo.
async fn readable_head<A: Accepts>(
    app: &App,
    caller: &OptionalCaller<A>,
    did: &Did,
) -> Result<Head, XrpcError> {
    let repo_id = readable_repo(app, caller, did).await?;
    app.repos.head(repo_id).await?.ok_or_else(|| repo_not_found(did))
}

fn repo_not_found(did: &Did) -> XrpcError {
    XrpcError::bad_request("RepoNotFound", format_args!("Could not find repo for DID: {did}"))
}

/// A CAR answer (CAR-4), named after the repo for those who save it.
fn car_answer(did: &Did, body: Body) -> Response {
    let file_name = did.as_str().replace(':', "-");
    let headers = [
        (header::CONTENT_TYPE, "application/vnd.ipld.car".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{file_name}.car\"")),
    ];
    (headers, body).into_response()
}

fn car_stream_answer(did: &Did, car: CarStream) -> Response {
    car_answer(did, Body::from_stream(car))
}

/// Names the refusals of an export of the repo of `did`.
fn export_error(did: &Did, error: ExportError) -> XrpcError {
    match error {
        ExportError::NoRepo => repo_not_found(did),
        ExportError::BlocksNotFound(_) => XrpcError::invalid_request(error),
        ExportError::Busy => XrpcError::busy(error),
        ExportError::Abandoned => XrpcError::internal(error),
        ExportError::Store(error) => error.into(),
    }
}

/// Names the refusals of a proof.
fn proof_error(did: &Did, error: ProofError) -> XrpcError {
    match error {
        ProofError::NoRepo => repo_not_found(did),
        ProofError::Tree(_) => XrpcError::internal(error),
        ProofError::Store(error) => error.into(),
    }
}
