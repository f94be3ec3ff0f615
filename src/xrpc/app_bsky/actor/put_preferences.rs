//! app.bsky.actor.putPreferences: replaces the private settings that apps keep with an account.

use atproto::{
    data::json,
    lexicon::{Catalog, Part},
};
use axum::{
    extract::{RawQuery, State},
    http::HeaderMap,
};
use serde_json::Value;

use crate::{
    app::App,
    service::preferences::{Access, PreferenceError},
    xrpc::{Caller, Input, XrpcError, proxy::proxy_header},
};

const NSID: &str = "app.bsky.actor.putPreferences";

/// With an `atproto-proxy` header for some other AppView, they are put there.
pub(super) async fn put_preferences(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    caller: Caller,
    headers: HeaderMap,
    Input(input): Input<Value>,
) -> Result<(), XrpcError> {
    caller.require_not_takendown()?;
    let preferences = preferences(&input)?;
    let header = proxy_header(&headers)?;
    if app.proxy.is_for_appview(header) {
        return Ok(app.preferences.put(caller.account.id, Access::of(caller.scope), preferences).await?);
    }
    let target = app.proxy.target(NSID, header).await?;
    app.proxy.procedure(&target, &caller.account, NSID, query.as_deref(), &input).await?;
    Ok(())
}

fn preferences(input: &Value) -> Result<&[Value], XrpcError> {
    let preferences = input.get("preferences").and_then(Value::as_array).map(Vec::as_slice);
    let untyped = |preference: &Value| preference.get("$type").is_none_or(|name| !name.is_string());
    if preferences.unwrap_or_default().iter().any(untyped) {
        return Err(PreferenceError::NoType.into());
    }
    let value = json::from_json(input).map_err(XrpcError::invalid_request)?;
    Catalog::embedded().validate_part(NSID, Part::Input, &value).map_err(XrpcError::invalid_request)?;
    Ok(preferences.unwrap_or_default())
}
