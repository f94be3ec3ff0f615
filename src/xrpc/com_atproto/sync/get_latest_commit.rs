//! com.atproto.sync.getLatestCommit: CID and rev of the head of a repo.

use atproto::syntax::{Did, Tid};
use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use super::readable_head;
use crate::{
    app::App,
    xrpc::{OptionalCaller, Params, XrpcError},
};

pub(super) async fn get_latest_commit(
    State(app): State<App>,
    Params(params): Params<GetLatestCommitParams>,
    caller: OptionalCaller,
) -> Result<Json<GetLatestCommitOutput>, XrpcError> {
    let head = readable_head(&app, &caller, &params.did).await?;
    Ok(Json(GetLatestCommitOutput { cid: head.commit.to_string(), rev: head.rev }))
}

#[derive(Deserialize)]
pub(super) struct GetLatestCommitParams {
    did: Did,
}

#[derive(Serialize)]
pub(super) struct GetLatestCommitOutput {
    cid: String,
    rev: Tid,
}
