//! com.atproto.server.checkAccountStatus: how far a move to this server has come.

use axum::{Json, extract::State};
use serde::Serialize;

use crate::{
    app::App,
    xrpc::{Caller, XrpcError},
};

/// Answers whatever the account's status is. An account without a repository, into which nothing has been imported yet, is
/// 400 `InvalidRequest`: there is no commit to name.
pub(super) async fn check_account_status(
    State(app): State<App>,
    caller: Caller,
) -> Result<Json<CheckAccountStatusOutput>, XrpcError> {
    let progress = app.accounts.progress(&caller.account).await?;
    let (commit, rev) = progress.head.ok_or_else(|| {
        XrpcError::invalid_request("the account has no repository yet; import one or activate")
    })?;
    Ok(Json(CheckAccountStatusOutput {
        activated: progress.activated,
        valid_did: progress.valid_did,
        repo_commit: commit.to_string(),
        repo_rev: rev.to_string(),
        repo_blocks: progress.blocks,
        indexed_records: progress.records,
        private_state_values: 0,
        expected_blobs: progress.blobs_expected,
        imported_blobs: progress.blobs_held,
    }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CheckAccountStatusOutput {
    activated: bool,
    valid_did: bool,
    repo_commit: String,
    repo_rev: String,
    repo_blocks: u64,
    indexed_records: u64,
    /// Always 0, as in the reference; preferences are not counted.
    private_state_values: u64,
    expected_blobs: u64,
    imported_blobs: u64,
}
