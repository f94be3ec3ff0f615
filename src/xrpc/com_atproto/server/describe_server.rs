//! com.atproto.server.describeServer: what a client needs to know before it signs up (XR-13).

use axum::{Json, extract::State};
use serde::Serialize;

use crate::app::App;

/// Answers without auth.
pub(super) async fn describe_server(State(app): State<App>) -> Json<DescribeServerOutput> {
    let settings = &app.settings;
    Json(DescribeServerOutput {
        did: settings.service_did.to_string(),
        available_user_domains: settings.handle_domains.clone(),
        invite_code_required: settings.invite_required,
        blob_upload_limit: settings.blob_upload_limit_bytes,
        links: Links {
            privacy_policy: settings.privacy_policy_url.clone(),
            terms_of_service: settings.terms_of_service_url.clone(),
        },
        contact: Contact { email: settings.contact_email.clone() },
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeServerOutput {
    did: String,
    available_user_domains: Vec<String>,
    invite_code_required: bool,
    /// In bytes (XR-21).
    blob_upload_limit: u64,
    links: Links,
    contact: Contact,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Links {
    #[serde(skip_serializing_if = "Option::is_none")]
    privacy_policy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    terms_of_service: Option<String>,
}

#[derive(Serialize)]
struct Contact {
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
}
