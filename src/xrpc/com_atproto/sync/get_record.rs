//! com.atproto.sync.getRecord: a record with its proof, or the proof that it is not there.

use atproto::syntax::{Did, Nsid, RecordKey, RepoPath};
use axum::{extract::State, response::Response};
use serde::Deserialize;

use super::{car_answer, proof_error, readable_repo};
use crate::{
    app::App,
    xrpc::{OptionalCaller, Params, XrpcError},
};

/// A record that is not there is no error: the CAR proves its absence (MST-16).
pub(super) async fn get_record(
    State(app): State<App>,
    Params(params): Params<GetRecordParams>,
    caller: OptionalCaller,
) -> Result<Response, XrpcError> {
    let repo_id = readable_repo(&app, &caller, &params.did).await?;
    let path = RepoPath::new(&params.collection, &params.rkey);
    let car = app.repos.prove_record(repo_id, path).await.map_err(|error| proof_error(&params.did, error))?;
    Ok(car_answer(&params.did, car.into()))
}

#[derive(Deserialize)]
pub(super) struct GetRecordParams {
    did: Did,
    collection: Nsid,
    rkey: RecordKey,
}
