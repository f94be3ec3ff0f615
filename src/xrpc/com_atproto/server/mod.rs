//! com.atproto.server.*

mod create_account;
mod create_app_password;
mod create_invite_code;
mod create_invite_codes;
mod create_session;
pub(in crate::xrpc) mod defs;
mod delete_session;
mod describe_server;
mod get_account_invite_codes;
mod get_service_auth;
mod get_session;
mod list_app_passwords;
mod refresh_session;
mod refresh_token;
mod reserve_signing_key;
mod revoke_app_password;

use axum::Router;
use serde::Serialize;

use crate::{
    app::App,
    service::auth::{
        password::PasswordError,
        session::{Session, SessionError},
    },
    store::account::Account,
    xrpc::{XrpcError, procedure, query},
};

/// The methods of this group.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/xrpc/com.atproto.server.createAccount", procedure(create_account::create_account))
        .route(
            "/xrpc/com.atproto.server.createAppPassword",
            procedure(create_app_password::create_app_password),
        )
        .route("/xrpc/com.atproto.server.createInviteCode", procedure(create_invite_code::create_invite_code))
        .route(
            "/xrpc/com.atproto.server.createInviteCodes",
            procedure(create_invite_codes::create_invite_codes),
        )
        .route("/xrpc/com.atproto.server.createSession", procedure(create_session::create_session))
        .route("/xrpc/com.atproto.server.deleteSession", procedure(delete_session::delete_session))
        .route("/xrpc/com.atproto.server.describeServer", query(describe_server::describe_server))
        .route(
            "/xrpc/com.atproto.server.getAccountInviteCodes",
            query(get_account_invite_codes::get_account_invite_codes),
        )
        .route("/xrpc/com.atproto.server.getServiceAuth", query(get_service_auth::get_service_auth))
        .route("/xrpc/com.atproto.server.getSession", query(get_session::get_session))
        .route("/xrpc/com.atproto.server.listAppPasswords", query(list_app_passwords::list_app_passwords))
        .route("/xrpc/com.atproto.server.refreshSession", procedure(refresh_session::refresh_session))
        .route(
            "/xrpc/com.atproto.server.reserveSigningKey",
            procedure(reserve_signing_key::reserve_signing_key),
        )
        .route(
            "/xrpc/com.atproto.server.revokeAppPassword",
            procedure(revoke_app_password::revoke_app_password),
        )
}

/// What an account's owner is told of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AccountView {
    did: String,
    handle: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    email_confirmed: bool,
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
}

impl From<&Account> for AccountView {
    fn from(account: &Account) -> AccountView {
        AccountView {
            did: account.did.to_string(),
            handle: handle_or_invalid(account),
            email: account.email.clone(),
            email_confirmed: account.email_confirmed_at.is_some(),
            active: account.is_active(),
            status: account.status().as_str(),
        }
    }
}

/// A pair of tokens and what they are for.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionView {
    access_jwt: String,
    refresh_jwt: String,
    #[serde(flatten)]
    account: AccountView,
}

impl From<Session> for SessionView {
    fn from(session: Session) -> SessionView {
        SessionView {
            account: AccountView::from(&session.account),
            access_jwt: session.access_jwt,
            refresh_jwt: session.refresh_jwt,
        }
    }
}

/// HN-4
fn handle_or_invalid(account: &Account) -> String {
    account.handle.as_ref().map_or_else(|| "handle.invalid".to_owned(), ToString::to_string)
}

impl From<SessionError> for XrpcError {
    fn from(error: SessionError) -> XrpcError {
        match error {
            SessionError::Credentials => XrpcError::authentication_required(error),
            SessionError::Takendown => XrpcError::unauthorized("AccountTakedown", error),
            SessionError::AccountMissing(_) => XrpcError::invalid_request(error),
            SessionError::Revoked => XrpcError::bad_request("ExpiredToken", error),
            SessionError::Password(error) => error.into(),
            SessionError::Store(error) => error.into(),
        }
    }
}

impl From<PasswordError> for XrpcError {
    fn from(error: PasswordError) -> XrpcError {
        match error {
            PasswordError::Busy => XrpcError::busy(error),
            error @ PasswordError::Hash(_) => XrpcError::internal(error),
        }
    }
}
