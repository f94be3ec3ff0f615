//! com.atproto.sync.getBlocks: blocks of a repo by CID, all or none.

use atproto::syntax::Did;
use axum::{extract::State, http::HeaderMap, response::Response};
use serde::Deserialize;

use super::{CidText, car_stream_answer, export_error, readable_repo};
use crate::{
    app::App,
    service::repo::export::BLOCKS_MAX,
    xrpc::{
        Client, OptionalCaller, Params, XrpcError,
        cache::{Keep, Tag},
    },
};

/// Answers a CAR without roots; 400 `InvalidRequest` names the CIDs that the repo does not hold.
pub(super) async fn get_blocks(
    State(app): State<App>,
    Params(params): Params<GetBlocksParams>,
    caller: OptionalCaller,
    Client(client): Client,
    headers: HeaderMap,
) -> Result<Response, XrpcError> {
    let n_cids = params.cids.len();
    if n_cids > BLOCKS_MAX {
        return Err(XrpcError::invalid_request(format_args!(
            "{n_cids} cids given, at most {BLOCKS_MAX} are answered"
        )));
    }
    let repo_id = readable_repo(&app, &caller, &params.did).await?;
    // The address names all that is in the answer: any tag is right, as long as the blocks are there.
    let tag =
        Tag::weak(params.cids.last().map_or_else(String::new, |cid| cid.0.to_string()), Keep::Immutable);
    let cids = params.cids.into_iter().map(|cid| cid.0).collect();
    let car = app.repos.export_blocks(repo_id, cids, client.as_deref()).await;
    let car = car.map_err(|error| export_error(&params.did, error))?;
    Ok(if tag.is_known(&headers) { tag.not_modified() } else { tag.on(car_stream_answer(&params.did, car)) })
}

#[derive(Deserialize)]
pub(super) struct GetBlocksParams {
    did: Did,
    cids: Vec<CidText>,
}
