//! com.atproto.server.reserveSigningKey: the key that an account will sign with, before there is one.

use atproto::syntax::Did;
use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use crate::{
    app::App,
    service::account::reserve::ReserveError,
    xrpc::{Input, XrpcError},
};

/// Anyone may ask. The same DID gets the same key, until an account is made for it or three days have passed.
pub(super) async fn reserve_signing_key(
    State(app): State<App>,
    Input(input): Input<ReserveSigningKeyInput>,
) -> Result<Json<ReserveSigningKeyOutput>, XrpcError> {
    let signing_key = app.accounts.reserve_signing_key(input.did).await?;
    Ok(Json(ReserveSigningKeyOutput { signing_key }))
}

#[derive(Deserialize)]
pub(super) struct ReserveSigningKeyInput {
    did: Option<Did>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReserveSigningKeyOutput {
    signing_key: String,
}

impl From<ReserveError> for XrpcError {
    fn from(error: ReserveError) -> XrpcError {
        match error {
            ReserveError::Full => XrpcError::busy(error),
            ReserveError::Key(error) => XrpcError::internal(error),
            ReserveError::Store(error) => error.into(),
        }
    }
}
