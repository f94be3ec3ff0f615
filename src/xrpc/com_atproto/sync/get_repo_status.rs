//! com.atproto.sync.getRepoStatus: whether a repo is served, for everyone to know (AC-3).

use atproto::syntax::{Did, Tid};
use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use super::find;
use crate::{
    app::App,
    xrpc::{Params, XrpcError},
};

/// Answers for inactive repos too, then without `rev`.
pub(super) async fn get_repo_status(
    State(app): State<App>,
    Params(params): Params<GetRepoStatusParams>,
) -> Result<Json<GetRepoStatusOutput>, XrpcError> {
    let account = find(&app, &params.did).await?;
    let head = match account.repo_id {
        Some(repo_id) if account.is_active() => app.repos.head(repo_id).await?,
        _ => None,
    };
    Ok(Json(GetRepoStatusOutput {
        active: account.is_active(),
        status: account.status().as_str(),
        rev: head.map(|head| head.rev),
        did: account.did,
    }))
}

#[derive(Deserialize)]
pub(super) struct GetRepoStatusParams {
    did: Did,
}

#[derive(Serialize)]
pub(super) struct GetRepoStatusOutput {
    did: Did,
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rev: Option<Tid>,
}
