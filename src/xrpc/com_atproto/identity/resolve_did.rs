//! com.atproto.identity.resolveDid: the document of any DID.

use atproto::syntax::Did;
use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use crate::{
    app::App,
    service::identity::Freshness,
    xrpc::{Params, XrpcError},
};

/// What the cache has will do.
pub(super) async fn resolve_did(
    State(app): State<App>,
    Params(params): Params<ResolveDidParams>,
) -> Result<Json<ResolveDidOutput>, XrpcError> {
    let document = app.identities.resolve_did(&params.did, Freshness::Cached).await?;
    Ok(Json(ResolveDidOutput { did_doc: document.json().clone() }))
}

#[derive(Deserialize)]
pub(super) struct ResolveDidParams {
    did: Did,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResolveDidOutput {
    did_doc: serde_json::Value,
}
