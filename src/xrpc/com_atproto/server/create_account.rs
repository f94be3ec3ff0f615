//! com.atproto.server.createAccount: sign up with a new did:plc.

use atproto::syntax::Handle;
use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::handle_or_invalid;
use crate::{
    app::App,
    service::{
        account::{
            create::{CreateAccountError, SignUp},
            handle_policy::{Asker, HandleError},
        },
        identity::{Freshness, PlcError},
    },
    xrpc::{Input, XrpcError},
};

/// Registers the DID at the directory, then makes account, repo and session at once.
pub(super) async fn create_account(
    State(app): State<App>,
    Input(input): Input<CreateAccountInput>,
) -> Result<Json<CreateAccountOutput>, XrpcError> {
    if input.plc_op.is_some() {
        return Err(XrpcError::invalid_request("Unsupported input: \"plcOp\""));
    }
    if input.did.is_some() {
        return Err(XrpcError::invalid_request(
            "Bringing an existing DID is not supported over XRPC yet: ask the operator for \
             `rookery account create --did`",
        ));
    }
    let session = app
        .accounts
        .sign_up(SignUp {
            handle: input.handle,
            email: input.email,
            password: input.password.map(Zeroizing::new),
            invite_code: input.invite_code,
            recovery_key: input.recovery_key,
            asker: Asker::Public,
        })
        .await?;
    // The account stands whatever becomes of its document.
    let did_doc = app.did_resolver.resolve(&session.account.did, Freshness::Forced).await.ok();
    Ok(Json(CreateAccountOutput {
        handle: handle_or_invalid(&session.account),
        did: session.account.did.to_string(),
        did_doc: did_doc.map(|document| document.json().clone()),
        access_jwt: session.access_jwt,
        refresh_jwt: session.refresh_jwt,
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateAccountInput {
    handle: Handle,
    email: Option<String>,
    password: Option<String>,
    invite_code: Option<String>,
    recovery_key: Option<String>,
    did: Option<String>,
    plc_op: Option<serde_json::Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateAccountOutput {
    handle: String,
    did: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    did_doc: Option<serde_json::Value>,
    access_jwt: String,
    refresh_jwt: String,
}

impl From<CreateAccountError> for XrpcError {
    fn from(error: CreateAccountError) -> XrpcError {
        match error {
            CreateAccountError::InviteMissing | CreateAccountError::InviteUnusable => {
                XrpcError::bad_request("InvalidInviteCode", error)
            }
            CreateAccountError::Handle(HandleError::UnsupportedDomain) => {
                XrpcError::bad_request("UnsupportedDomain", error)
            }
            CreateAccountError::Handle(HandleError::Reserved) => {
                XrpcError::bad_request("HandleNotAvailable", error)
            }
            CreateAccountError::Handle(_) => XrpcError::bad_request("InvalidHandle", error),
            CreateAccountError::PasswordTooLong
            | CreateAccountError::EmailMissing
            | CreateAccountError::EmailInvalid
            | CreateAccountError::EmailTaken(_)
            | CreateAccountError::HandleTaken(_)
            | CreateAccountError::DidTaken(_)
            | CreateAccountError::RecoveryKey
            | CreateAccountError::Plc(PlcError::Refused(_)) => XrpcError::invalid_request(error),
            CreateAccountError::Plc(PlcError::Unavailable(_)) => XrpcError::upstream_failure(error),
            CreateAccountError::Password(error) => error.into(),
            CreateAccountError::Key(error) => XrpcError::internal(error),
            CreateAccountError::Store(error) => error.into(),
        }
    }
}
