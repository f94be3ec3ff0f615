//! com.atproto.repo.listRecords: a page of a collection, newest key first, for anyone.

use atproto::syntax::{AtIdentifier, Nsid, RecordKey};
use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use super::{find, get_record::GetRecordOutput, record_uri};
use crate::{
    app::App,
    service::repo::records::{Order, Page},
    xrpc::{Limit, Params, XrpcError},
};

/// The cursor is the last record key of the page, and is there whenever the page is not empty.
pub(super) async fn list_records(
    State(app): State<App>,
    Params(params): Params<ListRecordsParams>,
) -> Result<Json<ListRecordsOutput>, XrpcError> {
    let account = find(&app, &params.repo)
        .await?
        .filter(|account| account.is_active())
        .ok_or_else(|| XrpcError::invalid_request(format_args!("Could not find repo: {}", params.repo)))?;
    let page = Page {
        collection: params.collection,
        cursor: params.cursor,
        order: if params.reverse { Order::Ascending } else { Order::Descending },
        limit: u32::try_from(params.limit.get()).unwrap_or(u32::MAX),
    };
    let records = match account.repo_id {
        Some(repo_id) => app.repos.list_records(repo_id, page).await?,
        None => Vec::new(),
    };
    Ok(Json(ListRecordsOutput {
        cursor: records.last().map(|record| record.path.rkey().to_owned()),
        records: records
            .into_iter()
            .map(|record| GetRecordOutput {
                uri: record_uri(&account.did, &record.path),
                cid: record.cid.to_string(),
                value: record.value,
            })
            .collect(),
    }))
}

#[derive(Deserialize)]
pub(super) struct ListRecordsParams {
    repo: AtIdentifier,
    collection: Nsid,
    #[serde(default)]
    limit: Limit<100, 50>,
    cursor: Option<RecordKey>,
    #[serde(default)]
    reverse: bool,
}

#[derive(Serialize)]
pub(super) struct ListRecordsOutput {
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    records: Vec<GetRecordOutput>,
}
