//! com.atproto.repo.getRecord: one record, for anyone.

use atproto::{
    data::{Cid, cid, json},
    syntax::{AtIdentifier, Did, Nsid, RecordKey, RepoPath},
};
use axum::{
    extract::State,
    http::{HeaderValue, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use super::CidText;
use crate::{
    app::App,
    store::StoreError,
    xrpc::{
        Params, XrpcError,
        cache::{Keep, Tag},
        proxy::{pass_on, proxy_header, send_query},
    },
};

const NSID: &str = "com.atproto.repo.getRecord";

/// A repo that is not served here is looked for at the AppView, if there is one, in nobody's name. 400 `RecordNotFound`
/// when a repo of ours has no such record (or, with `cid`, not that version of it).
pub(super) async fn get_record(
    State(app): State<App>,
    Params(params): Params<GetRecordParams>,
    parts: Parts,
) -> Result<Response, XrpcError> {
    let path = RepoPath::new(&params.collection, &params.rkey);
    let not_found = || {
        let uri = format!("at://{}/{path}", params.repo);
        XrpcError::bad_request("RecordNotFound", format_args!("Could not locate record: {uri}"))
    };
    let version = params.cid.as_ref().map(|cid| cid.0);
    let Some(found) = app.repos.find_record(&params.repo, &path, version).await? else {
        return elsewhere(&app, &parts).await;
    };
    let record = found.record.ok_or_else(not_found)?;
    let tag = tag(&params, &found.did, &record.cid);
    if tag.is_known(&parts.headers) {
        return Ok(tag.not_modified());
    }
    let mut json = String::with_capacity(record.body.len() + 256);
    write_record(&found.did, path.as_str(), &record.cid, &record.body, &mut json)?;
    Ok(tag.on(json_answer(json)))
}

/// A record that is asked for by its CID and by a DID never changes; a handle may come to mean another account.
fn tag(params: &GetRecordParams, did: &Did, cid: &Cid) -> Tag {
    let mut id = String::with_capacity(128);
    cid::write(cid, &mut id);
    match (&params.repo, &params.cid) {
        (AtIdentifier::Did(_), Some(_)) => Tag::weak(id, Keep::Immutable),
        (AtIdentifier::Did(_), None) => Tag::weak(id, Keep::Revalidate),
        (AtIdentifier::Handle(_), _) => Tag::weak(format_args!("{id}-{did}"), Keep::Revalidate),
    }
}

/// What the AppView, or the service of the `atproto-proxy` header, knows of the record.
async fn elsewhere(app: &App, parts: &Parts) -> Result<Response, XrpcError> {
    if app.settings.appview.is_none() {
        return Err(XrpcError::invalid_request("Could not locate record"));
    }
    let target = app.proxy.target(NSID, proxy_header(&parts.headers)?).await?;
    pass_on(send_query(app, parts, &target, None).await)
}

#[derive(Deserialize)]
pub(super) struct GetRecordParams {
    repo: AtIdentifier,
    collection: Nsid,
    rkey: RecordKey,
    cid: Option<CidText>,
}

/// Appends a record as an answer; also an item of listRecords. Its value goes from CBOR to JSON with nothing in between.
pub(super) fn write_record(
    did: &Did,
    path: &str,
    cid: &Cid,
    body: &[u8],
    answer: &mut String,
) -> Result<(), StoreError> {
    // Neither has characters that JSON escapes.
    for part in ["{\"uri\":\"at://", did.as_str(), "/", path, "\",\"cid\":\""] {
        answer.push_str(part);
    }
    cid::write(cid, answer);
    answer.push_str("\",\"value\":");
    json::write_cbor(body, answer).map_err(|_| StoreError::Corrupt { table: "record", column: "body" })?;
    answer.push('}');
    Ok(())
}

/// Text that is JSON already.
pub(super) fn json_answer(json: String) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], json).into_response()
}
