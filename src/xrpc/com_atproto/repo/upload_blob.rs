//! com.atproto.repo.uploadBlob: bytes become a temporary blob (BL-2).

use atproto::data::BlobRef;
use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;

use crate::{
    app::App,
    service::blob::UploadError,
    xrpc::{
        Upload, XrpcError,
        caller::{AccountCaller, require_not_takendown},
    },
};

/// Deactivated accounts may upload: it is how they move in (MG-5). A token that the account's key has signed for this
/// method does as well as a session: other services upload in its name.
pub(super) async fn upload_blob(
    State(app): State<App>,
    AccountCaller(account): AccountCaller,
    upload: Upload,
) -> Result<Json<UploadBlobOutput>, XrpcError> {
    require_not_takendown(&account)?;
    let blob = app
        .blobs
        .upload(account.id, Some(&upload.content_type), upload.content_length, upload.body.into_data_stream())
        .await?;
    let blob = BlobRef { cid: blob.cid, mime_type: blob.mime_type, size: blob.size };
    Ok(Json(UploadBlobOutput { blob: atproto::data::json::to_json(&blob.to_value()) }))
}

#[derive(Serialize)]
pub(super) struct UploadBlobOutput {
    blob: serde_json::Value,
}

impl From<UploadError> for XrpcError {
    fn from(error: UploadError) -> XrpcError {
        match error {
            UploadError::TooLarge { .. } => {
                XrpcError::new(StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLarge", error)
            }
            UploadError::ContentType(_)
            | UploadError::Length { .. }
            | UploadError::Interrupted(_)
            | UploadError::Takendown => XrpcError::invalid_request(error),
            UploadError::NoAccount => XrpcError::forbidden("AccountNotFound", error),
            UploadError::TooSlow => XrpcError::new(StatusCode::REQUEST_TIMEOUT, "RequestTimeout", error),
            UploadError::Busy => XrpcError::busy(error),
            UploadError::Store(error) => error.into(),
        }
    }
}
