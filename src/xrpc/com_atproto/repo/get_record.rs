//! com.atproto.repo.getRecord: one record, for anyone.

use atproto::{
    data::{Cid, Value},
    syntax::{AtIdentifier, Did, Nsid, RecordKey, RepoPath},
};
use axum::{Json, extract::State, http::request::Parts, response::Response};
use serde::{Deserialize, Serialize};

use super::{CidText, find, record_uri};
use crate::{
    app::App,
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
    let Some(account) = find(&app, &params.repo).await?.filter(|account| account.is_active()) else {
        return elsewhere(&app, &parts).await;
    };
    let repo_id = account.repo_id.ok_or_else(not_found)?;
    let version = params.cid.as_ref().map(|cid| cid.0);
    let found = app.repos.get_record(repo_id, path.clone(), version).await?;
    let record = found.ok_or_else(not_found)?;
    let tag = tag(&params, &account.did, &record.cid);
    if tag.is_known(&parts.headers) {
        return Ok(tag.not_modified());
    }
    let output = GetRecordOutput {
        uri: record_uri(&account.did, &record.path),
        cid: record.cid.to_string(),
        value: record.value,
    };
    Ok(tag.on(Json(output)))
}

/// A record that is asked for by its CID and by a DID never changes; a handle may come to mean another account.
fn tag(params: &GetRecordParams, did: &Did, cid: &Cid) -> Tag {
    match (&params.repo, &params.cid) {
        (AtIdentifier::Did(_), Some(_)) => Tag::weak(cid, Keep::Immutable),
        (AtIdentifier::Did(_), None) => Tag::weak(cid, Keep::Revalidate),
        (AtIdentifier::Handle(_), _) => Tag::weak(format_args!("{cid}-{did}"), Keep::Revalidate),
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

/// A record as an answer; also an item of listRecords.
#[derive(Serialize)]
pub(super) struct GetRecordOutput {
    pub(super) uri: String,
    pub(super) cid: String,
    pub(super) value: Value,
}
