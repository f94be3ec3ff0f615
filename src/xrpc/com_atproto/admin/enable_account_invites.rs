//! com.atproto.admin.enableAccountInvites: an account earns good codes again.

use atproto::syntax::Did;
use axum::extract::State;
use serde::Deserialize;

use crate::{
    app::App,
    service::account::invite::InviteRight,
    xrpc::{Input, Moderator, XrpcError},
};

/// Codes that it has stay as they are. `note` is for the moderation service's books and is not kept here.
pub(super) async fn enable_account_invites(
    State(app): State<App>,
    _: Moderator,
    Input(input): Input<EnableAccountInvitesInput>,
) -> Result<(), XrpcError> {
    Ok(app.accounts.set_invite_right(input.account, InviteRight::Granted).await?)
}

#[derive(Deserialize)]
pub(super) struct EnableAccountInvitesInput {
    account: Did,
}
