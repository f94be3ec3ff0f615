//! com.atproto.server.createAccount: sign up with a new did:plc, or move in with a DID that exists (MG-1).

use atproto::syntax::{Did, Handle};
use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::handle_or_invalid;
use crate::{
    app::App,
    service::{
        account::{
            create::{CreateAccountError, SignUp},
            handle_policy::Asker,
        },
        identity::{Freshness, PlcError},
    },
    xrpc::{Input, XrpcError, caller::OptionalServiceCaller},
};

/// Without `did`: registers one at the directory, then makes account, repo and session at once. With `did`: the caller has
/// to hold its signing key, and the account stays deactivated until `activateAccount`.
pub(super) async fn create_account(
    State(app): State<App>,
    OptionalServiceCaller(service): OptionalServiceCaller,
    Input(input): Input<CreateAccountInput>,
) -> Result<Json<CreateAccountOutput>, XrpcError> {
    if input.plc_op.is_some() {
        return Err(XrpcError::invalid_request("Unsupported input: \"plcOp\""));
    }
    let sign_up = SignUp {
        handle: input.handle,
        email: input.email,
        password: input.password.map(Zeroizing::new),
        invite_code: input.invite_code,
        recovery_key: input.recovery_key,
        asker: Asker::Public,
    };
    let session = match input.did {
        None => app.accounts.sign_up(sign_up).await?,
        Some(did) => {
            // A service that a DID runs does not speak for its account.
            let proven = service.filter(|token| token.service.is_none()).map(|token| token.iss);
            app.accounts.move_in(did, proven.as_ref(), sign_up).await?
        }
    };
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
    did: Option<Did>,
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
            CreateAccountError::Handle(error) => error.into(),
            CreateAccountError::DidTaken => XrpcError::bad_request("AlreadyExists", error),
            CreateAccountError::DidUnproven(_) => XrpcError::authentication_required(error),
            CreateAccountError::PasswordTooLong
            | CreateAccountError::EmailMissing
            | CreateAccountError::EmailInvalid
            | CreateAccountError::EmailTaken(_)
            | CreateAccountError::HandleTaken(_)
            | CreateAccountError::RecoveryKey
            | CreateAccountError::Plc(PlcError::Refused(_)) => XrpcError::invalid_request(error),
            CreateAccountError::Plc(PlcError::Unavailable(_)) => XrpcError::upstream_failure(error),
            CreateAccountError::Password(error) => error.into(),
            CreateAccountError::Key(error) => XrpcError::internal(error),
            CreateAccountError::Store(error) => error.into(),
        }
    }
}
