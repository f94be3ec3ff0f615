//! com.atproto.identity.signPlcOperation: an operation of the owner's, signed with the server's rotation key (MG-13).

use std::collections::BTreeMap;

use atproto::plc::Service;
use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use crate::{
    app::App,
    service::{account::email_token::Purpose, identity::plc_operation::Changes},
    xrpc::{Caller, Input, XrpcError, caller::FullAccessOrTakendown},
};

/// The mailed code is used up before the directory is asked. Fields that are given replace those of the last operation as
/// a whole. Nothing is submitted.
pub(super) async fn sign_plc_operation(
    State(app): State<App>,
    caller: Caller<FullAccessOrTakendown>,
    Input(input): Input<SignPlcOperationInput>,
) -> Result<Json<SignPlcOperationOutput>, XrpcError> {
    let token = input.token.ok_or_else(|| {
        XrpcError::invalid_request("email confirmation token required to sign PLC operations")
    })?;
    app.email_tokens.consume(&caller.account, Purpose::PlcOperation, &token).await?;
    let changes = Changes {
        rotation_keys: input.rotation_keys,
        also_known_as: input.also_known_as,
        verification_methods: input.verification_methods,
        services: input.services,
    };
    let operation = app.identities.sign_operation(&caller.account, changes).await?;
    Ok(Json(SignPlcOperationOutput { operation: operation.to_json() }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SignPlcOperationInput {
    token: Option<String>,
    rotation_keys: Option<Vec<String>>,
    also_known_as: Option<Vec<String>>,
    verification_methods: Option<BTreeMap<String, String>>,
    services: Option<BTreeMap<String, Service>>,
}

#[derive(Serialize)]
pub(super) struct SignPlcOperationOutput {
    operation: serde_json::Value,
}
