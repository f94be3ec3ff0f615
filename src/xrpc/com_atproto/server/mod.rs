//! com.atproto.server.*

mod activate_account;
mod check_account_status;
mod confirm_email;
mod create_account;
mod create_app_password;
mod create_invite_code;
mod create_invite_codes;
mod create_session;
mod deactivate_account;
pub(in crate::xrpc) mod defs;
mod delete_account;
mod delete_session;
mod describe_server;
mod get_account_invite_codes;
mod get_service_auth;
mod get_session;
mod list_app_passwords;
mod refresh_session;
mod refresh_token;
mod request_account_delete;
mod request_email_confirmation;
mod request_email_update;
mod request_password_reset;
mod reserve_signing_key;
mod reset_password;
mod revoke_app_password;
mod update_email;

use axum::Router;
use serde::Serialize;

use crate::{
    app::App,
    service::{
        account::{email_token::EmailTokenError, status::StatusError},
        auth::{
            password::PasswordError,
            session::{Session, SessionError},
        },
        identity::ValidityError,
    },
    store::account::Account,
    xrpc::{XrpcError, procedure, query},
};

/// The methods of this group.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/xrpc/com.atproto.server.activateAccount", procedure(activate_account::activate_account))
        .route(
            "/xrpc/com.atproto.server.checkAccountStatus",
            query(check_account_status::check_account_status),
        )
        .route("/xrpc/com.atproto.server.confirmEmail", procedure(confirm_email::confirm_email))
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
        .route(
            "/xrpc/com.atproto.server.deactivateAccount",
            procedure(deactivate_account::deactivate_account),
        )
        .route("/xrpc/com.atproto.server.deleteAccount", procedure(delete_account::delete_account))
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
            "/xrpc/com.atproto.server.requestAccountDelete",
            procedure(request_account_delete::request_account_delete),
        )
        .route(
            "/xrpc/com.atproto.server.requestEmailConfirmation",
            procedure(request_email_confirmation::request_email_confirmation),
        )
        .route(
            "/xrpc/com.atproto.server.requestEmailUpdate",
            procedure(request_email_update::request_email_update),
        )
        .route(
            "/xrpc/com.atproto.server.requestPasswordReset",
            procedure(request_password_reset::request_password_reset),
        )
        .route(
            "/xrpc/com.atproto.server.reserveSigningKey",
            procedure(reserve_signing_key::reserve_signing_key),
        )
        .route("/xrpc/com.atproto.server.resetPassword", procedure(reset_password::reset_password))
        .route(
            "/xrpc/com.atproto.server.revokeAppPassword",
            procedure(revoke_app_password::revoke_app_password),
        )
        .route("/xrpc/com.atproto.server.updateEmail", procedure(update_email::update_email))
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
            SessionError::Credentials | SessionError::PasswordTooLong => {
                XrpcError::authentication_required(error)
            }
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

impl From<StatusError> for XrpcError {
    fn from(error: StatusError) -> XrpcError {
        match error {
            StatusError::NoAccount => XrpcError::bad_request("AccountNotFound", error),
            StatusError::Did(error) => did_error(error),
            StatusError::Key(error) => XrpcError::internal(error),
            StatusError::Store(error) => error.into(),
        }
    }
}

/// What stands between an account and its activation.
fn did_error(error: ValidityError) -> XrpcError {
    match error {
        error if error.is_verdict() => XrpcError::invalid_request(error),
        ValidityError::Plc(_) | ValidityError::Resolve(_) => XrpcError::upstream_failure(error),
        ValidityError::Store(error) => error.into(),
        error => XrpcError::internal(error),
    }
}

impl From<EmailTokenError> for XrpcError {
    fn from(error: EmailTokenError) -> XrpcError {
        match error {
            EmailTokenError::NoAddress => XrpcError::invalid_request(error),
            EmailTokenError::Invalid => XrpcError::bad_request("InvalidToken", error),
            EmailTokenError::Expired => XrpcError::bad_request("ExpiredToken", error),
            EmailTokenError::Busy(error) => XrpcError::busy(error),
            EmailTokenError::Store(error) => error.into(),
        }
    }
}
