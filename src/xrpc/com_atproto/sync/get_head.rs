//! com.atproto.sync.getHead: the old form of getLatestCommit, without the rev.

use atproto::syntax::Did;
use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use super::readable_head;
use crate::{
    app::App,
    xrpc::{OptionalCaller, Params, XrpcError},
};

/// Deprecated in the lexicon; old clients still call it.
pub(super) async fn get_head(
    State(app): State<App>,
    Params(params): Params<GetHeadParams>,
    caller: OptionalCaller,
) -> Result<Json<GetHeadOutput>, XrpcError> {
    let head = readable_head(&app, &caller, &params.did).await?;
    Ok(Json(GetHeadOutput { root: head.commit.to_string() }))
}

#[derive(Deserialize)]
pub(super) struct GetHeadParams {
    did: Did,
}

#[derive(Serialize)]
pub(super) struct GetHeadOutput {
    root: String,
}
