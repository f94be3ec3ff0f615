//! app.bsky.notification.*: ordering push notifications from the service that an app uses for them.

mod register_push;
mod unregister_push;

use atproto::{
    data::json,
    lexicon::{Catalog, Part},
    syntax::Did,
};
use axum::Router;
use serde_json::Value;

use crate::{
    app::App,
    service::{auth, proxy::TargetError},
    xrpc::{XrpcError, procedure},
};

/// The methods of this group.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/xrpc/app.bsky.notification.registerPush", procedure(register_push::register_push))
        .route("/xrpc/app.bsky.notification.unregisterPush", procedure(unregister_push::unregister_push))
}

/// Hands the input to the service that its `serviceDid` names.
async fn hand_on(app: &App, caller: &auth::Caller, nsid: &str, input: &Value) -> Result<(), XrpcError> {
    let value = json::from_json(input).map_err(XrpcError::invalid_request)?;
    Catalog::embedded().validate_part(nsid, Part::Input, &value).map_err(XrpcError::invalid_request)?;
    let did = input.get("serviceDid").and_then(Value::as_str).unwrap_or_default();
    let did = Did::parse(did)
        .map_err(|error| XrpcError::invalid_request(format_args!("Input/serviceDid {error}")))?;
    let target = app.proxy.notification_service(&did).await.map_err(|error| match error {
        TargetError::UnknownDid => {
            XrpcError::invalid_request(format_args!("could not resolve did document: {did}"))
        }
        TargetError::NoService => XrpcError::invalid_request(format_args!(
            "invalid notification service details in did document: {did}"
        )),
        error => error.into(),
    })?;
    app.proxy.procedure(&target, &caller.account, nsid, None, input).await?;
    Ok(())
}
