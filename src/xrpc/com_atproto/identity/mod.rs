//! com.atproto.identity.*

mod get_recommended_did_credentials;
mod refresh_identity;
mod request_plc_operation_signature;
mod resolve_did;
mod resolve_handle;
mod resolve_identity;
mod sign_plc_operation;
mod submit_plc_operation;
mod update_handle;

use axum::Router;
use serde::Serialize;

use crate::{
    app::App,
    service::{
        account::{handle::ChangeHandleError, handle_policy::HandleError},
        identity::{
            HandleLookupError, PlcError, ResolveError, ValidityError,
            lookup::{INVALID_HANDLE, Identity, LookupError},
            plc_operation::PlcOperationError,
        },
    },
    xrpc::{XrpcError, procedure, query},
};

/// The methods of this group.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route(
            "/xrpc/com.atproto.identity.getRecommendedDidCredentials",
            query(get_recommended_did_credentials::get_recommended_did_credentials),
        )
        .route("/xrpc/com.atproto.identity.refreshIdentity", procedure(refresh_identity::refresh_identity))
        .route(
            "/xrpc/com.atproto.identity.requestPlcOperationSignature",
            procedure(request_plc_operation_signature::request_plc_operation_signature),
        )
        .route("/xrpc/com.atproto.identity.resolveDid", query(resolve_did::resolve_did))
        .route("/xrpc/com.atproto.identity.resolveHandle", query(resolve_handle::resolve_handle))
        .route("/xrpc/com.atproto.identity.resolveIdentity", query(resolve_identity::resolve_identity))
        .route(
            "/xrpc/com.atproto.identity.signPlcOperation",
            procedure(sign_plc_operation::sign_plc_operation),
        )
        .route(
            "/xrpc/com.atproto.identity.submitPlcOperation",
            procedure(submit_plc_operation::submit_plc_operation),
        )
        .route("/xrpc/com.atproto.identity.updateHandle", procedure(update_handle::update_handle))
}

/// com.atproto.identity.defs#identityInfo
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IdentityInfo {
    did: String,
    handle: String,
    did_doc: serde_json::Value,
}

impl From<Identity> for IdentityInfo {
    fn from(identity: Identity) -> IdentityInfo {
        IdentityInfo {
            did: identity.did.to_string(),
            handle: identity.handle.map_or(INVALID_HANDLE.to_owned(), |handle| handle.to_string()),
            did_doc: identity.document.json().clone(),
        }
    }
}

impl From<LookupError> for XrpcError {
    fn from(error: LookupError) -> XrpcError {
        match error {
            LookupError::Handle(HandleLookupError::Busy) => XrpcError::busy(error),
            LookupError::NoSuchHandle | LookupError::Handle(_) => {
                XrpcError::bad_request("HandleNotFound", error)
            }
            LookupError::Deactivated(_) => XrpcError::bad_request("DidDeactivated", error),
            LookupError::Did(error) => error.into(),
            LookupError::Store(error) => error.into(),
        }
    }
}

impl From<ResolveError> for XrpcError {
    fn from(error: ResolveError) -> XrpcError {
        match error {
            ResolveError::NotFound(_) => XrpcError::bad_request("DidNotFound", error),
            ResolveError::Unsupported(_) | ResolveError::Refused { .. } => XrpcError::invalid_request(error),
            ResolveError::Failed { .. } => XrpcError::upstream_failure(error),
        }
    }
}

/// Upstream failures are 502, everything else that the directory says is the client's to mend.
impl From<PlcError> for XrpcError {
    fn from(error: PlcError) -> XrpcError {
        match error {
            PlcError::Refused(_) => XrpcError::invalid_request(error),
            PlcError::Unavailable(_) => XrpcError::upstream_failure(error),
        }
    }
}

impl From<HandleError> for XrpcError {
    fn from(error: HandleError) -> XrpcError {
        match error {
            HandleError::UnsupportedDomain => XrpcError::bad_request("UnsupportedDomain", error),
            HandleError::Reserved => XrpcError::bad_request("HandleNotAvailable", error),
            HandleError::Unresolved => XrpcError::invalid_request(error),
            HandleError::Busy => XrpcError::busy(error),
            HandleError::Tld
            | HandleError::Inappropriate
            | HandleError::Characters
            | HandleError::TooShort
            | HandleError::TooLong => XrpcError::bad_request("InvalidHandle", error),
        }
    }
}

impl From<ChangeHandleError> for XrpcError {
    fn from(error: ChangeHandleError) -> XrpcError {
        match error {
            ChangeHandleError::Handle(error) => error.into(),
            ChangeHandleError::Taken(_) => XrpcError::bad_request("HandleNotAvailable", error),
            ChangeHandleError::AccountMissing(_)
            | ChangeHandleError::Document
            | ChangeHandleError::UnderWay
            | ChangeHandleError::DidMissing(_)
            | ChangeHandleError::RotationKey(_) => XrpcError::invalid_request(error),
            ChangeHandleError::Plc(error) => error.into(),
            ChangeHandleError::Resolve(ResolveError::Failed { .. }) => XrpcError::upstream_failure(error),
            ChangeHandleError::Resolve(_) => XrpcError::invalid_request(error),
            ChangeHandleError::Key(error) => XrpcError::internal(error),
            ChangeHandleError::Store(error) => error.into(),
        }
    }
}

impl From<PlcOperationError> for XrpcError {
    fn from(error: PlcOperationError) -> XrpcError {
        match error {
            PlcOperationError::Plc(error) => error.into(),
            PlcOperationError::Key(error) => XrpcError::internal(error),
            PlcOperationError::Store(error) => error.into(),
            error => XrpcError::invalid_request(error),
        }
    }
}

impl From<ValidityError> for XrpcError {
    fn from(error: ValidityError) -> XrpcError {
        match error {
            ValidityError::Plc(error) => error.into(),
            ValidityError::Resolve(ResolveError::Failed { .. }) => XrpcError::upstream_failure(error),
            ValidityError::Key(error) => XrpcError::internal(error),
            ValidityError::Store(error) => error.into(),
            error => XrpcError::invalid_request(error),
        }
    }
}
