//! com.atproto.admin.*: what the operator and the moderation service do.

mod disable_account_invites;
mod disable_invite_codes;
mod enable_account_invites;
mod get_invite_codes;
mod update_account_handle;

use axum::Router;

use crate::{
    app::App,
    xrpc::{procedure, query},
};

/// The methods of this group.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route(
            "/xrpc/com.atproto.admin.disableAccountInvites",
            procedure(disable_account_invites::disable_account_invites),
        )
        .route(
            "/xrpc/com.atproto.admin.disableInviteCodes",
            procedure(disable_invite_codes::disable_invite_codes),
        )
        .route(
            "/xrpc/com.atproto.admin.enableAccountInvites",
            procedure(enable_account_invites::enable_account_invites),
        )
        .route("/xrpc/com.atproto.admin.getInviteCodes", query(get_invite_codes::get_invite_codes))
        .route(
            "/xrpc/com.atproto.admin.updateAccountHandle",
            procedure(update_account_handle::update_account_handle),
        )
}
