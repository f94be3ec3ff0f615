//! com.atproto.identity.resolveHandle: the DID behind a handle.

use atproto::syntax::Handle;
use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use crate::{
    app::App,
    service::identity::{HandleLookupError, lookup::LookupError},
    xrpc::{Params, XrpcError},
};

/// A handle under one of our domains that no active account has is 400 `HandleNotFound`; one elsewhere that leads nowhere
/// is 400 `InvalidRequest` (HN-10).
pub(super) async fn resolve_handle(
    State(app): State<App>,
    Params(params): Params<ResolveHandleParams>,
) -> Result<Json<ResolveHandleOutput>, XrpcError> {
    match app.identities.resolve_handle(&params.handle).await {
        Ok(did) => Ok(Json(ResolveHandleOutput { did: did.to_string() })),
        Err(LookupError::Handle(HandleLookupError::NotFound | HandleLookupError::Tld)) => {
            Err(XrpcError::invalid_request("Unable to resolve handle"))
        }
        Err(error) => Err(error.into()),
    }
}

#[derive(Deserialize)]
pub(super) struct ResolveHandleParams {
    handle: Handle,
}

#[derive(Serialize)]
pub(super) struct ResolveHandleOutput {
    did: String,
}
