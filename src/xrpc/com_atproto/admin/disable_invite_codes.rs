//! com.atproto.admin.disableInviteCodes: codes become useless, by name and by whose they are.

use axum::extract::State;
use serde::Deserialize;

use crate::{
    app::App,
    xrpc::{Input, Moderator, XrpcError},
};

/// Unknown codes and accounts are passed over.
pub(super) async fn disable_invite_codes(
    State(app): State<App>,
    _: Moderator,
    Input(input): Input<DisableInviteCodesInput>,
) -> Result<(), XrpcError> {
    Ok(app.accounts.disable_invites(input.codes, input.accounts).await?)
}

#[derive(Deserialize)]
pub(super) struct DisableInviteCodesInput {
    #[serde(default)]
    codes: Vec<String>,
    #[serde(default)]
    accounts: Vec<String>,
}
