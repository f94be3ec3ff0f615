//! com.atproto.sync.getBlob: the bytes of a blob.

use atproto::{data::Cid, syntax::Did};
use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;

use super::{CidText, readable};
use crate::{
    app::App,
    store::blob::Blob,
    xrpc::{OptionalCaller, Params, XrpcError, caller::StandardOrTakendown},
};

/// Read from the file at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Permanent blobs only (BL-4), with headers that keep a browser from running what users upload (BL-10).
pub(super) async fn get_blob(
    State(app): State<App>,
    Params(params): Params<GetBlobParams>,
    caller: OptionalCaller<StandardOrTakendown>,
    headers: HeaderMap,
) -> Result<Response, XrpcError> {
    let account = readable(&app, &caller, &params.did).await?;
    let (blob, file) = app
        .blobs
        .open(account.id, params.cid.0)
        .await?
        .ok_or_else(|| XrpcError::invalid_request("Blob not found"))?;
    let etag = format!("\"{}\"", blob.cid);
    let known = headers.get_all(header::IF_NONE_MATCH).iter().any(|tags| names(tags, &etag));
    let (status, body) = if known {
        (StatusCode::NOT_MODIFIED, Body::empty())
    } else {
        let bytes = ReaderStream::with_capacity(file.take(blob.size), CHUNK_BYTES);
        (StatusCode::OK, Body::from_stream(bytes))
    };
    let mut response = (status, body).into_response();
    set_headers(response.headers_mut(), &blob, &etag);
    Ok(response)
}

/// Whether a list of entity tags has `etag` in it.
fn names(tags: &HeaderValue, etag: &str) -> bool {
    let tags = tags.to_str().unwrap_or_default();
    tags.split(',').map(str::trim).any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
}

fn set_headers(headers: &mut HeaderMap, blob: &Blob, etag: &str) {
    let owned = |text: &str| HeaderValue::from_str(text).ok();
    let mime_type = owned(&blob.mime_type).unwrap_or(HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_TYPE, mime_type);
    headers.insert(header::CONTENT_LENGTH, blob.size.into());
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    headers.extend(owned(&attachment(&blob.cid)).map(|value| (header::CONTENT_DISPOSITION, value)));
    headers.extend(owned(etag).map(|value| (header::ETAG, value)));
}

fn attachment(cid: &Cid) -> String {
    format!("attachment; filename=\"{cid}\"")
}

#[derive(Deserialize)]
pub(super) struct GetBlobParams {
    did: Did,
    cid: CidText,
}
