//! com.atproto.sync.getBlob: the bytes of a blob.

use std::{io::SeekFrom, ops::Range};

use atproto::{data::Cid, syntax::Did};
use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::{CidText, readable};
use crate::{
    app::App,
    store::blob::Blob,
    xrpc::{
        OptionalCaller, Params, XrpcError,
        cache::{Keep, Tag},
        caller::StandardOrTakendown,
    },
};

/// Read from the file at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Permanent blobs only (BL-4), with headers that keep a browser from running what users upload (BL-10). A part of one
/// when that is asked for: players of videos do.
pub(super) async fn get_blob(
    State(app): State<App>,
    Params(params): Params<GetBlobParams>,
    caller: OptionalCaller<StandardOrTakendown>,
    headers: HeaderMap,
) -> Result<Response, XrpcError> {
    let account = readable(&app, &caller, &params.did).await?;
    let (blob, mut file) = app
        .blobs
        .open(account.id, params.cid.0)
        .await?
        .ok_or_else(|| XrpcError::invalid_request("Blob not found"))?;
    let tag = Tag::strong(blob.cid, Keep::Immutable);
    let part = part(&headers, &tag, blob.size);
    let (status, range) = match &part {
        _ if tag.is_known(&headers) => (StatusCode::NOT_MODIFIED, 0..blob.size),
        Part::All => (StatusCode::OK, 0..blob.size),
        Part::Range(range) => (StatusCode::PARTIAL_CONTENT, range.clone()),
        Part::Nothing => return Ok(not_satisfiable(blob.size)),
    };
    let body = if status == StatusCode::NOT_MODIFIED {
        Body::empty()
    } else {
        file.seek(SeekFrom::Start(range.start)).await.map_err(XrpcError::internal)?;
        let bytes = file.take(range.end - range.start);
        Body::from_stream(ReaderStream::with_capacity(bytes, CHUNK_BYTES))
    };
    let mut response = tag.on((status, body));
    set_headers(response.headers_mut(), &blob, &range);
    if status == StatusCode::PARTIAL_CONTENT {
        let content_range = format!("bytes {}-{}/{}", range.start, range.end - 1, blob.size);
        response.headers_mut().extend(owned(&content_range).map(|value| (header::CONTENT_RANGE, value)));
    }
    Ok(response)
}

/// What of a blob is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// All of it: also when the client's part is of another blob, or when there are several.
    All,
    /// Bytes from the start of the range to before its end; at least one.
    Range(Range<u64>),
    /// Nothing that there is.
    Nothing,
}

fn part(headers: &HeaderMap, tag: &Tag, size: u64) -> Part {
    let is_this_blob =
        headers.get(header::IF_RANGE).is_none_or(|etag| etag.as_bytes() == tag.etag().as_bytes());
    let range = headers.get(header::RANGE).filter(|_| is_this_blob).and_then(|range| range.to_str().ok());
    let Some((first, last)) =
        range.and_then(|range| range.strip_prefix("bytes=")).and_then(|range| range.trim().split_once('-'))
    else {
        return Part::All;
    };
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok());
    let range = match (first, last) {
        ("", suffix) => match number(suffix).flatten() {
            Some(length) => size.saturating_sub(length)..size,
            None => return Part::All,
        },
        (first, "") => match number(first).flatten() {
            Some(first) => first..size,
            None => return Part::All,
        },
        (first, last) => match (number(first).flatten(), number(last).flatten()) {
            (Some(first), Some(last)) if first <= last => first..size.min(last.saturating_add(1)),
            _ => return Part::All,
        },
    };
    if range.is_empty() { Part::Nothing } else { Part::Range(range) }
}

fn not_satisfiable(size: u64) -> Response {
    let error = XrpcError::new(
        StatusCode::RANGE_NOT_SATISFIABLE,
        "RangeNotSatisfiable",
        format_args!("the blob has {size} bytes"),
    );
    ([(header::CONTENT_RANGE, format!("bytes */{size}"))], error).into_response()
}

fn owned(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text).ok()
}

fn set_headers(headers: &mut HeaderMap, blob: &Blob, range: &Range<u64>) {
    let mime_type = owned(&blob.mime_type).unwrap_or(HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_TYPE, mime_type);
    headers.insert(header::CONTENT_LENGTH, (range.end - range.start).into());
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    headers.extend(owned(&attachment(&blob.cid)).map(|value| (header::CONTENT_DISPOSITION, value)));
}

fn attachment(cid: &Cid) -> String {
    format!("attachment; filename=\"{cid}\"")
}

#[derive(Deserialize)]
pub(super) struct GetBlobParams {
    did: Did,
    cid: CidText,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_part_is_what_rfc_9110_says() {
        let tag = Tag::strong("cid", Keep::Immutable);
        let part =
            |range: &str| part(&HeaderMap::from_iter([(header::RANGE, range.parse().unwrap())]), &tag, 10);
        for (asked, expected) in [
            ("bytes=0-0", Part::Range(0..1)),
            ("bytes=0-", Part::Range(0..10)),
            ("bytes=9-", Part::Range(9..10)),
            ("bytes=2-4", Part::Range(2..5)),
            ("bytes=2-400", Part::Range(2..10)),
            ("bytes=-3", Part::Range(7..10)),
            ("bytes=-30", Part::Range(0..10)),
            ("bytes=0-18446744073709551615", Part::Range(0..10)),
            ("bytes=10-", Part::Nothing),
            ("bytes=-0", Part::Nothing),
            ("bytes=10-20", Part::Nothing),
            ("bytes=4-2", Part::All),
            ("bytes=-", Part::All),
            ("bytes=+1-2", Part::All),
            ("bytes=0-1,3-4", Part::All),
            ("bytes=a-b", Part::All),
            ("bytes=0-99999999999999999999", Part::All),
            ("lines=0-1", Part::All),
        ] {
            assert_eq!(part(asked), expected, "{asked}");
        }
    }

    #[test]
    fn a_part_of_another_blob_is_not_continued() {
        let tag = Tag::strong("cid", Keep::Immutable);
        for (etag, expected) in
            [(r#""cid""#, Part::Range(1..10)), (r#""other""#, Part::All), (r#"W/"cid""#, Part::All)]
        {
            let headers = [(header::RANGE, "bytes=1-"), (header::IF_RANGE, etag)];
            let headers = headers.into_iter().map(|(name, value)| (name, value.parse().unwrap())).collect();
            assert_eq!(part(&headers, &tag, 10), expected, "{etag}");
        }
    }
}
