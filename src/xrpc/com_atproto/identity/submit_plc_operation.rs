//! com.atproto.identity.submitPlcOperation: an operation that keeps or brings the account's DID here (MG-8).

use atproto::plc::Operation;
use axum::extract::State;
use serde::Deserialize;

use crate::{
    app::App,
    xrpc::{Caller, Input, XrpcError},
};

/// Refused unless the DID would say what this server needs of it; then sent to the directory and announced.
pub(super) async fn submit_plc_operation(
    State(app): State<App>,
    caller: Caller,
    Input(input): Input<SubmitPlcOperationInput>,
) -> Result<(), XrpcError> {
    let operation = Operation::from_json(&input.operation).map_err(XrpcError::invalid_request)?;
    Ok(app.accounts.submit_operation(&caller.account, operation).await?)
}

#[derive(Deserialize)]
pub(super) struct SubmitPlcOperationInput {
    operation: serde_json::Value,
}
