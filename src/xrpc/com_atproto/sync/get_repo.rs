//! com.atproto.sync.getRepo: a whole repo, or what came after a rev, as a CAR.

use atproto::syntax::{Did, Tid};
use axum::{extract::State, response::Response};
use serde::Deserialize;

use super::{car_stream_answer, export_error, readable_repo};
use crate::{
    app::App,
    xrpc::{Client, OptionalCaller, Params, XrpcError, caller::StandardOrTakendown},
};

/// Streams one state of the repo in constant memory; 503 while too many others do.
pub(super) async fn get_repo(
    State(app): State<App>,
    Params(params): Params<GetRepoParams>,
    caller: OptionalCaller<StandardOrTakendown>,
    Client(client): Client,
) -> Result<Response, XrpcError> {
    let repo_id = readable_repo(&app, &caller, &params.did).await?;
    let car = app.repos.export(repo_id, params.since, client.as_deref()).await;
    let car = car.map_err(|error| export_error(&params.did, error))?;
    Ok(car_stream_answer(&params.did, car))
}

#[derive(Deserialize)]
pub(super) struct GetRepoParams {
    did: Did,
    since: Option<Tid>,
}
