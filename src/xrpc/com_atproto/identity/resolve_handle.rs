//! com.atproto.identity.resolveHandle: the DID behind a handle of this server.

use atproto::syntax::Handle;
use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use crate::{
    app::App,
    store::{StoreError, account},
    xrpc::{Params, XrpcError},
};

/// Handles of other servers are not looked up yet: they are 400 `InvalidRequest`. A handle under one of our
/// domains that no active account has is 400 `HandleNotFound` (HN-10).
pub(super) async fn resolve_handle(
    State(app): State<App>,
    Params(params): Params<ResolveHandleParams>,
) -> Result<Json<ResolveHandleOutput>, XrpcError> {
    let handle = params.handle.clone();
    let account = app
        .store
        .read(move |db| account::get_by_handle(db, &handle))
        .await
        .map_err(|error: StoreError| XrpcError::from(error))?
        .filter(|account| account.is_active());
    match account {
        Some(account) => Ok(Json(ResolveHandleOutput { did: account.did.to_string() })),
        None if app.settings.is_ours(params.handle.as_str()) => {
            Err(XrpcError::bad_request("HandleNotFound", "Unable to resolve handle"))
        }
        None => Err(XrpcError::invalid_request("Unable to resolve handle")),
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
