//! com.atproto.identity.getRecommendedDidCredentials: what the DID of the account should say to live here (MG-7).

use std::collections::BTreeMap;

use atproto::plc::Service;
use axum::{Json, extract::State};
use serde::Serialize;

use crate::{
    app::App,
    xrpc::{Caller, XrpcError},
};

/// Deactivated accounts are those who need it.
pub(super) async fn get_recommended_did_credentials(
    State(app): State<App>,
    caller: Caller,
) -> Result<Json<RecommendedDidCredentials>, XrpcError> {
    let recommendation = app.identities.recommend(&caller.account).await?;
    Ok(Json(RecommendedDidCredentials {
        also_known_as: recommendation.also_known_as,
        verification_methods: recommendation.verification_methods,
        rotation_keys: recommendation.rotation_keys,
        services: recommendation.services,
    }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RecommendedDidCredentials {
    #[serde(skip_serializing_if = "Option::is_none")]
    also_known_as: Option<Vec<String>>,
    verification_methods: BTreeMap<String, String>,
    rotation_keys: Vec<String>,
    services: BTreeMap<String, Service>,
}
