//! com.atproto.admin.updateAccountSigningKey: another signing key for an account, in its DID and for its commits. The
//! reference lacks it.

use atproto::{crypto::PublicKey, syntax::Did};
use axum::extract::State;
use serde::Deserialize;

use crate::{
    app::App,
    service::{
        account::rotate::RotateError,
        identity::{PlcError, PublishKeyError, ResolveError},
    },
    xrpc::{AdminOnly, Input, XrpcError},
};

/// The key has to be one that was reserved here for the DID (reserveSigningKey), or the account's own.
pub(super) async fn update_account_signing_key(
    State(app): State<App>,
    _: AdminOnly,
    Input(input): Input<UpdateAccountSigningKeyInput>,
) -> Result<(), XrpcError> {
    let key = PublicKey::from_did_key(&input.signing_key)
        .map_err(|error| XrpcError::invalid_request(format_args!("signingKey is not a did:key: {error}")))?;
    Ok(app.accounts.set_signing_key(&input.did, &key).await?)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UpdateAccountSigningKeyInput {
    did: Did,
    signing_key: String,
}

impl From<RotateError> for XrpcError {
    fn from(error: RotateError) -> XrpcError {
        match error {
            RotateError::NoAccount(_) => XrpcError::bad_request("AccountNotFound", error),
            RotateError::NotHeld { .. } => XrpcError::invalid_request(error),
            RotateError::Publish(
                PublishKeyError::Plc(PlcError::Unavailable(_))
                | PublishKeyError::Resolve(ResolveError::Failed { .. }),
            ) => XrpcError::upstream_failure(error),
            RotateError::Publish(PublishKeyError::Key(error)) | RotateError::Key(error) => {
                XrpcError::internal(error)
            }
            RotateError::Publish(PublishKeyError::Store(error)) | RotateError::Store(error) => error.into(),
            RotateError::Publish(_) => XrpcError::invalid_request(error),
        }
    }
}
