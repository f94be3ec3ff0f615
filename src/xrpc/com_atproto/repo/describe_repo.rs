//! com.atproto.repo.describeRepo: who a repository belongs to and what is in it, for anyone.

use atproto::syntax::{AtIdentifier, Did};
use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use super::find;
use crate::{
    app::App,
    service::identity::Freshness,
    store::account::Status,
    xrpc::{Params, XrpcError},
};

/// What a handle is said to be when there is none.
const INVALID_HANDLE: &str = "handle.invalid";

/// `handleIsCorrect` says whether the DID document names the handle too. DNS is not asked.
pub(super) async fn describe_repo(
    State(app): State<App>,
    Params(params): Params<DescribeRepoParams>,
) -> Result<Json<DescribeRepoOutput>, XrpcError> {
    let repo = &params.repo;
    let account = find(&app, repo).await?.ok_or_else(|| {
        XrpcError::bad_request("RepoNotFound", format_args!("Could not find repo for DID: {repo}"))
    })?;
    match account.status() {
        Status::Active => {}
        Status::Takendown => {
            return Err(XrpcError::bad_request(
                "RepoTakendown",
                format_args!("Repo has been takendown: {repo}"),
            ));
        }
        Status::Deactivated => {
            return Err(XrpcError::bad_request(
                "RepoDeactivated",
                format_args!("Repo has been deactivated: {repo}"),
            ));
        }
    }
    let document = app
        .did_resolver
        .resolve(&account.did, Freshness::Cached)
        .await
        .map_err(|error| XrpcError::invalid_request(format_args!("Could not resolve DID: {error}")))?;
    let collections = match account.repo_id {
        Some(repo_id) => app.repos.list_collections(repo_id).await?,
        None => Vec::new(),
    };
    Ok(Json(DescribeRepoOutput {
        handle_is_correct: account.handle.is_some() && document.handle() == account.handle,
        handle: account.handle.map_or(INVALID_HANDLE.to_owned(), |handle| handle.to_string()),
        did: account.did,
        did_doc: document.json().clone(),
        collections,
    }))
}

#[derive(Deserialize)]
pub(super) struct DescribeRepoParams {
    repo: AtIdentifier,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeRepoOutput {
    handle: String,
    did: Did,
    did_doc: serde_json::Value,
    collections: Vec<String>,
    handle_is_correct: bool,
}
