//! com.atproto.sync.listBlobs: the blobs that the records of a repo refer to (BL-16).

use atproto::syntax::{Did, Tid};
use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use super::{CidText, readable};
use crate::{
    app::App,
    store::{StoreError, blob},
    xrpc::{Limit, OptionalCaller, Params, XrpcError, caller::StandardOrTakendown},
};

/// Pages by CID. After an import it lists blobs whose bytes are still to come.
pub(super) async fn list_blobs(
    State(app): State<App>,
    Params(params): Params<ListBlobsParams>,
    caller: OptionalCaller<StandardOrTakendown>,
) -> Result<Json<ListBlobsOutput>, XrpcError> {
    let account = readable(&app, &caller, &params.did).await?;
    let Some(repo_id) = account.repo_id else {
        return Ok(Json(ListBlobsOutput { cids: Vec::new(), cursor: None }));
    };
    let cids = app
        .store
        .read(move |db| {
            let cursor = params.cursor.map(|cursor| cursor.0.to_string());
            blob::list_referenced(db, repo_id, params.since, cursor.as_deref(), params.limit.get())
        })
        .await
        .map_err(|error: StoreError| XrpcError::from(error))?;
    let cids: Vec<String> = cids.iter().map(ToString::to_string).collect();
    Ok(Json(ListBlobsOutput { cursor: cids.last().cloned(), cids }))
}

#[derive(Deserialize)]
pub(super) struct ListBlobsParams {
    did: Did,
    since: Option<Tid>,
    #[serde(default)]
    limit: Limit<1000, 500>,
    cursor: Option<CidText>,
}

#[derive(Serialize)]
pub(super) struct ListBlobsOutput {
    cids: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}
