//! com.atproto.repo.listMissingBlobs: what an account that moved in has still to upload (MG-5).

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use atproto::data::cid;

use crate::{
    app::App,
    store::{StoreError, blob},
    xrpc::{Caller, Limit, Params, XrpcError},
};

/// Pages by CID; names one record for each blob. Works while the account is deactivated.
pub(super) async fn list_missing_blobs(
    State(app): State<App>,
    Params(params): Params<ListMissingBlobsParams>,
    caller: Caller,
) -> Result<Json<ListMissingBlobsOutput>, XrpcError> {
    caller.require_not_takendown()?;
    let cursor = params.cursor.map(|cursor| cid::parse(&cursor)).transpose();
    let cursor = cursor.map_err(|_| XrpcError::invalid_request("Malformed cursor"))?;
    let account = caller.account.clone();
    let missing = match account.repo_id {
        None => Vec::new(),
        Some(repo_id) => app
            .store
            .read(move |db| {
                let cursor = cursor.map(|cid| cid.to_string());
                blob::list_missing(db, account.id, repo_id, cursor.as_deref(), params.limit.get())
            })
            .await
            .map_err(|error: StoreError| XrpcError::from(error))?,
    };
    let did = &caller.account.did;
    let blobs: Vec<RecordBlob> = missing
        .into_iter()
        .map(|(cid, path)| RecordBlob { cid: cid.to_string(), record_uri: format!("at://{did}/{path}") })
        .collect();
    Ok(Json(ListMissingBlobsOutput { cursor: blobs.last().map(|blob| blob.cid.clone()), blobs }))
}

#[derive(Deserialize)]
pub(super) struct ListMissingBlobsParams {
    #[serde(default)]
    limit: Limit<1000, 500>,
    cursor: Option<String>,
}

#[derive(Serialize)]
pub(super) struct ListMissingBlobsOutput {
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    blobs: Vec<RecordBlob>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RecordBlob {
    cid: String,
    record_uri: String,
}
