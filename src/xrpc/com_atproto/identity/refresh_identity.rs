//! com.atproto.identity.refreshIdentity: as resolveIdentity, and what is cached is asked for anew.

use atproto::syntax::AtIdentifier;
use axum::{Json, extract::State};
use serde::Deserialize;

use super::IdentityInfo;
use crate::{
    app::App,
    service::identity::Freshness,
    xrpc::{Caller, Input, XrpcError},
};

/// For accounts of this server only: it makes the server ask others each time.
pub(super) async fn refresh_identity(
    State(app): State<App>,
    caller: Caller,
    Input(input): Input<RefreshIdentityInput>,
) -> Result<Json<IdentityInfo>, XrpcError> {
    caller.require_not_takendown()?;
    let identity = app.identities.resolve_identity(&input.identifier, Freshness::Forced).await?;
    Ok(Json(identity.into()))
}

#[derive(Deserialize)]
pub(super) struct RefreshIdentityInput {
    identifier: AtIdentifier,
}
