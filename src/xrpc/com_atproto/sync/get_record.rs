//! com.atproto.sync.getRecord: a record with its proof, or the proof that it is not there.

use atproto::syntax::{Did, Nsid, RecordKey, RepoPath};
use axum::{extract::State, http::HeaderMap, response::Response};
use serde::Deserialize;

use super::{car_answer, proof_error, readable_repo, repo_not_found};
use crate::{
    app::App,
    xrpc::{
        OptionalCaller, Params, XrpcError,
        cache::{Keep, Tag},
    },
};

/// A record that is not there is no error: the CAR proves its absence (MST-16).
pub(super) async fn get_record(
    State(app): State<App>,
    Params(params): Params<GetRecordParams>,
    caller: OptionalCaller,
    headers: HeaderMap,
) -> Result<Response, XrpcError> {
    let repo_id = readable_repo(&app, &caller, &params.did).await?;
    let head = app.repos.head(repo_id).await?.ok_or_else(|| repo_not_found(&params.did))?;
    let tag = Tag::weak(head.commit, Keep::Revalidate);
    if tag.is_known(&headers) {
        return Ok(tag.not_modified());
    }
    let path = RepoPath::new(&params.collection, &params.rkey);
    let car = app.repos.prove_record(repo_id, path).await.map_err(|error| proof_error(&params.did, error))?;
    Ok(tag.on(car_answer(&params.did, car.into())))
}

#[derive(Deserialize)]
pub(super) struct GetRecordParams {
    did: Did,
    collection: Nsid,
    rkey: RecordKey,
}
