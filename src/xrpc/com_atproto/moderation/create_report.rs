//! com.atproto.moderation.createReport: handed to the moderation service, in the reporter's name. Nothing is kept here.

use atproto::{
    data::json,
    lexicon::{Catalog, Part},
};
use axum::{
    Extension, Json,
    extract::{RawQuery, State},
    http::HeaderMap,
};
use serde_json::Value;

use crate::{
    app::App,
    xrpc::{Caller, Input, XrpcError, caller::StandardOrTakendown, contract::Unchecked, proxy::proxy_header},
};

const NSID: &str = "com.atproto.moderation.createReport";

/// Sessions of taken-down accounts may appeal: what else they may report is for the moderation service to say.
pub(super) async fn create_report(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    caller: Caller<StandardOrTakendown>,
    headers: HeaderMap,
    Input(input): Input<Value>,
) -> Result<(Extension<Unchecked>, Json<Value>), XrpcError> {
    let report = json::from_json(&input).map_err(XrpcError::invalid_request)?;
    Catalog::embedded().validate_part(NSID, Part::Input, &report).map_err(XrpcError::invalid_request)?;
    let target = app.proxy.target(NSID, proxy_header(&headers)?).await?;
    let output = app.proxy.procedure(&target, &caller.account, NSID, query.as_deref(), &input).await?;
    output
        .map(|output| (Extension(Unchecked), Json(output)))
        .ok_or_else(|| XrpcError::upstream_failure("the moderation service answered with nothing"))
}
