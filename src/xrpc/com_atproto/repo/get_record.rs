//! com.atproto.repo.getRecord: one record, for anyone.

use atproto::{
    data::Value,
    syntax::{AtIdentifier, Nsid, RecordKey, RepoPath},
};
use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use super::{CidText, find, record_uri};
use crate::{
    app::App,
    xrpc::{Params, XrpcError},
};

/// 400 `InvalidRequest` when the repo is not served here, `RecordNotFound` when it has no such record (or, with
/// `cid`, not that version of it).
pub(super) async fn get_record(
    State(app): State<App>,
    Params(params): Params<GetRecordParams>,
) -> Result<Json<GetRecordOutput>, XrpcError> {
    let path = RepoPath::new(&params.collection, &params.rkey);
    let not_found = || {
        let uri = format!("at://{}/{path}", params.repo);
        XrpcError::bad_request("RecordNotFound", format_args!("Could not locate record: {uri}"))
    };
    let account = find(&app, &params.repo).await?.filter(|account| account.is_active()).ok_or_else(|| {
        XrpcError::invalid_request(format_args!(
            "Could not locate record: {} is not hosted here",
            params.repo
        ))
    })?;
    let repo_id = account.repo_id.ok_or_else(not_found)?;
    let found = app.repos.get_record(repo_id, path.clone(), params.cid.map(|cid| cid.0)).await?;
    let record = found.ok_or_else(not_found)?;
    Ok(Json(GetRecordOutput {
        uri: record_uri(&account.did, &record.path),
        cid: record.cid.to_string(),
        value: record.value,
    }))
}

#[derive(Deserialize)]
pub(super) struct GetRecordParams {
    repo: AtIdentifier,
    collection: Nsid,
    rkey: RecordKey,
    cid: Option<CidText>,
}

/// A record as an answer; also an item of listRecords.
#[derive(Serialize)]
pub(super) struct GetRecordOutput {
    pub(super) uri: String,
    pub(super) cid: String,
    pub(super) value: Value,
}
