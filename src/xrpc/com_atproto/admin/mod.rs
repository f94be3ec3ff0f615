//! com.atproto.admin.*: what the operator and the moderation service do.

mod defs;
mod delete_account;
mod disable_account_invites;
mod disable_invite_codes;
mod enable_account_invites;
mod get_account_info;
mod get_account_infos;
mod get_invite_codes;
mod get_subject_status;
mod search_accounts;
mod send_email;
mod update_account_email;
mod update_account_handle;
mod update_account_password;
mod update_account_signing_key;
mod update_subject_status;

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
        .route("/xrpc/com.atproto.admin.getAccountInfo", query(get_account_info::get_account_info))
        .route("/xrpc/com.atproto.admin.getAccountInfos", query(get_account_infos::get_account_infos))
        .route("/xrpc/com.atproto.admin.getSubjectStatus", query(get_subject_status::get_subject_status))
        .route("/xrpc/com.atproto.admin.searchAccounts", query(search_accounts::search_accounts))
        .route(
            "/xrpc/com.atproto.admin.updateAccountSigningKey",
            procedure(update_account_signing_key::update_account_signing_key),
        )
        .route(
            "/xrpc/com.atproto.admin.updateSubjectStatus",
            procedure(update_subject_status::update_subject_status),
        )
        .route(
            "/xrpc/com.atproto.admin.updateAccountHandle",
            procedure(update_account_handle::update_account_handle),
        )
}
