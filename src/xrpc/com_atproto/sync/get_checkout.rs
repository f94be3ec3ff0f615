//! com.atproto.sync.getCheckout: the old name of getRepo without `since`.

use atproto::syntax::Did;
use axum::{extract::State, response::Response};
use serde::Deserialize;

use super::{car_stream_answer, export_error, readable_repo};
use crate::{
    app::App,
    xrpc::{Client, OptionalCaller, Params, XrpcError},
};

/// Deprecated in the lexicon; old clients still call it.
pub(super) async fn get_checkout(
    State(app): State<App>,
    Params(params): Params<GetCheckoutParams>,
    caller: OptionalCaller,
    Client(client): Client,
) -> Result<Response, XrpcError> {
    let repo_id = readable_repo(&app, &caller, &params.did).await?;
    let car = app.repos.export(repo_id, None, client.as_deref()).await;
    let car = car.map_err(|error| export_error(&params.did, error))?;
    Ok(car_stream_answer(&params.did, car))
}

#[derive(Deserialize)]
pub(super) struct GetCheckoutParams {
    did: Did,
}
