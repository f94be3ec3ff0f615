//! com.atproto.identity.resolveIdentity: DID, document and handle behind a DID or a handle, each checked against the
//! others.

use atproto::syntax::AtIdentifier;
use axum::{Json, extract::State};
use serde::Deserialize;

use super::IdentityInfo;
use crate::{
    app::App,
    service::identity::Freshness,
    xrpc::{Params, XrpcError},
};

/// The handle is `handle.invalid` unless the document claims it and it leads back to the DID (HN-9).
pub(super) async fn resolve_identity(
    State(app): State<App>,
    Params(params): Params<ResolveIdentityParams>,
) -> Result<Json<IdentityInfo>, XrpcError> {
    let identity = app.identities.resolve_identity(&params.identifier, Freshness::Cached).await?;
    Ok(Json(identity.into()))
}

#[derive(Deserialize)]
pub(super) struct ResolveIdentityParams {
    identifier: AtIdentifier,
}
