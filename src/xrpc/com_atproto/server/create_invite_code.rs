//! com.atproto.server.createInviteCode: one code of the operator's.

use atproto::syntax::Did;
use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use crate::{
    app::App,
    service::account::invite::{InviteError, OPERATOR},
    xrpc::{AdminOnly, Input, XrpcError},
};

/// `forAccount` need not have an account here.
pub(super) async fn create_invite_code(
    State(app): State<App>,
    _: AdminOnly,
    Input(input): Input<CreateInviteCodeInput>,
) -> Result<Json<CreateInviteCodeOutput>, XrpcError> {
    let account = input.for_account.map_or_else(|| OPERATOR.to_owned(), |did| did.to_string());
    let made = app.accounts.create_invites(vec![account], 1, input.use_count).await?;
    let code = made.into_iter().flat_map(|made| made.codes).next().ok_or(InviteError::Codes)?;
    Ok(Json(CreateInviteCodeOutput { code }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateInviteCodeInput {
    use_count: i64,
    for_account: Option<Did>,
}

#[derive(Serialize)]
pub(super) struct CreateInviteCodeOutput {
    code: String,
}

impl From<InviteError> for XrpcError {
    fn from(error: InviteError) -> XrpcError {
        match error {
            InviteError::Uses | InviteError::Codes | InviteError::Operators => {
                XrpcError::invalid_request(error)
            }
            InviteError::Store(error) => error.into(),
        }
    }
}
