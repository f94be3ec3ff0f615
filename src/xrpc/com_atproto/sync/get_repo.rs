//! com.atproto.sync.getRepo: a whole repo, or what came after a rev, as a CAR.

use std::convert::Infallible;

use atproto::syntax::{Did, Tid};
use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Method},
    response::Response,
};
use serde::Deserialize;

use super::{car_answer, car_stream_answer, export_error, readable_repo, repo_not_found};
use crate::{
    app::App,
    xrpc::{
        Client, OptionalCaller, Params, XrpcError,
        cache::{Keep, Tag},
        caller::StandardOrTakendown,
    },
};

/// Streams one state of the repo in constant memory; 503 while too many others do. The entity tag is the head's: whoever
/// has that state already is told so, and costs no export.
pub(super) async fn get_repo(
    State(app): State<App>,
    Params(params): Params<GetRepoParams>,
    caller: OptionalCaller<StandardOrTakendown>,
    Client(client): Client,
    verb: Method,
    headers: HeaderMap,
) -> Result<Response, XrpcError> {
    let repo_id = readable_repo(&app, &caller, &params.did).await?;
    let head = app.repos.head(repo_id).await?.ok_or_else(|| repo_not_found(&params.did))?;
    let tag = Tag::weak(head.commit, Keep::Revalidate);
    if tag.is_known(&headers) {
        return Ok(tag.not_modified());
    }
    if verb == Method::HEAD {
        // Of unknown length, as the export is.
        let nothing = futures::stream::empty::<Result<Bytes, Infallible>>();
        return Ok(tag.on(car_answer(&params.did, Body::from_stream(nothing))));
    }
    let car = app.repos.export(repo_id, params.since, client.as_deref()).await;
    let car = car.map_err(|error| export_error(&params.did, error))?;
    Ok(tag.on(car_stream_answer(&params.did, car)))
}

#[derive(Deserialize)]
pub(super) struct GetRepoParams {
    did: Did,
    since: Option<Tid>,
}
