//! com.atproto.repo.uploadBlob: bytes become a temporary blob (BL-2).

use atproto::data::BlobRef;
use axum::{
    Extension, Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::{
    app::App,
    service::blob::UploadError,
    xrpc::{
        Upload, XrpcError,
        caller::{AccountCaller, require_not_takendown},
        contract::Unchecked,
    },
};

/// Deactivated accounts may upload: it is how they move in (MG-5). A token that the account's key has signed for this
/// method does as well as a session: other services upload in its name.
pub(super) async fn upload_blob(
    State(app): State<App>,
    AccountCaller(account): AccountCaller,
    upload: Upload,
) -> Result<Response, XrpcError> {
    require_not_takendown(&account)?;
    let blob = app
        .blobs
        .upload(account.id, Some(&upload.content_type), upload.content_length, upload.body.into_data_stream())
        .await?;
    let blob = BlobRef { cid: blob.cid, mime_type: blob.mime_type, size: blob.size };
    let output = Json(UploadBlobOutput { blob: atproto::data::json::to_json(&blob.to_value()) });
    // A repository that moves in may refer to an empty blob, which the data model has no reference for.
    let is_empty = blob.size == 0;
    Ok(if is_empty { (Extension(Unchecked), output).into_response() } else { output.into_response() })
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
