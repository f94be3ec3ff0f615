//! com.atproto.admin.disableAccountInvites: codes that an account earns from now on are good for nothing.

use atproto::syntax::Did;
use axum::extract::State;
use serde::Deserialize;

use crate::{
    app::App,
    service::account::invite::InviteRight,
    xrpc::{Input, Moderator, XrpcError},
};

/// Codes that it has stay as they are. `note` is for the moderation service's books and is not kept here.
pub(super) async fn disable_account_invites(
    State(app): State<App>,
    _: Moderator,
    Input(input): Input<DisableAccountInvitesInput>,
) -> Result<(), XrpcError> {
    Ok(app.accounts.set_invite_right(input.account, InviteRight::Withdrawn).await?)
}

#[derive(Deserialize)]
pub(super) struct DisableAccountInvitesInput {
    account: Did,
}
