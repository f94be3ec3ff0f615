//! com.atproto.admin.*: what the operator and the moderation service do.

mod delete_account;
mod disable_account_invites;
mod disable_invite_codes;
mod enable_account_invites;
mod get_invite_codes;
mod send_email;
mod update_account_email;
mod update_account_password;

use axum::Router;

use crate::{
    app::App,
    xrpc::{procedure, query},
};

/// The methods of this group.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/xrpc/com.atproto.admin.deleteAccount", procedure(delete_account::delete_account))
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
        .route("/xrpc/com.atproto.admin.sendEmail", procedure(send_email::send_email))
        .route(
            "/xrpc/com.atproto.admin.updateAccountEmail",
            procedure(update_account_email::update_account_email),
        )
        .route(
            "/xrpc/com.atproto.admin.updateAccountPassword",
            procedure(update_account_password::update_account_password),
        )
}
